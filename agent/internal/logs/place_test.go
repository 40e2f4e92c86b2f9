package logs

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// growing is a file that has a byte more each time somebody looks.
type growing struct{ *os.File }

func (g growing) Stat() (fs.FileInfo, error) {
	info, err := g.File.Stat()
	if err != nil {
		return nil, err
	}

	return info, os.Truncate(g.Name(), info.Size()+1)
}

func TestALogThatChangesWhileItIsReadIsToldSo(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("log"), 0o600); err != nil {
		t.Fatal(err)
	}

	where := fileAt(path)
	where.open = func() (handle, error) {
		file, err := os.Open(path)

		return growing{file}, err
	}

	got := where.read("file", bounds{parse: 100, keep: 100})
	if got.State != Malformed || got.Size != 0 || !strings.Contains(got.Detail, "changed while it was read; name a copy") {
		t.Errorf("%+v", got.Snapshot)
	}
}
