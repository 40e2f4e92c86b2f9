package main

import (
	"strings"
	"testing"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
)

// TestAFlagWithoutAValueIsWrongUsage and does not switch off what it demands: in a script the value is a variable that was never set.
func TestAFlagWithoutAValueIsWrongUsage(t *testing.T) {
	t.Parallel()

	for name, args := range map[string][]string{
		"refuse":     {"verify", "somewhere", "--known-good", "known-good.json", "--refuse", ""},
		"node":       {"verify", "somewhere", "--known-good", "known-good.json", "--node="},
		"ak-ca":      {"verify", "somewhere", "--known-good", "known-good.json", "--ak-ca", ""},
		"nonce":      {"verify", "somewhere", "--known-good", "known-good.json", "--nonce", ""},
		"log":        {"verify", "somewhere", "--known-good", "known-good.json", "--log", "a=b", "--log", ""},
		"inventory":  {"enroll", "--address", "unix:///nowhere", "--name", "node1", "--ek-roots", "roots.pem", "--inventory", ""},
		"ek-roots":   {"enroll", "--address", "unix:///nowhere", "--name", "node1", "--first-use", "--ek-roots", ""},
		"ek-crl":     {"enroll", "--address", "unix:///nowhere", "--name", "node1", "--ek-roots", "roots.pem", "--ek-crl", ""},
		"tls-dir":    {"quote", "--address", "node:1", "--tls-dir", ""},
		"pcrs":       {"learn", "--address", "unix:///nowhere", "--pcrs", ""},
		"known-good": {"verify", "somewhere", "--known-good", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr strings.Builder
			if code := run(t.Context(), args, &stdout, &stderr); code != console.ExitUsage || !strings.Contains(stderr.String(), "--"+name+" is empty") {
				t.Errorf("exit code %d, stderr %q", code, &stderr)
			}
		})
	}
}
