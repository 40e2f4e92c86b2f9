package verifier

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// KnownGoodFormat is the value of the key "format" in a known-good file.
const KnownGoodFormat = "trustpool-known-good/1"

// KnownGood holds what a caller declared good: which keys may sign, and what each PCR may hold. The zero value trusts nothing.
//
// In a file it is a JSON object:
//
//	{
//	  "format": "trustpool-known-good/1",
//	  "ak": [
//	    {"name": "000b<sha256>", "public": "<base64 of TPMT_PUBLIC>", "ek_binding": "first_use"},
//	    {"spki": "<base64 of a PKIX SubjectPublicKeyInfo>", "ek_binding": "first_use"}
//	  ],
//	  "pcrs": [
//	    {"bank": "sha256", "pcr": 17, "events": [
//	      {"type": "0x00000402", "description": "SINIT", "digests": ["<hex>"]}
//	    ]},
//	    {"bank": "sha256", "pcr": 19, "values": ["<hex>"]}
//	  ]
//	}
type KnownGood struct {
	// AKs are the keys that may sign.
	AKs []AKPin
	// PCRs has one entry for each PCR that is to be quoted, and no other.
	PCRs []KnownPCR
}

// AKPin is one attestation key that may sign: either Name and Public are set, or SPKI is.
type AKPin struct {
	// Name is the key's Name (Part 1, 16): it always is the Name of Public.
	Name Hex
	// Public is its TPMT_PUBLIC, without a size prefix.
	Public Hex
	// SPKI is the key alone, a PKIX SubjectPublicKeyInfo in DER, as PEM files and certificates have it. It does not tell whether the key is a TPM's, so
	// that such a key is trusted only with Policy.AKAttributesByIssuer.
	SPKI Hex
	// Binding says how the key was bound to a TPM.
	Binding EKBinding
}

// EKBinding says what ties an attestation key to a TPM.
type EKBinding string

// The levels, the strongest first. From BindingInventory and BindingChain on, a TPM that holds the EK has proven that it holds the AK too.
const (
	// BindingInventory: the EK is the one that an inventory named for the node before first contact.
	BindingInventory EKBinding = "inventory"
	// BindingChain: the EK's certificate leads to a TPM maker that is trusted, and the node's server certificate has the node's name. It is a genuine TPM that was reached under that
	// name, which does not say in which machine it sits.
	BindingChain EKBinding = "chain"
	// BindingFirstUse: the key was taken on first contact. It proves nothing about hardware, only that it is still the same key.
	BindingFirstUse EKBinding = "first_use"
)

// KnownPCR says what one PCR of one bank may hold: either one of Values, or what Events add up to.
type KnownPCR struct {
	// Bank and PCR say which. SHA-1 banks can't be known-good.
	Bank eventlog.Alg
	PCR  int
	// Values are the allowed values.
	Values []Hex
	// Events are the slots that the PCR's events must fill: each slot by one event, in this order, and no event besides. PCR 0 can't be known so.
	Events []Slot
}

// startsKnown tells whether the PCR begins with one value, so that events tell the whole of it. PCR 0 begins with the locality of TPM2_Startup or with the mark of an H-CRTM (TPM 2.0 Part 3, 9.3.1),
// and no event measures which.
func (k *KnownPCR) startsKnown() bool { return k.PCR != 0 }

// Slot is the place of one event.
type Slot struct {
	// Type is the event's type as its log writes it.
	Type eventlog.EventType
	// Description is for people and never compared.
	Description string
	// Digests are the allowed digests, at least one.
	Digests []Hex
}

// Empty tells whether k trusts nothing at all.
func (k *KnownGood) Empty() bool { return len(k.AKs) == 0 && len(k.PCRs) == 0 }

// Selection returns the PCRs that k speaks of, as a policy's selection: the banks in the order of their first entry, PCRs rising.
func (k *KnownGood) Selection() []Selection {
	var all []Selection
	for _, entry := range k.PCRs {
		i := slices.IndexFunc(all, func(s Selection) bool { return s.Alg == entry.Bank })
		if i < 0 {
			i = len(all)
			all = append(all, Selection{Alg: entry.Bank})
		}
		all[i].PCRs = append(all[i].PCRs, entry.PCR)
	}
	for _, s := range all {
		slices.Sort(s.PCRs)
	}
	return all
}

// findPin returns the pin of this very public area, or else of this key.
func findPin(pins []AKPin, a *ak) (AKPin, bool) {
	for _, pin := range pins {
		sameName := subtle.ConstantTimeCompare(pin.Name, a.name)
		if sameName&subtle.ConstantTimeCompare(pin.Public, a.raw) == 1 && len(a.raw) > 0 {
			return pin, true
		}
	}
	for _, pin := range pins {
		if subtle.ConstantTimeCompare(pin.SPKI, a.spki) == 1 && len(a.spki) > 0 {
			return pin, true
		}
	}
	return AKPin{}, false
}

// entry returns the entry of one PCR.
func (k *KnownGood) entry(p pcr) (KnownPCR, bool) {
	i := slices.IndexFunc(k.PCRs, func(e KnownPCR) bool { return e.Bank == p.bank && e.PCR == p.index })
	if i < 0 {
		return KnownPCR{}, false
	}
	return k.PCRs[i], true
}

// allows tells whether the slot may be filled by this event.
func (s *Slot) allows(typ eventlog.EventType, digest []byte) bool {
	return s.Type == typ && contains(s.Digests, digest)
}

// contains compares with each of list in constant time: one side is the node's choice.
func contains(list []Hex, got []byte) bool {
	found := 0
	for _, want := range list {
		found |= subtle.ConstantTimeCompare(want, got)
	}
	return found == 1
}

// MarshalJSON writes k as in a known-good file, on one line.
func (k KnownGood) MarshalJSON() ([]byte, error) { return json.Marshal(newFileKnownGood(k)) }

// Marshal writes k as a known-good file that ParseKnownGood reads and a person can edit. It ends with a newline.
func (k KnownGood) Marshal() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // the file is read by people, never put into a page as it is
	enc.SetIndent("", "  ")
	if err := enc.Encode(newFileKnownGood(k)); err != nil {
		return nil, fmt.Errorf("writing known-good values: %w", err)
	}
	return out.Bytes(), nil
}

// The file's layout, in the order in which its keys are written.
type (
	fileKnownGood struct {
		Format string    `json:"format"`
		AK     []fileAK  `json:"ak"`
		PCRs   []filePCR `json:"pcrs"`
	}
	fileAK struct {
		Name      Hex    `json:"name,omitempty"`
		Public    string `json:"public,omitempty"`
		SPKI      string `json:"spki,omitempty"`
		EKBinding string `json:"ek_binding"`
	}
	filePCR struct {
		Bank   string     `json:"bank"`
		PCR    int        `json:"pcr"`
		Values []Hex      `json:"values,omitempty"`
		Events []fileSlot `json:"events,omitempty"`
	}
	fileSlot struct {
		Type        string `json:"type"`
		Description string `json:"description,omitempty"`
		Digests     []Hex  `json:"digests"`
	}
)

func newFileKnownGood(k KnownGood) fileKnownGood {
	file := fileKnownGood{Format: KnownGoodFormat, AK: []fileAK{}, PCRs: []filePCR{}}
	for _, pin := range k.AKs {
		file.AK = append(file.AK, fileAK{
			Name:      pin.Name,
			Public:    base64.StdEncoding.EncodeToString(pin.Public),
			SPKI:      base64.StdEncoding.EncodeToString(pin.SPKI),
			EKBinding: string(pin.Binding),
		})
	}
	for _, entry := range k.PCRs {
		file.PCRs = append(file.PCRs, newFilePCR(entry))
	}
	return file
}

func newFilePCR(entry KnownPCR) filePCR {
	out := filePCR{Bank: entry.Bank.String(), PCR: entry.PCR, Values: entry.Values}
	for _, slot := range entry.Events {
		out.Events = append(out.Events, fileSlot{
			Type:        fmt.Sprintf("0x%08x", uint32(slot.Type)),
			Description: slot.Description,
			Digests:     slot.Digests,
		})
	}
	return out
}
