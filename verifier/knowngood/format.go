package knowngood

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Format is how a set is written.
type Format string

const (
	// Trustpool is our own: a Set's file. Of those that are read, a known-good file is one, too.
	Trustpool Format = "trustpool"
	// KeylimePolicy is Keylime's tpm_policy: the allowed values of each PCR.
	KeylimePolicy Format = "keylime-tpm-policy"
	// OpenAttestationMLE is OpenAttestation's MLE with its manifests: one value of each PCR.
	OpenAttestationMLE Format = "openattestation-mle"
)

// Formats returns the closed list.
func Formats() []Format { return []Format{Trustpool, KeylimePolicy, OpenAttestationMLE} }

// ParseFormat reads a format's name.
func ParseFormat(text string) (Format, error) {
	if f := Format(text); slices.Contains(Formats(), f) {
		return f, nil
	}
	names := make([]string, 0, len(Formats()))
	for _, f := range Formats() {
		names = append(names, string(f))
	}
	return "", fmt.Errorf("%.32q is no format, write %s", text, strings.Join(names, ", "))
}

// Import reads a set of any format, at most MaxFile bytes. SHA-1 values go to Set.Untrusted; a set that has nothing else has no PCR.
func Import(f Format, raw []byte) (Set, error) {
	switch f {
	case Trustpool:
		return ParseSet(raw)
	case KeylimePolicy:
		return parseKeylime(raw)
	case OpenAttestationMLE:
		return parseMLE(raw)
	default:
		_, err := ParseFormat(string(f))
		return Set{}, err
	}
}

// Export writes a set. Formats without events take the values that the slots add up to; one that can't hold the set is an error.
func Export(f Format, s Set) ([]byte, error) {
	switch f {
	case Trustpool:
		return s.Marshal()
	case KeylimePolicy:
		return writeKeylime(s)
	case OpenAttestationMLE:
		return writeMLE(s)
	default:
		_, err := ParseFormat(string(f))
		return nil, err
	}
}

// values collects values of PCRs by the length of each, which tells its bank.
type values struct {
	known     verifier.KnownGood
	untrusted []UntrustedValue
	seen      map[string]bool // PCR and value
}

// add adds a value, unless it is there.
func (v *values) add(pcr int, value verifier.Hex) error {
	key := strconv.Itoa(pcr) + ":" + string(value)
	if v.seen[key] {
		return nil
	}
	if v.seen == nil {
		v.seen = make(map[string]bool)
	}
	v.seen[key] = true
	if len(value) == eventlog.AlgSHA1.Size() {
		v.untrusted = append(v.untrusted, UntrustedValue{eventlog.AlgSHA1.String(), pcr, value})
		return nil
	}
	i := slices.IndexFunc(banks(), func(bank eventlog.Alg) bool { return bank.Size() == len(value) })
	if i < 0 {
		return fmt.Errorf("has %d bytes, write a value of sha256, sha384 or sha512", len(value))
	}
	bank := banks()[i]
	at := slices.IndexFunc(v.known.PCRs, func(e verifier.KnownPCR) bool { return e.Bank == bank && e.PCR == pcr })
	if at < 0 {
		at = len(v.known.PCRs)
		v.known.PCRs = append(v.known.PCRs, verifier.KnownPCR{Bank: bank, PCR: pcr})
	}
	v.known.PCRs[at].Values = append(v.known.PCRs[at].Values, value)
	return nil
}

// maxValues bounds how many values one PCR's slots may add up to in formats without events.
const maxValues = 64

// valuesOf returns the values that an entry allows.
func valuesOf(entry verifier.KnownPCR) ([]verifier.Hex, error) {
	if len(entry.Events) == 0 {
		return entry.Values, nil
	}
	h, err := newHash(entry.Bank)
	if err != nil {
		return nil, err
	}
	now := []verifier.Hex{make([]byte, entry.Bank.Size())} // a launch leaves zeros in the PCRs that have events, and so does TPM2_Startup in 1 to 16
	for _, slot := range entry.Events {
		if len(slot.Digests) == 0 || len(now)*len(slot.Digests) > maxValues {
			return nil, fmt.Errorf("its slots add up to more than %d values: write a set for each, or a format that has events", maxValues)
		}
		var next []verifier.Hex
		for _, value := range now {
			for _, digest := range slot.Digests {
				h.Reset()
				h.Write(value)
				h.Write(digest)
				next = append(next, h.Sum(nil))
			}
		}
		now = next
	}
	return now, nil
}

// eachValue calls add for each value that a set allows.
func eachValue(s Set, add func(entry verifier.KnownPCR, values []verifier.Hex) error) error {
	if len(s.KnownGood.PCRs) == 0 {
		return errors.New("the set has no PCR")
	}
	for _, entry := range s.KnownGood.PCRs {
		values, err := valuesOf(entry)
		if err == nil {
			err = add(entry, values)
		}
		if err != nil {
			return fmt.Errorf("%s PCR %d: %w", entry.Bank, entry.PCR, err)
		}
	}
	return nil
}
