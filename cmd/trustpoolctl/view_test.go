package main

import (
	"strings"
	"testing"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

func TestAQuoteIsWholeOnlyIfAllOfItsChecksPassed(t *testing.T) {
	t.Parallel()

	view := newQuoteView(client.Reply{}, verifier.Policy{BindMode: verifier.BindRaw, Selection: verifier.DefaultSelection()})
	if view.Whole || view.Judged {
		t.Errorf("an empty answer: whole %t, judged %t", view.Whole, view.Judged)
	}

	p := &console.Page{}
	view.text(p)
	if text := p.String(); !strings.HasPrefix(text, "No good quote of ") || !strings.Contains(text, "failed     quoted_structure") {
		t.Errorf("got\n%s", text)
	}
}

func TestQuoteLooksAtEveryCheckThatNeedsNoKnownGoodValues(t *testing.T) {
	t.Parallel()

	judging := map[verifier.CheckName]bool{
		verifier.CheckPolicy: true, verifier.CheckAKPinned: true, verifier.CheckLaunch: true, verifier.CheckLogs: true, verifier.CheckReplay: true,
		verifier.CheckKnownGood: true, verifier.CheckMeasurements: true, verifier.CheckFreshness: true,
	}
	whole := make(map[verifier.CheckName]bool)
	for _, name := range wholeChecks() {
		whole[name] = true
	}
	for _, check := range verifier.Verify(verifier.Evidence{}, verifier.Policy{}).Checks {
		if whole[check.Name] == judging[check.Name] {
			t.Errorf("check %s: is it one of a whole quote or one of judging?", check.Name)
		}
	}
}

func TestQuoteTellsHowManyWereSignedTogether(t *testing.T) {
	t.Parallel()

	view := &quoteView{Whole: true, Aggregated: &verifier.Aggregated{Index: 4, Size: 13}}
	var text, asJSON strings.Builder
	if err := (&console.Output{Stdout: &text}).Print(view, view.text); err != nil {
		t.Fatal(err)
	}
	if err := (&console.Output{Stdout: &asJSON, JSON: true}).Print(view, view.text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "\n  signed         together with 12 others\n") {
		t.Errorf("got\n%s", &text)
	}
	if !strings.Contains(asJSON.String(), "\"aggregated\": {\n    \"index\": 4,\n    \"size\": 13\n  }") {
		t.Errorf("got\n%s", &asJSON)
	}
}

func TestVerdictLineOfTheZeroResultRefuses(t *testing.T) {
	t.Parallel()

	if got := (&resultView{Subject: "node"}).verdictLine(&console.Page{}); got != "REFUSED node: not every check passed" {
		t.Errorf("got %q", got)
	}
}
