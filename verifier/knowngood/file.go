package knowngood

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/internal/strictjson"
)

// SetFormat is the value of the key "format" in a set's file.
const SetFormat = "trustpool-set/1"

// MaxFile bounds what is read of one file of any format, in bytes.
const MaxFile = 16 << 20

// Set is a set of known-good values with what an attestation server knows of it.
//
// In a file it is a JSON object:
//
//	{
//	  "format": "trustpool-set/1",
//	  "name": "xen-4.17",
//	  "description": "Xen 4.17.3 on Debian 12",
//	  "part": "hypervisor",
//	  "node": "",
//	  "source": "captured from node1.example",
//	  "valid_from": "2026-11-23T00:00:00Z",
//	  "valid_until": "2027-11-23T00:00:00Z",
//	  "known_good": {"format": "trustpool-known-good/1", "ak": [], "pcrs": [...]}
//	}
//
// Of these, format, name and known_good have to be there. In which pools a set counts is not in the file: that is for whoever imports it.
type Set struct {
	Name        string
	Description string
	// Part is what the values speak of: platform, hypervisor, host_specific, or nothing.
	Part string
	// Node is the name of the node that a host-specific set is for.
	Node string
	// Source says where the values are from.
	Source string
	// ValidFrom and ValidUntil bound the time in which it counts; zero: no bound.
	ValidFrom, ValidUntil time.Time
	// KnownGood are its values.
	KnownGood verifier.KnownGood
	// Untrusted are values that were read and that nothing may rest on: those of SHA-1 banks. They are never written.
	Untrusted []UntrustedValue
}

// UntrustedValue is a value of a SHA-1 bank, for which somebody else can find other content.
type UntrustedValue struct {
	Bank  string       `json:"bank"`
	PCR   int          `json:"pcr"`
	Value verifier.Hex `json:"value"`
}

type fileSet struct {
	Format      string             `json:"format"`
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Part        string             `json:"part,omitempty"`
	Node        string             `json:"node,omitempty"`
	Source      string             `json:"source,omitempty"`
	ValidFrom   time.Time          `json:"valid_from,omitzero"`
	ValidUntil  time.Time          `json:"valid_until,omitzero"`
	KnownGood   verifier.KnownGood `json:"known_good"`
}

// Marshal writes a set's file that ParseSet reads. It ends with a newline.
func (s Set) Marshal() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // the file is read by people, never put into a page as it is
	enc.SetIndent("", "  ")
	err := enc.Encode(fileSet{SetFormat, s.Name, s.Description, s.Part, s.Node, s.Source, s.ValidFrom.UTC(), s.ValidUntil.UTC(), s.KnownGood})
	if err != nil {
		return nil, fmt.Errorf("writing a set: %w", err)
	}
	return out.Bytes(), nil
}

// ParseSet reads a set's file, or a known-good file, which becomes a set without a name. It takes nothing that it does not know, and its error tells what is wrong as verifier.ParseKnownGood does.
func ParseSet(raw []byte) (Set, error) {
	var head struct {
		Format string `json:"format"`
	}
	if len(raw) <= MaxFile && json.Unmarshal(raw, &head) == nil && head.Format == verifier.KnownGoodFormat {
		known, err := verifier.ParseKnownGood(raw)
		return Set{KnownGood: known}, err
	}
	s, err := parseSet(raw)
	if err != nil {
		return Set{}, fmt.Errorf("reading a set: %w", err)
	}
	return s, nil
}

func parseSet(raw []byte) (Set, error) {
	o, err := strictjson.Decode(raw, MaxFile)
	if err != nil {
		return Set{}, err
	}
	if format := o.String("format"); format != "" && format != SetFormat {
		o.Problem("format", "is another format, write %q or %q", SetFormat, verifier.KnownGoodFormat)
	}
	s := Set{
		Name: o.String("name"), Description: o.OptionalString("description"), Part: o.OptionalString("part"), Node: o.OptionalString("node"), Source: o.OptionalString("source"),
		ValidFrom: parseTime(o, "valid_from"), ValidUntil: parseTime(o, "valid_until"),
	}
	if s.Part != "" && !slices.Contains([]string{"platform", "hypervisor", "host_specific"}, s.Part) {
		o.Problem("part", "is none: write platform, hypervisor or host_specific")
	}
	o.Object("known_good") // its own parser reads what is in it
	o.Done()
	if err := o.Err(); err != nil {
		return Set{}, err
	}

	var inner struct {
		KnownGood json.RawMessage `json:"known_good"`
	}
	if err := json.Unmarshal(raw, &inner); err != nil {
		return Set{}, err
	}
	if s.KnownGood, err = verifier.ParseKnownGood(inner.KnownGood); err != nil {
		return Set{}, fmt.Errorf("known_good: %w", err)
	}
	return s, nil
}

func parseTime(o *strictjson.Object, key string) time.Time {
	text := o.OptionalString(key)
	if text == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		o.Problem(key, "is no time, write it as 2026-11-23T00:00:00Z")
	}
	return at.UTC()
}
