package saved

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trustpool/trustpool/verifier"
)

// FuzzRoundTrip wants what was read of a folder to be read again from what is written of it, whatever its index says.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(`{"format": "trustpool-evidence/1", "files": [], "pcrs": []}`))
	f.Add([]byte(`{"format": "trustpool-evidence/1", "files": [
		{"name": "quote.msg", "size": 6, "sha256": "0000000000000000000000000000000000000000000000000000000000000000"},
		{"name": "log-txt.bin", "size": 3, "sha256": "0000000000000000000000000000000000000000000000000000000000000000", "log": "TXT/../x"},
		{"name": "quote.pcrs", "size": 64, "sha256": "0000000000000000000000000000000000000000000000000000000000000000"}],
		"pcrs": [{"bank": "sha256", "pcrs": [17, 19]}],
		"binding": {"exporter": "00", "logs": [{"source": "txt", "sha256": ""}, {"source": "firmware", "sha256": "01"}]},
		"aggregation": {"salt": "01", "index": 0, "size": 2, "inclusion_proof": ["02", ""]}, "hints": {"boot_id": "<x>", "": "\u2028"}}`))

	f.Fuzz(func(t *testing.T, text []byte) {
		ev, err := evidenceOf(text, func(name string) []byte { return sampleFiles()[name] })
		if err != nil {
			return
		}

		files, err := encode(ev)
		if err != nil {
			t.Fatal(err)
		}
		contents := make(map[string][]byte)
		for _, file := range files {
			contents[file.Name] = file.Data
		}
		again, err := evidenceOf(contents[FileIndex], func(name string) []byte { return contents[name] })
		if diff := cmp.Diff(ev, again, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%v (-read +written and read again)\n%s\n%s", err, diff, contents[FileIndex])
		}
	})
}

// sampleFiles are contents for an index to name.
func sampleFiles() map[string][]byte {
	return map[string][]byte{
		FileQuote: []byte("quoted"), FileSignature: []byte("signature"), FileNonce: []byte("nonce"), FilePCRs: make([]byte, 64), FileAKPublic: []byte("\x00\x06public"),
		"log-txt.bin": []byte("log"), "log-txt-2.bin": []byte("another"),
	}
}

// evidenceOf is Read without its files.
func evidenceOf(text []byte, content func(string) []byte) (verifier.Evidence, error) {
	ix, err := parseIndex(text)
	if err != nil {
		return verifier.Evidence{}, err
	}
	contents := make(map[string][]byte)
	for _, f := range ix.Files {
		contents[f.Name] = content(f.Name)
	}
	return ix.evidence(contents)
}
