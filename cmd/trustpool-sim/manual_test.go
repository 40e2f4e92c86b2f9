package main

import (
	"flag"
	"testing"

	"github.com/trustpool/trustpool/cmd/internal/manual"
)

// manuals is where man pages and completions are to be written.
var manuals = flag.String("manuals", "", "write the man pages and completions into this `folder`")

func TestManual(t *testing.T) {
	t.Parallel()

	dir := *manuals
	if dir == "" {
		dir = t.TempDir()
	}

	if err := manual.Write(dir, 1, rootCommand()); err != nil {
		t.Fatal(err)
	}

	if err := manual.Check(dir, 1, rootCommand()); err != nil {
		t.Error(err)
	}
}
