package saved_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/saved"
)

func TestEvidenceIsReadAsWritten(t *testing.T) {
	t.Parallel()
	for rule, ev := range map[string]verifier.Evidence{
		"complete": sample(),
		"nothing":  {},
		"an AK in all its forms": {
			AKPublic: []byte("public"), AKParent: []byte("parent"), AKCertificates: [][]byte{[]byte("its own"), []byte("the CA's")},
		},
		"a key alone": {AKKey: []byte("key")},
		"bound, by a node that has not each log": {Binding: &verifier.Binding{
			Exporter: []byte("exporter"), Logs: []verifier.BoundLog{{Source: "txt", SHA256: []byte("digest")}, {Source: "firmware"}},
		}},
		"signed together with others": {Binding: &verifier.Binding{}, Aggregation: &verifier.Aggregation{
			Salt: []byte("salt"), Index: 1023, Size: 1024, Proof: [][]byte{[]byte("first"), []byte("second"), {}},
		}},
		"signed alone as if together": {Aggregation: &verifier.Aggregation{}},
		"two banks and two logs of one source": {
			AKPublic: []byte("no public area"),
			PCRs: []verifier.PCRBank{
				{Alg: eventlog.AlgSHA256, Values: []verifier.PCRValue{{Index: 17, Value: bytes.Repeat([]byte{1}, 32)}}},
				{Alg: eventlog.AlgSHA384, Values: []verifier.PCRValue{{Index: 0, Value: bytes.Repeat([]byte{2}, 48)}, {Index: 23, Value: make([]byte, 48)}}},
			},
			Logs: []verifier.Log{{Source: "TXT/../x", Raw: []byte("a")}, {Source: "TXT/../x", Raw: []byte("b")}, {Source: "", Raw: nil}},
		},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "evidence")
			if err := saved.Write(dir, ev); err != nil {
				t.Fatal(err)
			}
			got, err := saved.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(ev, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-written +read)\n%s", diff)
			}
		})
	}
}

func TestFilesAreNamedAndReadableByTheGroupOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "evidence")
	if err := saved.Write(dir, sample()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err != nil || info.Mode().Perm()&^0o640 != 0 {
			t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	want := []string{"ak.pub", "evidence.json", "log-txt.bin", "nonce", "quote.msg", "quote.pcrs", "quote.sig"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("folder: mode %v, %v", info.Mode(), err)
	}
}

func TestAFolderWithSomethingInItIsLeftAlone(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	empty, full := filepath.Join(parent, "empty"), filepath.Join(parent, "full")
	for _, dir := range []string{empty, full} {
		if err := os.Mkdir(dir, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	if err := saved.Write(empty, sample()); err != nil {
		t.Errorf("empty folder: %v", err)
	}
	if err := saved.Write(full, sample()); !errors.Is(err, saved.ErrExists) {
		t.Errorf("full folder: %v", err)
	}
	if err := saved.Write(filepath.Join(full, "mine"), sample()); err == nil {
		t.Error("a file is taken for a folder")
	}
	if err := saved.Write(filepath.Join(parent, "no", "parent"), sample()); err == nil {
		t.Error("a folder is made without its parent")
	}
	left, err := os.ReadDir(parent)
	if err != nil || len(left) != 2 {
		t.Errorf("something is left behind: %v, %v", left, err)
	}
}

func TestWhatIsNotAsTheIndexSaysIsRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rule, want string
		change     func(dir string) error
	}{
		{"no index", "no such file", func(dir string) error { return os.Remove(filepath.Join(dir, "evidence.json")) }},
		{"no quote", "no such file", func(dir string) error { return os.Remove(filepath.Join(dir, "quote.msg")) }},
		{"changed quote", "is not the file", func(dir string) error { return os.WriteFile(filepath.Join(dir, "quote.msg"), []byte("QUOTED"), 0o600) }},
		{"longer log", "more than", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "log-txt.bin"), bytes.Repeat([]byte("log"), 1000), 0o600)
		}},
		{"link", "not a regular file", func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "nonce")), os.Symlink("/etc/hostname", filepath.Join(dir, "nonce")))
		}},
		{"pipe", "not a regular file", func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "nonce")), syscall.Mkfifo(filepath.Join(dir, "nonce"), 0o600))
		}},
		{"way out of the folder", "files[0].name: is no plain file name", edit(`"quote.msg"`, `"../quote.msg"`)},
		{"way down", "files[0].name: is no plain file name", edit(`"quote.msg"`, `"a/quote.msg"`)},
		{"absolute path", "files[0].name: is no plain file name", edit(`"quote.msg"`, `"/etc/passwd"`)},
		{"dot name", "files[0].name: is no plain file name", edit(`"quote.msg"`, `".."`)},
		{"file of no kind", "no file of evidence", func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "quote.msg"), filepath.Join(dir, "quote.txt")), edit(`"quote.msg"`, `"quote.txt"`)(dir))
		}},
		{"file twice", "files[1].name: stands twice", edit(`"quote.sig"`, `"quote.msg"`)},
		{"huge file", "size: is not a number from 0 to", edit(`"size": 6`, `"size": 16777217`)},
		{"unknown key", "files[0].mode: unknown key", edit(`"name": "quote.msg"`, `"mode": "x", "name": "quote.msg"`)},
		{"other format", "format: is another format", edit("trustpool-evidence/1", "trustpool-evidence/2")},
		{"log source of another file", "log: is for the files log-*", edit(`"name": "quote.msg"`, `"name": "quote.msg", "log": "txt"`)},
		{"more PCRs than values", "quote.pcrs has too few bytes", edit("17,", "17, 18,")},
		{"fewer PCRs than values", "quote.pcrs has 32 bytes more", edit("17,", "")},
		{"binding that is no object", "binding: is no object", edit(`"hints": {`, `"binding": 5, "hints": {`)},
		{"aggregation that is no object", "aggregation: is no object", edit(`"hints": {`, `"aggregation": [], "hints": {`)},
		{"aggregation of too many", "aggregation.size: is not a number from 0 to 1024", edit(`"hints": {`, `"aggregation": {"salt": "", "index": 0, "size": 1025}, "hints": {`)},
		{"aggregation of less than none", "aggregation.index: is not a number from 0 to 1024", edit(`"hints": {`, `"aggregation": {"salt": "", "index": -1, "size": 1}, "hints": {`)},
		{"aggregation without salt", "aggregation.salt: missing", edit(`"hints": {`, `"aggregation": {"index": 0, "size": 1}, "hints": {`)},
		{"proof that is no list of texts", "aggregation.inclusion_proof[0]: is no text", edit(`"hints": {`, `"aggregation": {"salt": "", "index": 0, "size": 1, "inclusion_proof": [1]}, "hints": {`)},
		{"proof that is not hexadecimal", "aggregation.inclusion_proof: is not hexadecimal", edit(`"hints": {`, `"aggregation": {"salt": "", "index": 0, "size": 1, "inclusion_proof": ["x"]}, "hints": {`)},
		{"unknown key of aggregation", "aggregation.root: unknown key", edit(`"hints": {`, `"aggregation": {"salt": "", "index": 0, "size": 1, "root": ""}, "hints": {`)},
		{"unknown bank", "unknown hash algorithm", edit(`"sha256"`, `"md5"`)},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "evidence")
			if err := saved.Write(dir, sample()); err != nil {
				t.Fatal(err)
			}
			if err := tc.change(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := saved.Read(dir); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			} else if unreadable := tc.rule == "no index" || tc.rule == "other format" || tc.rule == "unknown bank"; errors.Is(err, saved.ErrAltered) == unreadable {
				t.Errorf("is the folder altered? %v", err)
			}
		})
	}
}

// edit replaces a text of evidence.json, which must be there.
func edit(from, to string) func(dir string) error {
	return func(dir string) error {
		path := filepath.Join(dir, "evidence.json")
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Contains(text, []byte(from)) {
			return errors.New("evidence.json has no " + from + ":\n" + string(text))
		}
		last := bytes.LastIndex(text, []byte(from))
		if first := bytes.Index(text, []byte(from)); from != `"sha256"` {
			last = first
		}
		return os.WriteFile(path, append(append(bytes.Clone(text[:last]), to...), text[last+len(from):]...), 0o600)
	}
}

func TestATreeOfMoreLeavesThanAreTakenIsNotSaved(t *testing.T) {
	t.Parallel()
	for _, a := range []verifier.Aggregation{{Size: 1025}, {Index: 1025, Size: 1}, {Index: 1<<32 - 1, Size: 1<<32 - 1}} {
		if err := saved.Write(filepath.Join(t.TempDir(), "evidence"), verifier.Evidence{Aggregation: &a}); err == nil {
			t.Errorf("%d of %d", a.Index, a.Size)
		}
	}
}

func TestTPM2ToolsAcceptTheFiles(t *testing.T) {
	t.Parallel()
	checkquote, err := exec.LookPath("tpm2_checkquote")
	if err != nil {
		t.Fatal("tpm2_checkquote is missing: install the package tpm2-tools")
	}
	// What is signed for a tree is to these tools a nonce as any other.
	nonce, extraData := []byte("a nonce of thirty-two bytes here"), append([]byte{0x7B, 0x02}, "and the digest of a tree's root."...)
	raw, aggregated := quoteOver(t, nonce), quoteOver(t, extraData)
	aggregated.Nonce, aggregated.Binding = nonce, &verifier.Binding{Exporter: make([]byte, 32)}
	aggregated.Aggregation = &verifier.Aggregation{Salt: make([]byte, 32), Index: 1, Size: 2, Proof: [][]byte{make([]byte, 32)}}

	for rule, tc := range map[string]struct {
		ev        verifier.Evidence
		qualifier []byte
		good      bool
	}{
		"its nonce":                            {raw, nonce, true},
		"another nonce":                        {raw, make([]byte, len(nonce)), false},
		"the extraData of a tree":              {aggregated, extraData, true},
		"the nonce that is a leaf of a tree":   {aggregated, nonce, false},
		"another nonce than the signed tree's": {aggregated, append([]byte{0x7B, 0x01}, extraData[2:]...), false},
	} {
		dir := filepath.Join(t.TempDir(), "evidence")
		if err := saved.Write(dir, tc.ev); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), checkquote, "-u", "ak.pem", "-m", "quote.msg", "-s", "quote.sig", "-f", "quote.pcrs",
			"-l", "sha256:17,18,19", "-g", "sha256", "-q", hex.EncodeToString(tc.qualifier))
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); (err == nil) != tc.good {
			t.Errorf("%s: %v\n%s", rule, err, out)
		}
	}
}

func quoteOf(t *testing.T) verifier.Evidence {
	t.Helper()
	return quoteOver(t, []byte("a nonce of thirty-two bytes here"))
}

// quoteOver quotes PCRs 17 to 19 of a simulated node.
func quoteOver(t *testing.T, nonce []byte) verifier.Evidence {
	t.Helper()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	key, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type:    tpm2.TPMAlgECC,
			NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{
				FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true,
			},
			Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
				CurveID: tpm2.TPMECCNistP256,
				Scheme: tpm2.TPMTECCScheme{
					Scheme:  tpm2.TPMAlgECDSA,
					Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
				},
			}),
		}),
	}.Execute(n)
	if err != nil {
		t.Fatal(err)
	}

	selection := tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(17, 18, 19)},
	}}
	quote, err := tpm2.Quote{
		SignHandle:     tpm2.AuthHandle{Handle: key.ObjectHandle, Name: key.Name, Auth: tpm2.PasswordAuth(nil)},
		QualifyingData: tpm2.TPM2BData{Buffer: nonce},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      selection,
	}.Execute(n)
	if err != nil {
		t.Fatal(err)
	}
	read, err := tpm2.PCRRead{PCRSelectionIn: selection}.Execute(n)
	if err != nil {
		t.Fatal(err)
	}
	bank := verifier.PCRBank{Alg: eventlog.AlgSHA256}
	for i, d := range read.PCRValues.Digests {
		bank.Values = append(bank.Values, verifier.PCRValue{Index: 17 + i, Value: d.Buffer})
	}
	return verifier.Evidence{
		Quoted: quote.Quoted.Bytes(), Signature: tpm2.Marshal(quote.Signature), AKPublic: key.OutPublic.Bytes(), Nonce: nonce,
		PCRs: []verifier.PCRBank{bank}, Logs: []verifier.Log{{Source: "txt", Raw: n.EventLog()}},
	}
}

// FuzzReadIndex reads folders whose index is of any bytes.
func FuzzReadIndex(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "evidence")
	if err := saved.Write(dir, sample()); err != nil {
		f.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(dir, "evidence.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(index)
	f.Add(bytes.ReplaceAll(index, []byte("quote.msg"), []byte("../quote.msg")))
	f.Add(bytes.Replace(index, []byte(`"hints": {`), []byte(`"binding": {"exporter": "00", "logs": [{"source": "txt", "sha256": ""}]}, "aggregation": {"salt": "01", "index": 0, "size": 2, "inclusion_proof": ["02"]}, "hints": {`), 1))
	f.Add([]byte(`{"format":"trustpool-evidence/1","files":[{"name":"log-x","size":0,"sha256":""}],"pcrs":[{"bank":"sha256","pcrs":[17]}]}`))

	f.Fuzz(func(t *testing.T, index []byte) {
		if err := os.WriteFile(filepath.Join(dir, "evidence.json"), index, 0o600); err != nil {
			t.Fatal(err)
		}
		ev, err := saved.Read(dir)
		if err != nil {
			return
		}
		// Whatever the index says, only what the folder holds can come out of it.
		if len(ev.Quoted) > 0 && string(ev.Quoted) != string(sample().Quoted) {
			t.Errorf("quoted is %q", ev.Quoted)
		}
		if _, err := json.Marshal(verifier.Verify(ev, verifier.Policy{BindMode: verifier.BindBound})); err != nil {
			t.Error(err)
		}
	})
}

// sample is evidence that is complete but no TPM's.
func sample() verifier.Evidence {
	return verifier.Evidence{
		Quoted: []byte("quoted"), Signature: []byte("signature"), AKPublic: []byte("public"), Nonce: []byte("nonce"),
		PCRs: []verifier.PCRBank{{Alg: eventlog.AlgSHA256, Values: []verifier.PCRValue{
			{Index: 17, Value: bytes.Repeat([]byte{17}, 32)}, {Index: 19, Value: bytes.Repeat([]byte{19}, 32)},
		}}},
		Logs:  []verifier.Log{{Source: "txt", Raw: []byte("log")}},
		Hints: map[string]string{"boot_id": "x", "agent": "<y>"},
	}
}
