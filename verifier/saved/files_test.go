package saved_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trustpool/trustpool/verifier/saved"
)

func filesOf(t *testing.T) []saved.File {
	t.Helper()
	files, err := saved.Files(sample())
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestFilesAreReadInAnyOrder(t *testing.T) {
	t.Parallel()
	files := filesOf(t)
	slices.Reverse(files)
	got, err := saved.FromFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-written +read)\n%s", diff)
	}
}

func TestFilesThatAreNotAsTheIndexSaysAreRefused(t *testing.T) {
	t.Parallel()
	for rule, tc := range map[string]struct {
		want   string
		change func([]saved.File) []saved.File
	}{
		"one is missing":     {"names quote.msg, which is not there", func(files []saved.File) []saved.File { return files[1:] }},
		"one was changed":    {"quote.msg is not the file", func(files []saved.File) []saved.File { files[0].Data = []byte("QUOTED"); return files }},
		"one stands twice":   {"two files", func(files []saved.File) []saved.File { return append(files, files[0]) }},
		"one is nowhere":     {"does not name", func(files []saved.File) []saved.File { return append(files, saved.File{Name: "more"}) }},
		"the index is wrong": {"evidence.json: ", func(files []saved.File) []saved.File { files[len(files)-1].Data = []byte("{}"); return files }},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			if _, err := saved.FromFiles(tc.change(filesOf(t))); !errors.Is(err, saved.ErrAltered) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v; want %q", err, tc.want)
			}
		})
	}
	if _, err := saved.FromFiles(nil); !errors.Is(err, saved.ErrNoIndex) {
		t.Errorf("no files: %v", err)
	}
}
