package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// TestBoundExtraDataIsThatOfTheContract has values that a few lines of another language computed from the comment of BIND_MODE_BOUND.
func TestBoundExtraDataIsThatOfTheContract(t *testing.T) {
	t.Parallel()

	count := func(from, n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(from + i)
		}

		return b
	}
	nonce, exporter, name := count(0, 32), count(0x20, 32), append([]byte{0, 0x0B}, count(0x40, 32)...)
	digest := sha256.Sum256([]byte("log"))

	for want, logs := range map[string][]*agentv1.LogReference{
		"7b01697fcca30a61be55f650f7f5f0e6750fe747022c9ba3ba9d0368be23b8832a4a": nil,
		"7b01760305a24101dfc125df21b3baa221bf9dd617d1b18f0fa6a3275194e5cb9361": {
			{Source: "txt", Sha256: digest[:]}, {Source: "firmware"},
		},
	} {
		if got := hex.EncodeToString(bound(nonce, exporter, name, logs)); got != want {
			t.Errorf("%d logs: got %s, want %s", len(logs), got, want)
		}
	}
}
