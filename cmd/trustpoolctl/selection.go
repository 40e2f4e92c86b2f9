package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// lastPCR is the highest PCR (TPM 2.0 PC Client Platform TPM Profile, 4.6).
const lastPCR = 23

// parseSelection reads PCRs as tpm2-tools writes them: "sha256:17,18,19+sha384:17", or "sha256:all".
func parseSelection(text string) ([]verifier.Selection, error) {
	var selection []verifier.Selection
	seen := make(map[eventlog.Alg]bool)
	for bank := range strings.SplitSeq(text, "+") {
		name, indices, found := strings.Cut(bank, ":")
		if !found {
			return nil, fmt.Errorf("%q is no bank with its PCRs, write sha256:17,18,19", bank)
		}
		alg, err := eventlog.ParseAlg(name)
		if err != nil {
			return nil, err
		}
		if seen[alg] {
			return nil, fmt.Errorf("bank %s is named twice, write its PCRs in one list", name)
		}
		seen[alg] = true

		pcrs, err := parsePCRs(indices)
		if err != nil {
			return nil, fmt.Errorf("bank %s: %w", name, err)
		}
		selection = append(selection, verifier.Selection{Alg: alg, PCRs: pcrs})
	}
	return selection, nil
}

func parsePCRs(text string) ([]int, error) {
	var pcrs []int
	if text == "all" {
		for n := range lastPCR + 1 {
			pcrs = append(pcrs, n)
		}
		return pcrs, nil
	}

	seen := make(map[int]bool)
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 || n > lastPCR {
			return nil, fmt.Errorf("%q is no PCR, write numbers from 0 to %d with commas", word, lastPCR)
		}
		if seen[n] {
			return nil, fmt.Errorf("PCR %d is named twice", n)
		}
		seen[n] = true
		pcrs = append(pcrs, n)
	}
	return pcrs, nil
}
