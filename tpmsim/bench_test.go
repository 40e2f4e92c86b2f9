package tpmsim_test

import (
	"path/filepath"
	"testing"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

func BenchmarkStartWithNewState(b *testing.B) {
	for b.Loop() {
		startAndClose(b, tpmsim.Options{})
	}
}

func BenchmarkStartWithOldState(b *testing.B) {
	opts := tpmsim.Options{StateDir: filepath.Join(b.TempDir(), "state")}
	startAndClose(b, opts)
	for b.Loop() {
		startAndClose(b, opts)
	}
}

func BenchmarkReboot(b *testing.B) {
	n := tpmsimtest.Start(b, tpmsim.Options{})
	for b.Loop() {
		if err := n.Reboot(b.Context(), tpmsim.Trusted); err != nil {
			b.Fatal(err)
		}
	}
}

func startAndClose(b *testing.B, opts tpmsim.Options) {
	b.Helper()

	n, err := tpmsim.Start(b.Context(), opts)
	if err != nil {
		b.Fatal(err)
	}
	if err := n.Close(); err != nil {
		b.Fatal(err)
	}
}
