package verifier

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

// TestBoundExtraDataIsThatOfTheContract has values that a few lines of another language computed from the contract's text.
func TestBoundExtraDataIsThatOfTheContract(t *testing.T) {
	t.Parallel()

	count := func(from, n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(from + i)
		}
		return b
	}
	digest := sha256.Sum256([]byte("log"))

	for want, logs := range map[string][]BoundLog{
		"7b01697fcca30a61be55f650f7f5f0e6750fe747022c9ba3ba9d0368be23b8832a4a": nil,
		"7b01760305a24101dfc125df21b3baa221bf9dd617d1b18f0fa6a3275194e5cb9361": {{Source: "txt", SHA256: digest[:]}, {Source: "firmware"}},
	} {
		b := Binding{Exporter: count(0x20, 32), Logs: logs}
		if got := hex.EncodeToString(b.extraData(count(0, 32), append([]byte{0, 0x0B}, count(0x40, 32)...))); got != want {
			t.Errorf("%d logs: got %s, want %s", len(logs), got, want)
		}
	}
}

func TestABindingIsOfLogsThatAnAgentMayName(t *testing.T) {
	t.Parallel()
	digest := make([]byte, sha256.Size)
	many := func(n int) []BoundLog {
		logs := make([]BoundLog, n)
		for i := range logs {
			logs[i] = BoundLog{Source: strings.Repeat("x", i), SHA256: digest}
		}
		return logs
	}
	for rule, tc := range map[string]struct {
		exporter int
		logs     []BoundLog
		want     string // "" if it is good
	}{
		"no log":                 {32, nil, ""},
		"a log without a digest": {32, []BoundLog{{Source: "txt"}}, ""},
		"the longest name":       {32, []BoundLog{{Source: strings.Repeat("x", 64), SHA256: digest}}, ""},
		"as many as may be":      {32, many(16), ""},
		"one more":               {32, many(17), "17 logs, more than 16"},
		"a name too long":        {32, []BoundLog{{Source: strings.Repeat("x", 65), SHA256: digest}}, "unfit name"},
		"a digest too short":     {32, []BoundLog{{Source: "txt", SHA256: digest[1:]}}, "unfit name"},
		"twice":                  {32, []BoundLog{{Source: "txt", SHA256: digest}, {Source: "txt", SHA256: digest}}, "unfit name"},
		"no channel":             {0, nil, "0 bytes, not 32"},
		"a channel too short":    {31, nil, "31 bytes, not 32"},
	} {
		b := Binding{Exporter: make([]byte, tc.exporter), Logs: tc.logs}
		if err := b.check(nil); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", rule, err, tc.want)
		}
	}
}
