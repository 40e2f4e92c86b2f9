package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

func TestParseSelectionReadsWhatTPM2ToolsWrite(t *testing.T) {
	t.Parallel()

	all := make([]int, 24)
	for i := range all {
		all[i] = i
	}
	for text, want := range map[string][]verifier.Selection{
		"sha256:17,18,19":   {{Alg: eventlog.AlgSHA256, PCRs: []int{17, 18, 19}}},
		"sha256:23,0":       {{Alg: eventlog.AlgSHA256, PCRs: []int{23, 0}}},
		"sha1:0+sha384:all": {{Alg: eventlog.AlgSHA1, PCRs: []int{0}}, {Alg: eventlog.AlgSHA384, PCRs: all}},
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()

			got, err := parseSelection(text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("selection (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseSelectionRefuses(t *testing.T) {
	t.Parallel()

	for name, text := range map[string]string{
		"nothing":             "",
		"no PCR":              "sha256:",
		"no bank":             ":17",
		"an empty bank":       "sha256:17+",
		"a gap":               "sha256:17,,18",
		"a space":             "sha256:17, 18",
		"a negative PCR":      "sha256:-1",
		"PCR 24":              "sha256:24",
		"a PCR named twice":   "sha256:17,17",
		"a bank named twice":  "sha256:17+sha256:18",
		"an unknown bank":     "sha3:17",
		"all among others":    "sha256:all,17",
		"a number too large":  "sha256:99999999999999999999",
		"a bank in big print": "SHA256:17",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if got, err := parseSelection(text); err == nil {
				t.Errorf("%q was read as %v", text, got)
			}
		})
	}
}
