package verifier

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"
)

// Verify runs every check of the closed list on ev and returns what each found. It keeps nothing and changes neither argument; the Result may alias them.
func Verify(ev Evidence, p Policy) Result {
	e := newExam(&ev, &p)
	e.run(slices.Concat(authenticity(), judgement(), []check{freshness()}))
	return e.result()
}

// check is one check: what it is called, which others it builds on, and what it does. Without those it is not run, which refuses too.
type check struct {
	name  CheckName
	needs []CheckName
	run   func(*exam) error
}

// authenticity lists the checks that need no known-good measurements.
func authenticity() []check {
	return []check{
		{CheckPolicy, nil, (*exam).checkPolicy},
		{CheckQuotedStructure, nil, (*exam).checkQuotedStructure},
		{CheckSignatureStructure, nil, (*exam).checkSignatureStructure},
		{CheckAKStructure, nil, (*exam).checkAKStructure},
		{CheckMagic, []CheckName{CheckQuotedStructure}, (*exam).checkMagic},
		{CheckType, []CheckName{CheckQuotedStructure}, (*exam).checkType},
		{CheckAKPinned, []CheckName{CheckAKStructure}, (*exam).checkAKPinned},
		{CheckAKAttributes, []CheckName{CheckAKStructure}, (*exam).checkAKAttributes},
		{CheckAKAlgorithm, []CheckName{CheckAKStructure}, (*exam).checkAKAlgorithm},
		{CheckSignature, []CheckName{CheckQuotedStructure, CheckSignatureStructure, CheckAKAlgorithm}, (*exam).checkSignature},
		{CheckQualifiedSigner, []CheckName{CheckQuotedStructure, CheckAKStructure}, (*exam).checkQualifiedSigner},
		{CheckNonce, []CheckName{CheckPolicy, CheckQuotedStructure}, (*exam).checkNonce},
		{CheckSelection, []CheckName{CheckPolicy, CheckType}, (*exam).checkSelection},
		{CheckPCRValues, []CheckName{CheckType}, (*exam).checkPCRValues},
		{CheckPCRDigest, []CheckName{CheckPCRValues, CheckAKAlgorithm}, (*exam).checkPCRDigest},
		{CheckLaunch, []CheckName{CheckPCRValues}, (*exam).checkLaunch},
		{CheckLogs, nil, (*exam).checkLogs},
		{CheckReplay, []CheckName{CheckLaunch, CheckLogs}, (*exam).checkReplay},
	}
}

// judgement lists the checks against known-good measurements. They see nothing that is not signed and replayed.
func judgement() []check {
	return []check{
		{CheckKnownGood, []CheckName{CheckPolicy}, (*exam).checkKnownGood},
		{
			CheckMeasurements,
			[]CheckName{
				CheckMagic, CheckAKPinned, CheckAKAttributes, CheckSignature, CheckQualifiedSigner,
				CheckSelection, CheckPCRDigest, CheckReplay, CheckKnownGood,
			},
			(*exam).checkMeasurements,
		},
	}
}

func freshness() check {
	return check{CheckFreshness, []CheckName{CheckMagic, CheckType, CheckSignature, CheckNonce}, (*exam).checkFreshness}
}

// exam is one run of the checks and what they found on the way. A field is set once the check that fills it passed.
type exam struct {
	ev     *Evidence
	policy *Policy
	checks []Check

	asked     []Selection // CheckPolicy
	quoted    *quoted     // CheckQuotedStructure
	signature *signature  // CheckSignatureStructure
	ak        *ak         // CheckAKStructure
	pin       AKPin       // CheckAKPinned
	key       *signingKey // CheckAKAlgorithm
	logs      []parsedLog // CheckLogs
	explained []explained // CheckReplay

	differences differences // CheckMeasurements, which fails if there are any
}

func newExam(ev *Evidence, p *Policy) *exam { return &exam{ev: ev, policy: p} }

// notAsked says why there is nothing to check.
func notAsked(why string) error { return remark{NotAsked, why} }

// noNonce says that the policy has nothing to compare with.
const noNonce = "no nonce of the caller's own was given"

// run runs the checks in their order.
func (e *exam) run(checks []check) {
	for _, c := range checks {
		e.checks = append(e.checks, e.runOne(c))
	}
}

func (e *exam) runOne(c check) Check {
	for _, need := range c.needs {
		if outcome := e.outcome(need); outcome != Passed && outcome != NotAsked && outcome != LeftToIssuer {
			return Check{Name: c.name, Outcome: NotRun, Detail: fmt.Sprintf("builds on %s, which did not pass", need)}
		}
	}

	return newCheck(c.name, c.run(e))
}

// newCheck turns what a check returned into what became of it.
func newCheck(name CheckName, err error) Check {
	if err == nil {
		return Check{Name: name, Outcome: Passed}
	}
	var said remark
	if errors.As(err, &said) {
		return Check{Name: name, Outcome: said.outcome, Detail: said.text}
	}
	failed := Check{Name: name, Outcome: Failed, Detail: strings.ReplaceAll(err.Error(), "\n", "; ")}
	var m mismatch
	if errors.As(err, &m) {
		failed.Expected, failed.Got = m.expected, m.got
	}
	return failed
}

func (e *exam) outcome(name CheckName) Outcome {
	for _, c := range e.checks {
		if c.Name == name {
			return c.Outcome
		}
	}
	return Failed
}

func (e *exam) passed(names ...CheckName) bool {
	return !slices.ContainsFunc(names, func(n CheckName) bool { return e.outcome(n) != Passed })
}

// verdict sums up. Only a complete list of passed checks is trusted.
func (e *exam) verdict() Verdict {
	if e.outcome(CheckPolicy) != Passed {
		return CouldNotJudge
	}
	verdict := Trusted
	for _, c := range e.checks {
		switch c.Outcome {
		case Passed, LeftToIssuer:
		case NotAsked:
			verdict = FreshnessNotChecked
		default:
			return Refused
		}
	}
	return verdict
}

func (e *exam) result() Result {
	r := Result{Verdict: e.verdict(), Checks: e.checks, BindMode: e.policy.BindMode.String(), EKBinding: e.pin.Binding, Hints: maps.Clone(e.ev.Hints)}
	r.Differences, r.DifferencesOmitted = e.differences.listed, e.differences.omitted
	if e.ak != nil {
		r.AKName, r.AKKey = e.akName(), e.ak.spki
	}
	r.AKAttributesByIssuer = slices.ContainsFunc(e.checks, func(c Check) bool { return c.Outcome == LeftToIssuer })
	if e.passed(CheckMagic, CheckType, CheckSignature) {
		r.Quote = e.signedQuote()
	}
	if a := e.ev.Aggregation; a != nil && e.passed(CheckMagic, CheckType, CheckSignature, CheckNonce) {
		r.Aggregated = &Aggregated{Index: a.Index, Size: a.Size}
	}
	r.Unverified, r.UnverifiedOmitted = e.unverified()
	return r
}

// mismatch is a failure that shows its bytes.
type mismatch struct {
	detail        string
	expected, got []byte
}

// Error gives the failure in words, without the bytes.
func (m mismatch) Error() string { return m.detail }

// compare is for bytes of which the node chooses a side.
func compare(expected, got []byte, format string, args ...any) error {
	if subtle.ConstantTimeCompare(expected, got) == 1 {
		return nil
	}
	return mismatch{detail: fmt.Sprintf(format, args...), expected: expected, got: got}
}

func (e *exam) checkPolicy() (err error) {
	if m := e.policy.BindMode; m != BindRaw && m != BindBound {
		return fmt.Errorf("policy's bind mode is %s: choose bound or raw", m)
	}
	if e.policy.AKIssuers != nil && e.policy.At.IsZero() {
		return errors.New("policy's AKIssuers: there is no time At at which certificates have to be valid")
	}
	e.asked, err = e.policy.selection()
	return err
}

func (e *exam) checkQuotedStructure() (err error) {
	e.quoted, err = parseQuoted(e.ev.Quoted)
	return err
}

func (e *exam) checkSignatureStructure() (err error) {
	e.signature, err = parseSignature(e.ev.Signature)
	return err
}

func (e *exam) checkAKStructure() (err error) {
	e.ak, err = e.attestationKey()
	return err
}

// checkMagic: Part 2, 6.2: a restricted key signs nothing from outside that begins so.
func (e *exam) checkMagic() error {
	if e.quoted.Magic != tpm2.TPMGeneratedValue {
		return fmt.Errorf("quoted begins with %08x, not with TPM_GENERATED_VALUE: no TPM made it", uint32(e.quoted.Magic))
	}
	return nil
}

func (e *exam) checkType() error {
	if e.quoted.info == nil {
		return fmt.Errorf("quoted is of type 0x%04x, not TPM_ST_ATTEST_QUOTE", uint16(e.quoted.Type))
	}
	return nil
}

func (e *exam) checkAKAlgorithm() (err error) {
	e.key, err = e.ak.signingKey()
	return err
}

func (e *exam) checkSignature() error { return e.key.verify(e.ev.Quoted, e.signature) }

// checkNonce compares with the caller's nonce, and with the one that the collector says it asked with.
func (e *exam) checkNonce() error {
	if err := e.checkAggregation(); err != nil {
		return err
	}
	if e.policy.Nonce == nil && len(e.ev.Nonce) == 0 {
		return notAsked(noNonce)
	}
	if e.policy.Nonce != nil {
		if err := e.compareNonce(e.policy.Nonce, "another nonce was signed than the caller's"); err != nil {
			return err
		}
	}
	if len(e.ev.Nonce) > 0 {
		if err := e.compareNonce(e.ev.Nonce, "another nonce was signed than the one that the evidence names"); err != nil {
			return err
		}
	}
	return e.aggregationRemark()
}

// compareNonce wants extraData to be what this nonce gives in the policy's bind mode. The detail is for mode raw.
func (e *exam) compareNonce(nonce []byte, detail string) error {
	got := e.quoted.ExtraData.Buffer
	if e.policy.BindMode == BindRaw {
		return compare(nonce, got, "%s", detail)
	}

	bound, err := e.bound(nonce)
	if err != nil {
		return err
	}
	want := bound
	if e.ev.Aggregation != nil {
		want, err = e.ev.Aggregation.extraData(bound)
	}
	if err != nil {
		return err
	}
	return compare(want, got, "%s", e.unboundDetail(nonce, bound))
}

// checkFreshness: the nonce was compared before; here it only has to be the caller's own and long enough.
func (e *exam) checkFreshness() error {
	if e.policy.Nonce == nil {
		return notAsked(noNonce)
	}
	if len(e.policy.Nonce) < MinNonceSize {
		return fmt.Errorf("the caller's nonce has %d bytes: with fewer than %d an old quote may fit", len(e.policy.Nonce), MinNonceSize)
	}
	return nil
}
