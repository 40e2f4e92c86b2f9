package tpm

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/tpmsim"
)

func TestAnOperatorsFileHoldsTheCertificate(t *testing.T) {
	t.Parallel()

	type node struct{ rsa, ecc, other, chain []byte }

	pemOf := func(certificates ...[]byte) []byte {
		content := []byte("a comment\n")
		for _, der := range certificates {
			content = append(content, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		}

		return content
	}

	for what, test := range map[string]struct {
		content func(node) []byte
		keepNV  bool
		want    []told
		chain   int
	}{
		"DER": {
			func(n node) []byte { return n.rsa }, false,
			[]told{{"handle 0x81010001", "FILE", "", true, true}, p384},
			0,
		},
		"PEM with its chain": {
			func(n node) []byte { return pemOf(n.rsa, n.chain) }, false,
			[]told{{"handle 0x81010001", "FILE", "", true, true}, p384},
			1,
		},
		"of a key that has to be derived": {
			func(n node) []byte { return pemOf(n.ecc) }, false,
			[]told{{"handle 0x81010001", "", "no certificate in NV index 0x01c00002", true, false}, p384, {"template L-2", "FILE", "", true, true}},
			0,
		},
		"in place of NV's": {
			func(n node) []byte { return n.rsa }, true,
			[]told{{"handle 0x81010001", "FILE", "", true, true}, p384},
			0,
		},
		"of another key": {
			func(n node) []byte { return n.other }, false,
			[]told{
				{"handle 0x81010001", "", "no certificate in NV index 0x01c00002", true, false},
				p384,
				{"template L-2", "FILE", "the certificate is for another key", true, false},
			},
			0,
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()

			var certificates node

			tpm := watched(t, func(sim *tpmsim.Node) {
				eks := derivedEKs(t, sim)
				certificates = node{rsa: certify(t, publicOf(t, eks[0])), ecc: certify(t, publicOf(t, eks[1])), other: certify(t, nil), chain: certify(t, nil)}

				if !test.keepNV {
					undefine(t, sim, 0x01c00002)
				}
			})

			path := filepath.Join(t.TempDir(), "ek.pem")
			must(t, os.WriteFile(path, test.content(certificates), 0o600))

			eks, err := readEKs(tpm, Auths{}, path)
			must(t, err)

			for i := range eks {
				if eks[i].CertificateSource == path {
					eks[i].CertificateSource = "FILE"

					if len(eks[i].Chain) != test.chain {
						t.Errorf("%d certificates beside it, want %d", len(eks[i].Chain), test.chain)
					}
				}
			}

			wantEKs(t, eks, test.want...)
		})
	}
}

func TestAFileOfAnotherKeyDoesNotTakeThePlaceOfNVs(t *testing.T) {
	t.Parallel()

	tpm := watched(t, func(node *tpmsim.Node) {
		define(t, node, 0x01c0000a, readable, "", certify(t, publicOf(t, derivedEKs(t, node)[1])))
	})

	path := filepath.Join(t.TempDir(), "ek.der")
	must(t, os.WriteFile(path, certify(t, nil), 0o600))

	eks, err := readEKs(tpm, Auths{}, path)
	must(t, err)

	wantEKs(t, eks, told{"handle 0x81010001", "nv 0x01c00002", "", true, true},
		told{"template L-2", "nv 0x01c0000a", "the certificate in " + path + " is left out: it is for another key", true, true}, p384)
}

func TestAFileThatHoldsNoCertificateIsAnError(t *testing.T) {
	t.Parallel()

	tpm := watched(t, nil)
	folder := t.TempDir()

	must(t, os.WriteFile(filepath.Join(folder, "text"), []byte("no certificate"), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte{1}}), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "huge"), make([]byte, maxCertificateFile+1), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "empty"), nil, 0o600))

	for _, name := range []string{"absent", "text", "key", "huge", "empty"} {
		path := filepath.Join(folder, name)
		if eks, err := readEKs(tpm, Auths{}, path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %d EKs, error %v", name, len(eks), err)
		}
	}
}
