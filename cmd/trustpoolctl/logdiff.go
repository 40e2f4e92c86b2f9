package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// exitDifferent is for logs that differ; 1 stays for those that can't be read.
const exitDifferent = 4

func newEventLogDiff(out *console.Output) *cobra.Command {
	var flags logFlags
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Say what changed between the logs of two boots",
		Long: `diff compares the logs of two boots, PCR by PCR, and says which events are new, gone or changed.

Events are compared by type, data, and their digests of all banks that both logs have; --bank only says which digest is shown.

` + logExplanations + `

Exit codes:
  0  the same events in the same order
  1  failed: a log can't be read, or the two have no bank in common
  2  wrong usage
  4  different`,
		Example: `  trustpoolctl eventlog diff monday/log-txt.bin tuesday/log-txt.bin
  trustpoolctl eventlog diff --json old.bin new.bin`,
		Args: console.Args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.in = cmd.InOrStdin()
			return diffLogs(flags, args[0], args[1], out)
		},
	}
	flags.register(cmd, true)
	return cmd
}

func diffLogs(flags logFlags, nameA, nameB string, out *console.Output) error {
	if nameA == "-" && nameB == "-" {
		return console.Usagef("both logs can't be read from standard input")
	}
	a, err := flags.read(nameA)
	if err != nil {
		return err
	}
	b, err := flags.read(nameB)
	if err != nil {
		return err
	}
	common := slices.DeleteFunc(slices.Clone(a.banks), func(bank eventlog.Alg) bool { return !slices.Contains(b.banks, bank) })
	if len(common) == 0 || (a.ima == nil) != (b.ima == nil) {
		return fmt.Errorf("the logs can't be compared: %s is a %s log with digests of %s, %s is a %s log with digests of %s",
			a.name, a.format, bankNames(a.banks), b.name, b.format, bankNames(b.banks))
	}
	bank, err := flags.chooseBank(common)
	if err != nil {
		return err
	}

	view := newDiffView(a, b, common, bank)
	if err := out.Print(view, view.text); err != nil {
		return err
	}
	if !view.Equal {
		return console.ExitError{Code: exitDifferent}
	}
	return nil
}

// diffView is what eventlog diff prints.
type diffView struct {
	A     string `json:"a"`
	B     string `json:"b"`
	Equal bool   `json:"equal"`
	// Bank is the one whose digests are shown.
	Bank string `json:"bank"`
	// PCRs are those whose extended events differ, so that their values do.
	PCRs        []int        `json:"pcrs"`
	Differences []difference `json:"differences"`

	summaryA, summaryB string
}

// difference is one event that is not the same in both logs.
type difference struct {
	// Kind is "changed", "data" (the same digest, other data), "added", "removed" or "moved".
	Kind string `json:"kind"`
	PCR  int    `json:"pcr"`
	// A and B are the events; absent where there is none.
	A *record `json:"a,omitempty"`
	B *record `json:"b,omitempty"`
	// Text says in words what became of it, Was and Is what it was and is, where that is not the same.
	Text string `json:"text"`
	Was  string `json:"was,omitempty"`
	Is   string `json:"is,omitempty"`
}

func newDiffView(a, b *logFile, common []eventlog.Alg, bank eventlog.Alg) *diffView {
	left, right := a.records(bank), b.records(bank)
	view := &diffView{
		A: a.name, B: b.name, Bank: bank.String(), PCRs: []int{}, Differences: []difference{},
		summaryA: a.summary(len(left)), summaryB: b.summary(len(right)),
	}
	c := comparison{banks: bankList(common)}
	byPCR := func(records []record) map[int][]record {
		groups := make(map[int][]record)
		for _, r := range records {
			groups[r.PCR] = append(groups[r.PCR], r)
		}
		return groups
	}
	groupsA, groupsB := byPCR(left), byPCR(right)
	pcrs := maps.Clone(groupsA)
	maps.Copy(pcrs, groupsB)
	for _, pcr := range slices.Sorted(maps.Keys(pcrs)) {
		found := c.compare(groupsA[pcr], groupsB[pcr])
		for i := range found {
			found[i].PCR = pcr
			found[i].explain(view.Bank)
		}
		if slices.ContainsFunc(found, difference.reachesPCR) {
			view.PCRs = append(view.PCRs, pcr)
		}
		view.Differences = append(view.Differences, found...)
	}
	view.Equal = len(view.Differences) == 0
	return view
}

// reachesPCR tells whether the PCR's value differs by it.
func (d difference) reachesPCR() bool {
	extended := d.A != nil && d.A.Extended || d.B != nil && d.B.Extended
	return extended && (d.Kind == "moved" || !d.sameDigests())
}

func (d difference) sameDigests() bool {
	return d.A != nil && d.B != nil && maps.EqualFunc(d.A.Digests, d.B.Digests, func(x, y verifier.Hex) bool { return bytes.Equal(x, y) })
}

// explain names the event and what became of it, by the digests of bank or of another one where these differ.
func (d *difference) explain(bank string) {
	switch d.Kind {
	case "added":
		d.Text = fmt.Sprintf("%s is new: %s, %s", d.B.place(), d.B.Type, d.B.content(bank))
		return
	case "removed":
		d.Text = fmt.Sprintf("%s is gone: %s, %s", d.A.place(), d.A.Type, d.A.content(bank))
		return
	case "moved":
		d.Text = fmt.Sprintf("%s came later, as event %d: the same events come in another order", d.B.place(), d.A.Num)
		return
	case "data":
		d.Text = fmt.Sprintf("%s, %s, has the same digest but other data, for which it does not vouch", d.B.place(), d.B.Type)
		d.Was, d.Is = d.A.About, d.B.About
	default:
		d.Text = fmt.Sprintf("%s, %s, changed", d.B.place(), d.B.Type)
		bank = d.differingBank(bank)
		d.Was, d.Is = d.A.content(bank), d.B.content(bank)
	}
	if d.A.Type != d.B.Type {
		d.Was, d.Is = d.A.Type+", "+d.Was, d.B.Type+", "+d.Is
	}
	if d.Was == d.Is { // the descriptions leave out what differs
		d.Was, d.Is = fmt.Sprintf("data %s", orDash(d.A.Data)), fmt.Sprintf("data %s", orDash(d.B.Data))
	}
}

// differingBank returns one whose digests are not the same, bank if it can be.
func (d *difference) differingBank(bank string) string {
	banks := maps.Clone(d.A.Digests)
	maps.Copy(banks, d.B.Digests)
	for _, name := range append([]string{bank}, slices.Sorted(maps.Keys(banks))...) {
		if !bytes.Equal(d.A.Digests[name], d.B.Digests[name]) {
			return name
		}
	}
	return bank
}

func (r *record) place() string {
	if pcr := r.pcrText(); pcr != "-" {
		return fmt.Sprintf("PCR %s, event %d", pcr, r.Num)
	}
	return fmt.Sprintf("no PCR, event %d", r.Num)
}

func (r *record) content(bank string) string {
	if !r.Extended {
		return r.About + ", not extended"
	}
	if digest, ok := r.Digests[bank]; ok {
		return fmt.Sprintf("%s %s (%s)", bank, digest, r.About)
	}
	return fmt.Sprintf("no %s digest (%s)", bank, r.About)
}

func (v *diffView) text(p *console.Page) {
	p.Line("%s: %s", p.Head(console.Printable(v.A)), v.summaryA)
	p.Line("%s: %s", p.Head(console.Printable(v.B)), v.summaryB)
	p.Line("")
	if v.Equal {
		p.Line("%s: the same events in the same order", p.Good("No difference"))
		return
	}
	for i := range v.Differences {
		d := &v.Differences[i]
		p.Line("%s", d.Text)
		if d.Was != "" {
			p.Line("    was %s", d.Was)
			p.Line("    is  %s", d.Is)
		}
	}
	p.Line("")
	if len(v.PCRs) == 0 {
		p.Line("No PCR differs by it.")
		return
	}
	p.Line("%s: %s", p.Warn("PCRs that differ by it"), joinInts(v.PCRs))
}

func joinInts(numbers []int) string {
	text := fmt.Sprint(numbers)
	return text[1 : len(text)-1]
}
