package reallogs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/internal/reallogs"
)

// ended is what a test says when it ends early.
type ended struct{ how, why string }

// inner is a test within a test, of which it is seen how it ends.
type inner struct{ testing.TB }

func (inner) Helper()                         {}
func (inner) Fatal(args ...any)               { panic(ended{"fails", fmt.Sprint(args...)}) }
func (inner) Fatalf(format string, of ...any) { panic(ended{"fails", fmt.Sprintf(format, of...)}) }
func (inner) Skip(args ...any)                { panic(ended{"is skipped", fmt.Sprint(args...)}) }

// howEnds tells how a test ends that does this: "" if it goes on.
func howEnds(t *testing.T, do func(testing.TB)) (how string) {
	t.Helper()
	defer func() {
		switch end := recover().(type) {
		case nil:
		case ended:
			how = end.how
			t.Log(end.why)
		default:
			panic(end)
		}
	}()
	do(inner{t})
	return ""
}

func TestOnlyCINeedsCaptures(t *testing.T) {
	for ci, want := range map[string][2]string{"": {"is skipped", ""}, "true": {"fails", "fails"}} {
		t.Setenv("CI", ci)
		t.Setenv("TRUSTPOOL_REAL_LOGS", "")
		got := [2]string{
			howEnds(t, func(tb testing.TB) { reallogs.Read(tb, "txt/a") }),
			howEnds(t, func(tb testing.TB) {
				if files := reallogs.Files(tb, "txt"); files != nil {
					t.Errorf("%d captures of no folder", len(files))
				}
			}),
		}
		if got != want {
			t.Errorf("CI=%q: %q, want %q", ci, got, want)
		}
	}
}

func TestAFolderWithoutCapturesFailsATest(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TRUSTPOOL_REAL_LOGS", dir)
	for _, folder := range []string{"empty", "txt", "deep/within"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(folder)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, raw := range map[string]string{"a": "first", "b": ""} {
		if err := os.WriteFile(filepath.Join(dir, "txt", name), []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for folder, want := range map[string]string{"txt": "", "none": "fails", "empty": "fails", "deep": "fails"} {
		var files [][]byte
		if got := howEnds(t, func(tb testing.TB) { files = reallogs.Files(tb, folder) }); got != want {
			t.Errorf("%s: %q, want %q", folder, got, want)
		}
		if diff := cmp.Diff([][]byte{[]byte("first"), {}}, files); folder == "txt" && diff != "" {
			t.Error(diff)
		}
	}
}
