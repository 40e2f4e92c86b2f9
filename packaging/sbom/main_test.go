package main

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
)

// itself describes the binary of this test, at the second that epoch says.
func itself(t *testing.T, epoch string) (*cyclonedx.BOM, []byte) {
	t.Helper()

	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}

	var out bytes.Buffer
	if err := run([]string{"--version", "1.2.3", binary}, epoch, &out); err != nil {
		t.Fatal(err)
	}

	document := new(cyclonedx.BOM)
	if err := json.Unmarshal(out.Bytes(), document); err != nil {
		t.Fatal(err)
	}

	return document, out.Bytes()
}

func TestEachLinkedModuleIsListed(t *testing.T) {
	t.Parallel()

	document, _ := itself(t, "86400")

	var urls []string
	for _, c := range *document.Components {
		urls = append(urls, c.PackageURL)
	}

	if !slices.Contains(urls, "pkg:golang/std@"+strings.TrimPrefix(runtime.Version(), "go")) {
		t.Errorf("the standard library is not among %v", urls)
	}

	isLibrary := func(url string) bool { return strings.HasPrefix(url, "pkg:golang/github.com/CycloneDX/cyclonedx-go@v") }
	if !slices.ContainsFunc(urls, isLibrary) {
		t.Errorf("cyclonedx-go is not among %v", urls)
	}

	if c := document.Metadata.Component; c.Version != "1.2.3" || len((*c.Hashes)[0].Value) != 64 || document.Metadata.Timestamp != "1970-01-02T00:00:00Z" {
		t.Errorf("the program is %+v", c)
	}
}

func TestTheSameBinaryGivesTheSameBytes(t *testing.T) {
	t.Parallel()

	_, first := itself(t, "1")
	_, second := itself(t, "1")

	if !bytes.Equal(first, second) {
		t.Error("two documents of one binary differ")
	}
}

func TestWithoutATimeOrABinaryThereIsNoDocument(t *testing.T) {
	t.Parallel()

	for _, args := range [][]string{{}, {"--version", "1"}, {os.DevNull}, {"--version", "1", os.DevNull}} {
		if err := run(args, "1", &bytes.Buffer{}); err == nil {
			t.Errorf("%v: no error", args)
		}
	}

	if err := run([]string{"--version", "1", os.Args[0]}, "", &bytes.Buffer{}); err == nil {
		t.Error("no SOURCE_DATE_EPOCH: no error")
	}
}
