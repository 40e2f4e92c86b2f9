package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// quoteView is what quote prints.
type quoteView struct {
	Address string       `json:"address"`
	Nonce   verifier.Hex `json:"nonce"`
	// Whole: every check of Checks passed. It says nothing about the node being good.
	Whole bool `json:"whole"`
	// Unchecked says why it could not even be looked whether it is whole.
	Unchecked string `json:"unchecked,omitempty"`
	// Unread says why there was nothing to look at, if the node's answer is no evidence.
	Unread string `json:"unread,omitempty"`
	// Judged is always false: nothing was compared with known-good values.
	Judged   bool         `json:"judged"`
	AKName   verifier.Hex `json:"ak_name"`
	AKPublic verifier.Hex `json:"ak_public"`
	// Signed is nil if the key that came with the quote did not sign it.
	Signed *verifier.Quote `json:"signed"`
	// Aggregated is there if it was signed together with those of others.
	Aggregated *verifier.Aggregated `json:"aggregated,omitempty"`
	PCRs       []pcrView            `json:"pcrs"`
	Logs       []logView            `json:"logs"`
	Hints      map[string]string    `json:"unsigned_hints"`
	Checks     []verifier.Check     `json:"checks"`
	SavedTo    string               `json:"saved_to,omitempty"`
}

type pcrView struct {
	Bank  string       `json:"bank"`
	PCR   int          `json:"pcr"`
	Value verifier.Hex `json:"value"`
}

type logView struct {
	Source string       `json:"source"`
	State  string       `json:"state"`
	Format string       `json:"format"`
	SHA256 verifier.Hex `json:"sha256,omitempty"`
	Size   int          `json:"size"`
	Sent   bool         `json:"sent"`
	Detail string       `json:"detail,omitempty"`
}

func (v *quoteView) exitCode() int {
	switch {
	case v.Whole:
		return console.ExitOK
	case v.Unchecked != "":
		return console.ExitFailed
	default:
		return console.ExitRefused
	}
}

// wholeChecks are those that need nothing but the evidence and the nonce that it was asked with.
func wholeChecks() []verifier.CheckName {
	return []verifier.CheckName{
		verifier.CheckQuotedStructure, verifier.CheckSignatureStructure, verifier.CheckAKStructure, verifier.CheckMagic, verifier.CheckType,
		verifier.CheckAKAttributes, verifier.CheckAKAlgorithm, verifier.CheckSignature, verifier.CheckQualifiedSigner,
		verifier.CheckNonce, verifier.CheckSelection, verifier.CheckPCRValues, verifier.CheckPCRDigest,
	}
}

// newUnreadQuoteView is for a node whose answer is no evidence.
func newUnreadQuoteView(address string, nonce []byte, reason error) *quoteView {
	return &quoteView{
		Address: address, Nonce: nonce, Unread: reason.Error(),
		PCRs: []pcrView{}, Logs: []logView{}, Hints: map[string]string{}, Checks: []verifier.Check{}, // never null in JSON
	}
}

// newQuoteView looks whether the quote is whole. The policy's nonce is the one that was asked with.
func newQuoteView(reply client.Reply, policy verifier.Policy) *quoteView {
	ev := reply.Evidence
	policy.Nonce = ev.Nonce
	// Without known-good values the verdict always is a refusal; what counts are the checks that need none.
	result := verifier.Verify(ev, policy)
	view := &quoteView{
		Nonce:      ev.Nonce,
		Whole:      true,
		AKName:     result.AKName,
		AKPublic:   ev.AKPublic,
		Aggregated: result.Aggregated,
		PCRs:       []pcrView{}, // lists are never null in JSON
		Logs:       []logView{},
		Hints:      ev.Hints,
	}
	if result.Verdict == verifier.CouldNotJudge {
		view.Unchecked = result.Check(verifier.CheckPolicy).Detail
	}
	if result.Quote != nil {
		signed := *result.Quote
		signed.PCRs = nil // shown once, also where nobody signed them
		view.Signed = &signed
	}

	for _, name := range wholeChecks() {
		check := result.Check(name)
		view.Checks = append(view.Checks, check)
		view.Whole = view.Whole && check.Outcome == verifier.Passed
	}
	for _, bank := range ev.PCRs {
		for _, v := range bank.Values {
			view.PCRs = append(view.PCRs, pcrView{Bank: bank.Alg.String(), PCR: v.Index, Value: v.Value})
		}
	}
	for _, ref := range reply.Logs {
		view.Logs = append(view.Logs, logView{
			Source: ref.Source,
			State:  ref.StateWord(),
			Format: ref.FormatWord(),
			SHA256: ref.SHA256,
			Size:   ref.Size,
			Sent:   slices.ContainsFunc(ev.Logs, func(l verifier.Log) bool { return l.Source == ref.Source }),
			Detail: ref.Detail,
		})
	}
	return view
}

func (v *quoteView) text(p *console.Page) {
	switch {
	case v.Unread != "":
		p.Line("%s of %s: %s", p.Bad("No good quote"), console.Printable(v.Address), console.Printable(v.Unread))
		return
	case v.Whole:
		p.Line("%s of %s: signed by the key that came with it, over this nonce and these PCRs.", p.Head("Quote"), console.Printable(v.Address))
	case v.Unchecked != "":
		p.Line("%s of %s: not checked: %s", p.Warn("Quote"), console.Printable(v.Address), console.Printable(v.Unchecked))
	default:
		p.Line("%s of %s: it is not what was asked for, or nobody signed it.", p.Bad("No good quote"), console.Printable(v.Address))
	}
	p.Line("%s Nothing was compared with known-good values; trustpoolctl verify does that.", p.Warn("Not judged."))

	p.Line("")
	p.Field("nonce", "%s", v.Nonce)
	p.Field("AK name", "%s", v.AKName)
	if v.Aggregated != nil {
		p.Field("signed", "%s", v.Aggregated)
	}
	v.signedText(p)
	v.pcrText(p)
	v.logText(p)
	hintText(p, v.Hints)
	if !v.Whole {
		p.Line("")
		checkText(p, v.Checks)
	}
	if v.SavedTo != "" {
		p.Line("")
		p.Line("The evidence is in %s. To judge it: trustpoolctl verify %s --known-good FILE --nonce %s", v.SavedTo, v.SavedTo, v.Nonce)
	}
}

func (v *quoteView) signedText(p *console.Page) {
	if v.Signed == nil {
		return
	}
	p.Field("TPM clock", "%s, safe: %t", time.Duration(min(v.Signed.Clock, maxClock))*time.Millisecond, v.Signed.Safe)
	p.Field("TPM resets", "%d, restarts: %d", v.Signed.ResetCount, v.Signed.RestartCount)
	p.Field("TPM firmware", "%016x", v.Signed.FirmwareVersion)
}

// maxClock is the longest time in milliseconds that a time.Duration holds, some 292 years.
const maxClock = 1<<63/uint64(time.Millisecond) - 1

func (v *quoteView) pcrText(p *console.Page) {
	p.Line("")
	p.Line("%s", p.Head("PCRs"))
	for _, value := range v.PCRs {
		p.Line("  %-9s  %s", fmt.Sprintf("%s:%d", value.Bank, value.PCR), value.Value)
	}
}

func (v *quoteView) logText(p *console.Page) {
	p.Line("")
	p.Line("%s, not signed: verify replays them against the PCRs", p.Head("Event logs"))
	if len(v.Logs) == 0 {
		p.Line("  none")
	}
	for _, log := range v.Logs {
		p.Line("  %-12s %s, %s, %d bytes, sha256 %s", log.Source, log.State, log.Format, log.Size, orDash(log.SHA256))
		if log.Detail != "" {
			p.Line("  %-12s %s", "", console.Printable(log.Detail))
		}
		if log.Size > 0 && !log.Sent {
			p.Line("  %-12s its bytes did not come", "")
		}
	}
}

func orDash(h verifier.Hex) string {
	if len(h) == 0 {
		return "-"
	}
	return h.String()
}

// hintText writes what the node said unsigned.
func hintText(p *console.Page, hints map[string]string) {
	if len(hints) == 0 {
		return
	}
	p.Line("")
	p.Line("%s: the node's word, signed by nobody", p.Head("Hints"))
	for _, name := range slices.Sorted(maps.Keys(hints)) {
		p.Line("  %-14s %s", console.Printable(name), console.Printable(hints[name]))
	}
}
