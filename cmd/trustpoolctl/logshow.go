package main

import (
	"math"
	"strconv"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// showView is what eventlog show prints.
type showView struct {
	File   string `json:"file"`
	Format string `json:"format"`
	// Banks are those of which the log has digests, Bank the one that is shown to people.
	Banks []string `json:"banks"`
	Bank  string   `json:"bank"`
	// Size is the log's, Padding that of what follows it.
	Size    int      `json:"size"`
	Padding int      `json:"padding"`
	Events  []record `json:"events"`

	summary string
}

func newShowView(log *logFile, bank eventlog.Alg) *showView {
	view := &showView{
		File: log.name, Format: log.format, Banks: bankList(log.banks), Bank: bank.String(),
		Size: log.size, Padding: log.padding, Events: log.records(bank),
	}
	view.summary = log.summary(len(view.Events))
	return view
}

func (v *showView) text(p *console.Page) {
	p.Line("%s: %s", p.Head(console.Printable(v.File)), v.summary)
	p.Line("")

	types, digests := len("TYPE"), len(v.Bank)
	for i := range v.Events {
		types = max(types, len(v.Events[i].Type))
		digests = max(digests, 2*len(v.Events[i].Digests[v.Bank]))
	}
	p.Line("%5s %3s  %-*s  %-*s  %s", "EVENT", "PCR", types, "TYPE", digests, v.Bank, "ABOUT")
	for i := range v.Events {
		ev := &v.Events[i]
		p.Line("%5d %3s  %-*s  %-*s  %s", ev.Num, ev.pcrText(), types, ev.Type, digests, ev.digestText(v.Bank), ev.About)
		if ev.changed {
			p.Line("%5s %3s  %s", "", "", p.Bad("its data was changed: the digest is of other data"))
		}
	}
}

// pcrText leaves out the indices that are none.
func (r *record) pcrText() string {
	if r.PCR == math.MaxUint32 || r.PCR == math.MaxUint8 {
		return "-"
	}
	return strconv.Itoa(r.PCR)
}

func (r *record) digestText(bank string) string {
	if !r.Extended {
		return "-"
	}
	if digest, ok := r.Digests[bank]; ok {
		return digest.String()
	}
	return "none of this bank"
}
