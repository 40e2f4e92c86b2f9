package verifier

import (
	"crypto/sha256"
	"encoding/hex"
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
