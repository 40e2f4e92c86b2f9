package saved_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/saved"
)

// foreignFiles are the files of evidence that others keep, as tpm2-tools write them.
func foreignFiles(ev verifier.Evidence) map[string][]byte {
	files := map[string][]byte{"quote.msg": ev.Quoted, "quote.sig": ev.Signature, "ak.pub": sized(ev.AKPublic), "txt.log": ev.Logs[0].Raw}
	for _, bank := range ev.PCRs {
		for _, v := range bank.Values {
			files["quote.pcrs"] = append(files["quote.pcrs"], v.Value...)
		}
	}
	return files
}

func sized(raw []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)
}

// folder writes files that are not nil into a new folder.
func folder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if data == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEvidenceOfOthersIsReadInEveryFormOfItsFiles(t *testing.T) {
	t.Parallel()
	ev := quoteOf(t)
	ev.Nonce = nil
	tpmt, err := tpm2.Unmarshal[tpm2.TPMTSignature](ev.Signature)
	if err != nil {
		t.Fatal(err)
	}
	ecc, err := tpmt.Signature.ECDSA()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(ecc.SignatureR.Buffer), new(big.Int).SetBytes(ecc.SignatureS.Buffer),
	})
	if err != nil {
		t.Fatal(err)
	}

	for rule, change := range map[string]map[string][]byte{
		"plain":                      {},
		"TPM2B_ATTEST":               {"quote.msg": sized(ev.Quoted)},
		"plain ECDSA signature":      {"quote.sig": plain},
		"log with zeros behind it":   {"txt.log": append(bytes.Clone(ev.Logs[0].Raw), make([]byte, 5000)...)},
		"log with FF behind it":      {"txt.log": append(bytes.Clone(ev.Logs[0].Raw), bytes.Repeat([]byte{0xFF}, 5000)...)},
		"log named as we name it":    {"txt.log": nil, "log-txt.bin": ev.Logs[0].Raw},
		"a nonce, which is nobody's": {"nonce": []byte("whatever")},
		"other files":                {"README": []byte("hello")},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			files := foreignFiles(ev)
			for name, data := range change {
				files[name] = data
			}
			got, err := saved.ReadForeign(folder(t, files), nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(ev, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestAnAKOfOthersMayBeAKeyOrACertificate(t *testing.T) {
	t.Parallel()
	ca, err := pki.New("privacy CA")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{DNSNames: []string{"ak.example"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(pair.CertPEM)
	issuer, _ := pem.Decode(ca.PEM())
	key := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("key")})

	ev := quoteOf(t)
	for rule, tc := range map[string]struct {
		change map[string][]byte
		want   verifier.Evidence
	}{
		"PEM":                      {map[string][]byte{"ak.pem": key}, verifier.Evidence{AKKey: []byte("key")}},
		"PEM under another name":   {map[string][]byte{"ak.pub": key}, verifier.Evidence{AKKey: []byte("key")}},
		"certificate as PEM":       {map[string][]byte{"ak.crt": pair.CertPEM}, verifier.Evidence{AKCertificates: [][]byte{block.Bytes}}},
		"certificate as DER":       {map[string][]byte{"ak.crt": block.Bytes}, verifier.Evidence{AKCertificates: [][]byte{block.Bytes}}},
		"certificate and its CA's": {map[string][]byte{"ak.crt": append(bytes.Clone(pair.CertPEM), ca.PEM()...)}, verifier.Evidence{AKCertificates: [][]byte{block.Bytes, issuer.Bytes}}},
		"all at once": {
			map[string][]byte{"ak.pub": sized(ev.AKPublic), "ak.pem": key, "ak.crt": pair.CertPEM, "ek.pub": sized([]byte("parent"))},
			verifier.Evidence{AKPublic: ev.AKPublic, AKKey: []byte("key"), AKCertificates: [][]byte{block.Bytes}, AKParent: []byte("parent")},
		},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			files := foreignFiles(ev)
			delete(files, "ak.pub")
			for name, data := range tc.change {
				files[name] = data
			}
			got, err := saved.ReadForeign(folder(t, files), nil)
			if err != nil {
				t.Fatal(err)
			}
			keys := verifier.Evidence{AKPublic: got.AKPublic, AKKey: got.AKKey, AKCertificates: got.AKCertificates, AKParent: got.AKParent}
			if diff := cmp.Diff(tc.want, keys); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestLogsOfOthersAreThoseThatAreNamed(t *testing.T) {
	t.Parallel()
	files := foreignFiles(quoteOf(t))
	files["uefi.bin"], files["txt"] = []byte("no log"), files["txt.log"]
	dir := folder(t, files)

	all, err := saved.ReadForeign(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Logs) != 2 || all.Logs[0].Source != "txt" || all.Logs[1].Source != "uefi" || string(all.Logs[1].Raw) != "no log" {
		t.Errorf("without names: %+v", all.Logs)
	}
	named, err := saved.ReadForeign(dir, []saved.LogFile{{Source: "launch", Name: "txt"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(named.Logs) != 1 || named.Logs[0].Source != "launch" || !bytes.Equal(named.Logs[0].Raw, files["txt"]) {
		t.Errorf("with a name: %+v", named.Logs)
	}
	for _, name := range []string{"../txt", "/etc/hostname", "nowhere"} {
		if _, err := saved.ReadForeign(dir, []saved.LogFile{{Source: "x", Name: name}}); err == nil || errors.Is(err, saved.ErrAltered) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEvidenceOfOthersThatIsNotWholeIsNotRead(t *testing.T) {
	t.Parallel()
	ev := quoteOf(t)
	long := bytes.Repeat([]byte{1}, 1<<17)
	for rule, tc := range map[string]struct {
		change map[string][]byte
		want   string
		unfit  bool
	}{
		"no quote":              {map[string][]byte{"quote.msg": nil}, "quote.msg", false},
		"no signature":          {map[string][]byte{"quote.sig": nil}, "quote.sig", false},
		"no values":             {map[string][]byte{"quote.pcrs": nil}, "quote.pcrs", false},
		"no key":                {map[string][]byte{"ak.pub": nil}, "neither ak.pub nor ak.pem nor ak.crt", false},
		"a value too few":       {map[string][]byte{"quote.pcrs": make([]byte, 64)}, "quote.pcrs has too few bytes", true},
		"a value too many":      {map[string][]byte{"quote.pcrs": make([]byte, 128)}, "quote.pcrs has 32 bytes more", true},
		"huge quote":            {map[string][]byte{"quote.msg": long}, "quote.msg has more than", true},
		"a key that is none":    {map[string][]byte{"ak.pub": []byte("no key at all")}, "ak.pub: is no TPM2B_PUBLIC", true},
		"two keys in PEM":       {map[string][]byte{"ak.pem": []byte(strings.Repeat("-----BEGIN PUBLIC KEY-----\nMTIz\n-----END PUBLIC KEY-----\n", 2))}, `has a block "PUBLIC KEY" too many`, true},
		"a private key":         {map[string][]byte{"ak.pem": []byte("-----BEGIN PRIVATE KEY-----\nMTIz\n-----END PRIVATE KEY-----\n")}, `"PRIVATE KEY"`, true},
		"text behind PEM":       {map[string][]byte{"ak.pem": []byte("-----BEGIN PUBLIC KEY-----\nMTIz\n-----END PUBLIC KEY-----\nx")}, "other text", true},
		"a parent that is none": {map[string][]byte{"ek.pub": []byte("xxx")}, "ek.pub is no TPM2B_PUBLIC", true},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			files := foreignFiles(ev)
			for name, data := range tc.change {
				files[name] = data
			}
			_, err := saved.ReadForeign(folder(t, files), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, saved.ErrAltered) ||
				strings.Contains(err.Error(), "can't be read as evidence") != tc.unfit {
				t.Errorf("error is %v, want one with %q, unfit: %t", err, tc.want, tc.unfit)
			}
		})
	}
}

func TestAFolderWithoutAnIndexSaysSo(t *testing.T) {
	t.Parallel()
	if _, err := saved.Read(t.TempDir()); !errors.Is(err, saved.ErrNoIndex) {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := saved.Read(filepath.Join(t.TempDir(), "nowhere")); err == nil || errors.Is(err, saved.ErrNoIndex) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// FuzzReadForeign reads folders whose quote, values and key are of any bytes.
func FuzzReadForeign(f *testing.F) {
	f.Add([]byte("quoted"), []byte("signature"), []byte("values"), []byte("key"))
	f.Add([]byte("\x00\x04\xFFTCG"), []byte("0\x06\x02\x01\x01\x02\x01\x01"), []byte{}, []byte("-----BEGIN PUBLIC KEY-----\nMTIz\n-----END PUBLIC KEY-----\n"))
	f.Add([]byte("\xFFTCG\x80\x18"), make([]byte, 256), make([]byte, 32), []byte{0, 1, 2})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, quoted, signature, values, key []byte) {
		for name, data := range map[string][]byte{"quote.msg": quoted, "quote.sig": signature, "quote.pcrs": values, "ak.pub": key} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		ev, err := saved.ReadForeign(dir, nil)
		if err != nil {
			return
		}
		if r := verifier.Verify(ev, verifier.Policy{BindMode: verifier.BindRaw, AllowMorePCRs: true, AKAttributesByIssuer: true}); r.Verdict == verifier.Trusted {
			t.Error("trusted")
		}
	})
}

func TestTheLogsOfOthersAreBoundedTogetherAndNamedApart(t *testing.T) {
	t.Parallel()
	dir := folder(t, foreignFiles(quoteOf(t)))
	read := func(logs ...saved.LogFile) error {
		_, err := saved.ReadForeign(dir, logs)
		return err
	}
	if err := read(saved.LogFile{Source: "txt", Name: "txt.log"}, saved.LogFile{Source: "txt", Name: "txt.log"}); err == nil || !strings.Contains(err.Error(), `two logs are called "txt"`) {
		t.Errorf("two of one name: %v", err)
	}

	var large []saved.LogFile
	for _, name := range []string{"a", "b", "c", "d"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 16<<20); err != nil {
			t.Fatal(err)
		}
		large = append(large, saved.LogFile{Source: name, Name: name})
	}
	if err := read(large...); err != nil {
		t.Errorf("64 MiB: %v", err)
	}
	if err := read(append(large, saved.LogFile{Source: "txt", Name: "txt.log"})...); err == nil || !strings.Contains(err.Error(), "more than 67108864") {
		t.Errorf("a log more: %v", err)
	}

	if err := os.WriteFile(filepath.Join(dir, "log-txt.bin"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := read(); err == nil || !strings.Contains(err.Error(), `two logs are called "txt"`) {
		t.Errorf("two files of one name: %v", err)
	}
}
