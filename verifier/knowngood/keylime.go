package knowngood

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/internal/strictjson"
)

// parseKeylime reads a tpm_policy: {"22": ["<value>", ...], "mask": "0x408000"}. The length of a value tells its bank. The mask says which PCRs are quoted, and has to be just those that have values:
// Keylime's own PCRs, 10 for IMA and 16 for the key, it judges by other means.
func parseKeylime(raw []byte) (Set, error) {
	o, err := strictjson.Decode(raw, MaxFile)
	if err != nil {
		return Set{}, fmt.Errorf("reading a Keylime tpm_policy: %w", err)
	}
	var (
		all  values
		mask uint64
	)
	for pcr := range eventlog.NumPCRs {
		key := strconv.Itoa(pcr)
		if !o.Has(key) {
			continue
		}
		mask |= 1 << pcr
		texts := o.Strings(key)
		if len(texts) == 0 {
			o.Problem(key, "is empty, write at least one value")
		}
		for i, text := range texts {
			all.read(o, fmt.Sprintf("%s[%d]", key, i), pcr, text)
		}
	}
	if o.Has("mask") {
		checkMask(o, mask)
	}
	o.Done()
	if err := o.Err(); err != nil {
		return Set{}, fmt.Errorf("reading a Keylime tpm_policy: %w", err)
	}
	return Set{KnownGood: all.known, Untrusted: all.untrusted, Source: "imported from a Keylime tpm_policy"}, nil
}

// read adds a value that is written in hexadecimal digits.
func (v *values) read(o *strictjson.Object, at string, pcr int, text string) {
	value, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(text), "0x"))
	if err != nil {
		o.Problem(at, "is not an even number of hexadecimal digits, write nothing else")
		return
	}
	if err := v.add(pcr, value); err != nil {
		o.Problem(at, "%v", err)
	}
}

func checkMask(o *strictjson.Object, want uint64) {
	const imaAndKey = 1<<10 | 1<<16
	got, err := strconv.ParseUint(o.String("mask"), 0, 32)
	if err != nil {
		o.Problem("mask", `is no number, write it as "0x%x"`, want)
		return
	}
	if got&^imaAndKey != want&^imaAndKey {
		o.Problem("mask", `names other PCRs than those that have values: write "0x%x", or values for all`, want)
	}
}

// writeKeylime writes a tpm_policy on several lines, the PCRs in rising order.
func writeKeylime(s Set) ([]byte, error) {
	policy := make(map[int][]verifier.Hex)
	mask := uint64(0)
	err := eachValue(s, func(entry verifier.KnownPCR, values []verifier.Hex) error {
		policy[entry.PCR] = append(policy[entry.PCR], values...)
		mask |= 1 << entry.PCR
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("writing a Keylime tpm_policy: %w", err)
	}

	var lines []string
	for pcr := range eventlog.NumPCRs {
		if len(policy[pcr]) == 0 {
			continue
		}
		list, err := json.Marshal(policy[pcr])
		if err != nil {
			return nil, fmt.Errorf("writing a Keylime tpm_policy: %w", err)
		}
		lines = append(lines, fmt.Sprintf("  %q: %s", strconv.Itoa(pcr), list))
	}
	lines = append(slices.Clip(lines), fmt.Sprintf("  %q: %q", "mask", fmt.Sprintf("0x%x", mask)))
	return []byte("{\n" + strings.Join(lines, ",\n") + "\n}\n"), nil
}
