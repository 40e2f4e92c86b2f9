package daemon_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/trustpool/trustpool/tpmsim/pki"
)

func pemOf(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

// TestChangedFilesAreSeen changes files in the ways that certificate tools do.
func TestChangedFilesAreSeen(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		arrange func(t *testing.T, f *files)
		change  func(t *testing.T, f files, pair *pki.Pair)
	}{
		"renamed into place": {
			func(*testing.T, *files) {},
			func(t *testing.T, f files, pair *pki.Pair) {
				for path, content := range map[string][]byte{f.Certificate: pair.CertPEM, f.Key: pair.KeyPEM} {
					write(t, path+".new", content)

					if err := os.Rename(path+".new", path); err != nil {
						t.Fatal(err)
					}
				}
			},
		},
		"link to a directory that is swapped": {
			func(t *testing.T, f *files) {
				dir := filepath.Dir(f.Certificate)
				moveTo(t, filepath.Join(dir, "v1"), f.Certificate, f.Key)
				link(t, "v1", filepath.Join(dir, "..data"))
				link(t, "..data/server.pem", f.Certificate)
				link(t, "..data/server-key.pem", f.Key)
			},
			func(t *testing.T, f files, pair *pki.Pair) {
				dir := filepath.Dir(f.Certificate)
				if err := os.Mkdir(filepath.Join(dir, "v2"), 0o700); err != nil {
					t.Fatal(err)
				}

				write(t, filepath.Join(dir, "v2", "server.pem"), pair.CertPEM)
				write(t, filepath.Join(dir, "v2", "server-key.pem"), pair.KeyPEM)
				link(t, "v2", filepath.Join(dir, "..data_tmp"))

				if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			f := newFiles(t)
			test.arrange(t, &f)

			loaded := f.load(t)
			changed := make(chan struct{}, 1)
			loaded.OnChange(func() { changed <- struct{}{} })

			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- loaded.Run(ctx) }()

			// Run reads the files once when its watch has begun: a change before or after that is seen.
			test.change(t, f, f.issue(t, pki.Leaf{DNSNames: []string{"second.example"}, Server: true}))
			<-changed

			if got := serverName(t, loaded); got != "second.example" {
				t.Errorf("the server is %s", got)
			}

			stop()

			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func moveTo(t *testing.T, dir string, paths ...string) {
	t.Helper()

	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}

	for _, path := range paths {
		if err := os.Rename(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()

	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}
