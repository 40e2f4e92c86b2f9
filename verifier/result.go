package verifier

import (
	"encoding/hex"
	"fmt"
)

// Verdict is what comes out of Verify.
type Verdict uint8

const (
	// Refused: at least one check failed or could not be run. It is the zero value.
	Refused Verdict = iota
	// CouldNotJudge: the policy itself is unusable, so nothing is said about the node. Not trusted either.
	CouldNotJudge
	// FreshnessNotChecked: authentic and known-good, but no nonce of the caller's own shows when it was made. Not trusted.
	FreshnessNotChecked
	// Trusted: every check passed, with the caller's own nonce.
	Trusted
)

// String gives the verdict's name as in JSON: "refused", "could_not_judge", "freshness_not_checked" or "trusted".
func (v Verdict) String() string {
	switch v {
	case Trusted:
		return "trusted"
	case FreshnessNotChecked:
		return "freshness_not_checked"
	case CouldNotJudge:
		return "could_not_judge"
	case Refused:
		return "refused"
	default:
		return fmt.Sprintf("refused(%d)", uint8(v))
	}
}

// MarshalText gives String.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Outcome is what became of one check.
type Outcome uint8

const (
	// Failed: the evidence does not pass. It is the zero value.
	Failed Outcome = iota
	// NotRun: an earlier check that this one builds on did not pass. It refuses like Failed.
	NotRun
	// NotAsked: the policy has no nonce to compare with. It does not refuse, but such evidence is never trusted.
	NotAsked
	// Passed is the only good outcome.
	Passed
	// LeftToIssuer: it was not checked, because Policy.AKAttributesByIssuer says so. It does not refuse, and it shows in the result.
	LeftToIssuer
)

// String gives the outcome's name as in JSON: "failed", "not_run", "not_asked", "passed" or "left_to_issuer".
func (o Outcome) String() string {
	switch o {
	case Passed:
		return "passed"
	case LeftToIssuer:
		return "left_to_issuer"
	case NotAsked:
		return "not_asked"
	case NotRun:
		return "not_run"
	case Failed:
		return "failed"
	default:
		return fmt.Sprintf("failed(%d)", uint8(o))
	}
}

// MarshalText gives String.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// CheckName names one check. The list is closed; a Result holds each exactly once, in this order.
type CheckName string

// The checks, in the order in which they are listed.
const (
	// CheckPolicy: the policy is usable: the bind mode is chosen, the selection names PCRs that exist.
	CheckPolicy CheckName = "policy"
	// CheckQuotedStructure: quoted is one canonical TPMS_ATTEST with nothing after it (Part 2, 10.12.12).
	CheckQuotedStructure CheckName = "quoted_structure"
	// CheckSignatureStructure: the signature is one canonical TPMT_SIGNATURE with nothing after it (Part 2, 11.3.4).
	CheckSignatureStructure CheckName = "signature_structure"
	// CheckAKStructure: the AK is one canonical TPMT_PUBLIC with nothing after it (Part 2, 12.2.4), or an X.509 certificate or PKIX key. If there are
	// several of these, they are of one key.
	CheckAKStructure CheckName = "ak_structure"
	// CheckMagic: quoted begins with TPM_GENERATED_VALUE: a TPM made it, it was not handed to the TPM for signing (Part 2, 6.2).
	CheckMagic CheckName = "magic"
	// CheckType: quoted is of type TPM_ST_ATTEST_QUOTE (Part 2, 6.9).
	CheckType CheckName = "type"
	// CheckAKPinned: the AK is not on the refuse list, and is one that the policy pins, by Name and by every byte of its public area, or by its key; and its certificate is by one of the
	// policy's AKIssuers, if there are any.
	CheckAKPinned CheckName = "ak_pinned"
	// CheckAKAttributes: the AK is a restricted signing key that never leaves its TPM (Part 2, 8.3).
	CheckAKAttributes CheckName = "ak_attributes"
	// CheckAKAlgorithm: the AK is ECDSA P-256 with SHA-256, ECDSA P-384 with SHA-384, or RSA-2048 RSASSA with SHA-256.
	CheckAKAlgorithm CheckName = "ak_algorithm"
	// CheckSignature: the AK's key signed quoted, in the AK's scheme.
	CheckSignature CheckName = "signature"
	// CheckQualifiedSigner: the signer is a primary key of the endorsement hierarchy, or was made under Evidence.AKParent, which is one (Part 1, 16). Never left to the issuer where there is
	// a refuse list and no pin of the AK's Name.
	CheckQualifiedSigner CheckName = "qualified_signer"
	// CheckNonce: extraData is what the nonce has to give in the policy's bind mode, or, in mode bound, that of a tree that holds it and that the policy does not forbid.
	CheckNonce CheckName = "nonce"
	// CheckSelection: the signed selection is the one that the policy asks for, or holds it if the policy allows more.
	CheckSelection CheckName = "selection"
	// CheckPCRValues: there is one value of the right size for each PCR of the signed selection, in its order, and no other.
	CheckPCRValues CheckName = "pcr_values"
	// CheckPCRDigest: the values have the signed pcrDigest (Part 3, 18.4).
	CheckPCRDigest CheckName = "pcr_digest"
	// CheckLaunch: a measured launch happened: PCR 17 is quoted and neither all FF nor all zeros.
	CheckLaunch CheckName = "launch"
	// CheckLogs: every log parses.
	CheckLogs CheckName = "logs"
	// CheckReplay: the logs' events give the value of every quoted PCR (of every PCR of the policy's selection, where more may be quoted), and none of them caps it.
	CheckReplay CheckName = "replay"
	// CheckKnownGood: the known-good set is not empty and speaks of exactly the PCRs of the policy's selection.
	CheckKnownGood CheckName = "known_good"
	// CheckMeasurements: values and events are the known-good ones, in their order.
	CheckMeasurements CheckName = "measurements"
	// CheckFreshness: the caller's own nonce is signed, so the quote was made after it.
	CheckFreshness CheckName = "freshness"
)

// Check is one check and what became of it.
type Check struct {
	// Name is one of the closed list.
	Name CheckName `json:"name"`
	// Outcome refuses unless it says otherwise.
	Outcome Outcome `json:"outcome"`
	// Detail says, in words, why it did not pass; seldom, what is to be known though it passed.
	Detail string `json:"detail,omitempty"`
	// Expected and Got are the bytes behind a failure, where there are such.
	Expected Hex `json:"expected,omitempty"`
	Got      Hex `json:"got,omitempty"`
}

// Result is what Verify found. The zero Result refuses.
type Result struct {
	// Verdict sums up the checks.
	Verdict Verdict `json:"verdict"`
	// Checks holds every check, in the order of the list of names.
	Checks []Check `json:"checks"`
	// Differences tells how the measurements differ from the known-good ones, PCR by PCR in the order of the quote. Only authentic evidence has any.
	// DifferencesOmitted counts what the list leaves out.
	Differences        []Difference `json:"differences,omitempty"`
	DifferencesOmitted int          `json:"differences_omitted,omitempty"`
	// BindMode is the policy's: raw says nothing of the connection that the quote was asked for on.
	BindMode string `json:"bind_mode"`
	// Aggregated is there if the AK signed the quote together with those of other callers and the caller's is proven to be among them.
	Aggregated *Aggregated `json:"aggregated,omitempty"`
	// AKName is the Name of the AK (Part 1, 16); empty unless the policy pins it, or the AK signed it: the public area that comes with a quote is anybody's word.
	AKName Hex `json:"ak_name,omitempty"`
	// AKKey is the key itself, a PKIX SubjectPublicKeyInfo in DER.
	AKKey Hex `json:"ak_key,omitempty"`
	// AKAttributesByIssuer: a check of the AK was left to whoever issued or pinned it: that check's outcome is LeftToIssuer.
	AKAttributesByIssuer bool `json:"ak_attributes_by_issuer,omitempty"`
	// EKBinding says how the AK that signed was bound to a TPM; empty unless it is pinned.
	EKBinding EKBinding `json:"ek_binding,omitempty"`
	// Quote is what the AK signed; nil unless the signature passed.
	Quote *Quote `json:"quote,omitempty"`
	// Unverified lists what the evidence's logs say and no digest binds. It reaches no check but as Unverified tells. UnverifiedOmitted counts what the list leaves out.
	Unverified        []Unverified `json:"unverified,omitempty"`
	UnverifiedOmitted int          `json:"unverified_omitted,omitempty"`
	// Hints is Evidence.Hints, for people.
	Hints map[string]string `json:"unsigned_hints,omitempty"`
}

// Quote is the signed content of a quote that is of use beside the verdict.
type Quote struct {
	// ExtraData is the qualifying data: in mode raw the nonce.
	ExtraData Hex `json:"extra_data"`
	// Clock is in milliseconds. ResetCount and RestartCount together change at every boot (Part 2, 10.11.1). Safe is TPMS_CLOCK_INFO.safe.
	Clock        uint64 `json:"clock"`
	ResetCount   uint32 `json:"reset_count"`
	RestartCount uint32 `json:"restart_count"`
	Safe         bool   `json:"safe"`
	// FirmwareVersion is vendor-specific.
	FirmwareVersion uint64 `json:"firmware_version"`
	// PCRs are the values; empty unless their digest is the signed one.
	PCRs []PCRQuoted `json:"pcrs,omitempty"`
}

// Aggregated says which of the quotes that were signed together the caller's is.
type Aggregated struct {
	// Index is its place, from 0, and Size the number of all. The agent chose both: of the others they prove nothing.
	Index uint32 `json:"index"`
	Size  uint32 `json:"size"`
}

// PCRQuoted is a PCR value whose digest is signed.
type PCRQuoted struct {
	// Bank is the hash's name, such as "sha256".
	Bank string `json:"bank"`
	// PCR is 0 to 23.
	PCR int `json:"pcr"`
	// Value has as many bytes as the bank's hash.
	Value Hex `json:"value"`
}

// Check returns the check of that name; of a Result that does not hold it, one that failed.
func (r *Result) Check(name CheckName) Check {
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	return Check{Name: name, Detail: "not in the result"}
}

// Hex is bytes that are hexadecimal digits in JSON.
type Hex []byte

// String gives lower-case digits without separators.
func (h Hex) String() string { return hex.EncodeToString(h) }

// MarshalText gives String.
func (h Hex) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads digits of either case.
func (h *Hex) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("reading hexadecimal bytes: %w", err)
	}
	*h = raw
	return nil
}
