package main

import (
	"flag"
	"io"
	"testing"

	"github.com/trustpool/trustpool/cmd/internal/manual"
)

// manuals is where the package's man pages and completions are to be written.
var manuals = flag.String("manuals", "", "write the man pages and completions into this `folder`")

// TestManual writes what the package ships.
func TestManual(t *testing.T) {
	t.Parallel()

	dir := *manuals
	if dir == "" {
		dir = t.TempDir()
	}

	root, _ := newRoot(io.Discard, io.Discard)
	if err := manual.Write(dir, 1, root); err != nil {
		t.Fatal(err)
	}

	if err := manual.Check(dir, 1, root); err != nil {
		t.Error(err)
	}
}
