package verifier

import "testing"

// TestARefusalIsExplainedToTheLastLine holds the whole text of a result that has something of everything.
func TestARefusalIsExplainedToTheLastLine(t *testing.T) {
	t.Parallel()
	r := Result{
		Verdict: Refused, EKBinding: BindingFirstUse, DifferencesOmitted: 3, UnverifiedOmitted: 2,
		Checks: []Check{
			{Name: CheckMagic, Outcome: Passed},
			{Name: CheckNonce, Outcome: Failed, Detail: "another nonce", Expected: Hex{1}, Got: Hex{2}},
			{Name: CheckType, Outcome: Failed, Detail: "no quote"},
			{Name: CheckPCRDigest, Outcome: Failed, Detail: "expected 07, got 08", Expected: Hex{7}, Got: Hex{8}},
			{Name: CheckAKAttributes, Outcome: LeftToIssuer, Detail: "believed"},
			{Name: CheckReplay, Outcome: NotRun},
			{Name: CheckMeasurements, Outcome: NotRun},
			{Name: CheckFreshness, Outcome: NotAsked},
		},
		Differences: []Difference{{PCR: 17, Bank: "sha256", Got: Hex{1}}, {PCR: 18, Bank: "sha256", Expected: []Hex{{3}}, Got: Hex{2}}},
		Unverified: []Unverified{
			{Log: "txt", Field: FieldHeader}, {Log: "txt", Field: FieldDigest, Bank: "sha1"}, {Log: "txt", Field: FieldDigest, Bank: "sha1"}, {Log: "firmware", Field: FieldEvent},
		},
	}
	const want = `refused: another nonce
  PCR 18: expected sha256 03, got 02
  and 3 more differences
failed nonce: another nonce: expected 01, got 02
failed type: no quote
failed pcr_digest: expected 07, got 08
note: ak_attributes: believed
not run, because others failed: replay, measurements
note: the key was pinned on first use: nothing shows in which TPM it is
nothing vouches for log txt: its header; the sha1 digests of 2 events
nothing vouches for log firmware: all of 1 event
nothing vouches for 2 parts of logs more
`
	if got := r.Explain(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}

	r = Result{Verdict: Refused, Checks: []Check{{Name: CheckMeasurements, Outcome: Failed, Detail: "differs", Expected: Hex{1}, Got: Hex{2}}}}
	if got := r.Explain(); got != "refused: differs\n" { // the differences tell of the bytes
		t.Errorf("got %q", got)
	}
	r.Checks[0] = Check{Name: CheckType, Outcome: Failed, Detail: "no quote"}
	if got := r.Explain(); got != "refused: no quote\n" { // all was told in the first line
		t.Errorf("got %q", got)
	}
	r.Checks[0] = Check{Name: CheckMagic, Outcome: Passed}
	if got := (Result{Verdict: Trusted, Checks: r.Checks, EKBinding: BindingInventory}).Explain(); got != "trusted\n" {
		t.Errorf("got %q", got)
	}
}
