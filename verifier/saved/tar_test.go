package saved_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier/saved"
)

func TestATarUnpacksToWhatWriteWrites(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	var raw bytes.Buffer
	if err := saved.WriteTar(&raw, "evidence-1", sample(), at); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "evidence")
	if err := saved.ExtractTar(dir, bytes.NewReader(raw.Bytes())); err != nil {
		t.Fatal(err)
	}
	got, err := saved.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Error(diff)
	}
	if err := saved.ExtractTar(dir, &raw); !errors.Is(err, saved.ErrExists) {
		t.Errorf("unpacked over another: %v", err)
	}
}

func TestATarMakesNothingBesideItsFolder(t *testing.T) {
	t.Parallel()
	for rule, header := range map[string]tar.Header{
		"a link":              {Name: "e/quote.msg", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		"a device":            {Name: "e/null", Typeflag: tar.TypeChar},
		"dots alone":          {Name: "e/..", Typeflag: tar.TypeReg},
		"a name of no file":   {Name: "e/a b", Typeflag: tar.TypeReg},
		"a backslash":         {Name: `e/..\a`, Typeflag: tar.TypeReg},
		"a file that is huge": {Name: "e/log-txt.bin", Typeflag: tar.TypeReg, Size: 17 << 20},
	} {
		parent := t.TempDir()
		var raw bytes.Buffer
		out := tar.NewWriter(&raw)
		if err := out.WriteHeader(&header); err != nil {
			t.Fatal(rule, err)
		}
		if err := saved.ExtractTar(filepath.Join(parent, "evidence"), &raw); err == nil || strings.Contains(err.Error(), "EOF") {
			t.Errorf("%s: %v", rule, err)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v %v", rule, left, err)
		}
	}
}

func TestATarThatIsNoneOfOursIsNotUnpacked(t *testing.T) {
	t.Parallel()
	var empty bytes.Buffer
	if err := tar.NewWriter(&empty).Close(); err != nil {
		t.Fatal(err)
	}
	if err := saved.ExtractTar(filepath.Join(t.TempDir(), "evidence"), &empty); !errors.Is(err, saved.ErrNoIndex) {
		t.Error(err)
	}
	var many bytes.Buffer
	out := tar.NewWriter(&many)
	for i := range 65 {
		if err := out.WriteHeader(&tar.Header{Name: "e/f" + strings.Repeat("a", i), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(), saved.ExtractTar(filepath.Join(t.TempDir(), "evidence"), &many)); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Error(err)
	}
}
