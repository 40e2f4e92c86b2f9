// Package tpmsimtest starts simulated nodes for tests.
package tpmsimtest

import (
	"testing"

	"github.com/trustpool/trustpool/tpmsim"
)

// Start starts a node that is closed when the test ends. It fails the test, and
// never skips it, if the node does not start or does not close; the message
// names the package to install if swtpm is missing.
func Start(t testing.TB, opts tpmsim.Options) *tpmsim.Node {
	t.Helper()

	n, err := tpmsim.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}
