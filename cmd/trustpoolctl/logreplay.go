package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

func newEventLogReplay(out *console.Output) *cobra.Command {
	var flags logFlags
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Compute the PCR values that a log adds up to",
		Long: `replay computes what the PCRs must hold if the log is true, bank by bank.

It tells of the PCRs that have events; after a measured launch also of the others from 17 to 22, which the launch sets to zeros. Of all
other PCRs the log says nothing. A bank in which one PCR can't be replayed, such as one of which an event has no digest, is
not replayable as a whole: no value of it is told, and the reason is.

With --json it prints {"banks": {"sha256": {"17": "<hex>", ...}}, "unreplayable": {"sha1": "why"}, ...}: each bank is in one of the two.
"without_events" lists the PCRs whose value is that of the launch, "doubts" what is replayed by rules that are not public.

The exit code is 0 if the log could be read, also if no bank can be replayed, and 1 if it is malformed.

` + logExplanations,
		Example: `  trustpoolctl eventlog replay evidence/log-txt.bin
  trustpoolctl eventlog replay --json evidence/log-txt.bin | jq -r '.banks.sha256["17"]'`,
		Args: console.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.in = cmd.InOrStdin()
			log, err := flags.read(args[0])
			if err != nil {
				return err
			}
			view := newReplayView(log)
			return out.Print(view, view.text)
		},
	}
	flags.register(cmd, false)
	return cmd
}

// replayView is what eventlog replay prints. PCRs are keys in decimal.
type replayView struct {
	Banks        map[string]map[string]verifier.Hex `json:"banks"`
	Unreplayable map[string]string                  `json:"unreplayable"`
	// WithoutEvents lists PCRs that hold what the launch left in them.
	WithoutEvents map[string][]int             `json:"without_events,omitempty"`
	Doubts        map[string]map[string]string `json:"doubts,omitempty"`
	// Launched: the log is that of a measured launch.
	Launched bool   `json:"launched"`
	File     string `json:"file"`
	Format   string `json:"format"`

	order  []string // banks as in the log
	events map[string]map[string]int
}

func newReplayView(log *logFile) *replayView {
	view := &replayView{
		Banks: make(map[string]map[string]verifier.Hex), Unreplayable: make(map[string]string),
		WithoutEvents: make(map[string][]int), Doubts: make(map[string]map[string]string),
		File: log.name, Format: log.format, events: make(map[string]map[string]int),
	}
	if log.ima != nil {
		view.addIMA(log.ima)
		return view
	}
	for _, bank := range log.banks {
		view.add(log.log.Replay(bank))
	}
	return view
}

// The PCRs that a measured launch sets to zeros (TPM 2.0 Part 1, 34.3).
const firstDynamic, lastDynamic = 17, 22

// add takes over a bank, or why it can't be replayed.
func (v *replayView) add(replay eventlog.Replay) {
	v.Launched = v.Launched || replay.Launched
	bank := v.addBank(replay.Alg)
	for n, pcr := range replay.PCRs {
		if pcr.Err != nil {
			v.fail(bank, pcr.Err)
			return
		}
		if pcr.Events > 0 || replay.Launched && n >= firstDynamic && n <= lastDynamic {
			v.addPCR(bank, n, pcr)
		}
	}
}

// addIMA replays the banks that a TPM may have: the list itself names none.
func (v *replayView) addIMA(list *eventlog.IMALog) {
	pcrs := make(map[int]bool)
	for i := range list.Events {
		pcrs[int(list.Events[i].PCR)] = true
	}
	for _, alg := range []eventlog.Alg{eventlog.AlgSHA1, eventlog.AlgSHA256, eventlog.AlgSHA384, eventlog.AlgSHA512} {
		bank := v.addBank(alg)
		for _, n := range slices.Sorted(maps.Keys(pcrs)) {
			pcr, err := list.Replay(alg, n, -1)
			if err == nil {
				err = pcr.Err
			}
			if err != nil {
				v.fail(bank, err)
				break
			}
			v.addPCR(bank, n, pcr)
		}
	}
}

func (v *replayView) addBank(alg eventlog.Alg) string {
	bank := alg.String()
	v.order = append(v.order, bank)
	v.Banks[bank], v.events[bank] = make(map[string]verifier.Hex), make(map[string]int)
	return bank
}

// fail takes a bank out again: values of some of its PCRs alone would pass for the bank.
func (v *replayView) fail(bank string, err error) {
	delete(v.Banks, bank)
	delete(v.WithoutEvents, bank)
	delete(v.Doubts, bank)
	v.Unreplayable[bank] = err.Error()
}

func (v *replayView) addPCR(bank string, n int, pcr eventlog.PCR) {
	key := strconv.Itoa(n)
	v.Banks[bank][key], v.events[bank][key] = pcr.Value, pcr.Events
	if pcr.Events == 0 {
		v.WithoutEvents[bank] = append(v.WithoutEvents[bank], n)
	}
	if pcr.Doubt != "" {
		if v.Doubts[bank] == nil {
			v.Doubts[bank] = make(map[string]string)
		}
		v.Doubts[bank][key] = pcr.Doubt
	}
}

func (v *replayView) text(p *console.Page) {
	p.Line("%s: what the PCRs hold if this %s log is true", p.Head(console.Printable(v.File)), v.Format)
	for _, bank := range v.order {
		p.Line("")
		if why, bad := v.Unreplayable[bank]; bad {
			p.Line("%s %s: %s", p.Head(bank), p.Bad("can't be replayed"), console.Printable(why))
			continue
		}
		p.Line("%s", p.Head(bank))
		if len(v.Banks[bank]) == 0 {
			p.Line("  the log has no events")
		}
		for n := range eventlog.NumPCRs {
			v.pcrText(p, bank, strconv.Itoa(n))
		}
	}
}

func (v *replayView) pcrText(p *console.Page, bank, key string) {
	value, ok := v.Banks[bank][key]
	if !ok {
		return
	}
	from := count(v.events[bank][key], "event")
	if v.events[bank][key] == 0 {
		from = "no events: as the launch left it"
	}
	p.Line("  PCR %2s  %s  %s", key, value, from)
	if doubt := v.Doubts[bank][key]; doubt != "" {
		p.Line("          %s", p.Warn(fmt.Sprintf("in doubt: %s", doubt)))
	}
}
