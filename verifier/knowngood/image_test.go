package knowngood_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/knowngood"
)

// peSection is a section of an image.
type peSection struct{ name, content string }

// Places in the images of peImage.
const (
	peOptional  = 64 + 4 + 20
	peChecksum  = peOptional + 64
	peCertEntry = peOptional + 112 + 4*8
	peHeaders   = 1024
)

// peImage writes a PE32+ image: an MS-DOS header, the headers in 1024 bytes, the sections one behind the other in 512 bytes each, and what comes behind them.
func peImage(sections []peSection, behind, certificate string) []byte {
	le := binary.LittleEndian
	head := make([]byte, peHeaders)
	copy(head, "MZ")
	le.PutUint32(head[0x3C:], 64)
	copy(head[64:], "PE\x00\x00")
	le.PutUint16(head[68:], 0x8664)
	le.PutUint16(head[70:], uint16(len(sections)))
	le.PutUint16(head[84:], 240) // the size of the optional header
	le.PutUint16(head[peOptional:], 0x20b)
	le.PutUint32(head[peOptional+60:], peHeaders)
	le.PutUint32(head[peOptional+108:], 16)
	le.PutUint32(head[peCertEntry+4:], uint32(len(certificate)))

	image := head
	for i, s := range sections {
		at := peOptional + 240 + 40*i
		copy(image[at:at+8], s.name)
		le.PutUint32(image[at+8:], uint32(len(s.content)))
		le.PutUint32(image[at+16:], 512)
		le.PutUint32(image[at+20:], uint32(len(image)))
		image = append(image, s.content...)
		image = append(image, make([]byte, 512-len(s.content))...)
	}
	return append(append(image, behind...), certificate...)
}

// authenticode is the hash as the specification describes it, of an image whose sections are in order.
func authenticode(image []byte, certificate string) []byte {
	h := sha256.New()
	h.Write(image[:peChecksum])
	h.Write(image[peChecksum+4 : peCertEntry])
	h.Write(image[peCertEntry+8 : len(image)-len(certificate)])
	return h.Sum(nil)
}

func TestAnImageIsFoundAndReplacedByItsAuthenticodeHash(t *testing.T) {
	t.Parallel()
	old := peImage([]peSection{{".text", "old code"}, {".data", "data"}}, "behind", "a certificate")
	next := peImage([]peSection{{".text", "new code"}, {".data", "data"}}, "behind", "another certificate")
	known := slots(4, eventlog.TypeEFIBootServicesApp, []byte("other"), nil, authenticode(old, "a certificate"))

	unsigned := peImage([]peSection{{".text", "new code"}, {".data", "data"}}, "behind", "")
	for name, image := range map[string][]byte{"signed": next, "not signed": unsigned} {
		draft, steps := precompute(t, known, knowngood.File{Old: bytes.NewReader(old), New: bytes.NewReader(image)})
		if len(steps) != 1 || steps[0].Slot != 2 || !bytes.Equal(draft.PCRs[0].Events[1].Digests[1], authenticode(unsigned, "")) {
			t.Errorf("%s: steps %+v", name, steps)
		}
	}
}

func TestAUnifiedKernelImageIsReplacedSectionBySection(t *testing.T) {
	t.Parallel()
	uki := func(initrd, cmdline string) []byte {
		return peImage([]peSection{{".cmdline", cmdline}, {".initrd", initrd}, {".linux", "a kernel that is no image"}, {".text", "the stub"}}, "", "")
	}
	old, next := uki("initrd 1", "root=/dev/sda1"), uki("initrd 2", "root=/dev/sda1")
	known := slots(11, eventlog.TypeIPL, []byte("a kernel that is no image"), []byte("root=/dev/sda1"), []byte("initrd 1"))

	draft, steps := precompute(t, known, knowngood.File{Old: bytes.NewReader(old), New: bytes.NewReader(next)})
	var changed []string
	for _, s := range steps {
		if !s.Had {
			changed = append(changed, s.Rule)
		}
	}
	if len(changed) != 1 || changed[0] != "the hash of the section .initrd" || len(draft.PCRs[0].Events[2].Digests) != 2 {
		t.Errorf("steps %+v", steps)
	}

	fewer := peImage([]peSection{{".linux", "kernel"}}, "", "")
	if _, _, err := knowngood.Precompute(known, []knowngood.Change{knowngood.File{Old: bytes.NewReader(old), New: bytes.NewReader(fewer)}}, true); err == nil || !strings.Contains(err.Error(), "sections") {
		t.Errorf("an image with fewer sections: %v", err)
	}
}

func TestABrokenImageIsAnError(t *testing.T) {
	t.Parallel()
	whole := peImage([]peSection{{".text", "code"}}, "", "")
	known := slots(4, eventlog.TypeEFIBootServicesApp, nil, authenticode(whole, ""))
	for _, size := range []int{2, 70, peOptional + 10, peHeaders, len(whole) - 1} {
		_, _, err := knowngood.Precompute(known, []knowngood.Change{knowngood.File{Old: bytes.NewReader(whole), New: bytes.NewReader(whole[:size])}}, true)
		if err == nil {
			t.Errorf("an image of %d bytes of %d is taken", size, len(whole))
		}
	}
}

// FuzzImage: no kernel image stops the precomputation.
func FuzzImage(f *testing.F) {
	f.Add(peImage([]peSection{{".linux", "kernel"}, {".initrd", "initrd"}}, "x", "y"))
	f.Add([]byte("MZ"))
	f.Fuzz(func(_ *testing.T, image []byte) {
		change := knowngood.File{Old: bytes.NewReader(image), New: bytes.NewReader(image)}
		_, _, _ = knowngood.Precompute(slots(4, eventlog.TypeIPL, []byte("x")), []knowngood.Change{change}, true) //nolint:dogsled // it only must not panic
	})
}

// slots is known-good values of one PCR, whose slots take each the hash of a text; nil stands before a digest.
func slots(pcr int, typ eventlog.EventType, contents ...[]byte) verifier.KnownGood {
	entry := verifier.KnownPCR{Bank: eventlog.AlgSHA256, PCR: pcr}
	bare := false
	for _, c := range contents {
		if c == nil {
			bare = true
			continue
		}
		sum := sha256.Sum256(c)
		digest := verifier.Hex(sum[:])
		if bare {
			digest, bare = c, false
		}
		entry.Events = append(entry.Events, verifier.Slot{Type: typ, Digests: []verifier.Hex{digest}})
	}
	return verifier.KnownGood{PCRs: []verifier.KnownPCR{entry}}
}

func precompute(t *testing.T, known verifier.KnownGood, changes ...knowngood.Change) (verifier.KnownGood, []knowngood.Step) {
	t.Helper()
	draft, steps, err := knowngood.Precompute(known, changes, true)
	if err != nil {
		t.Fatal(err)
	}
	return draft, steps
}
