package knowngood

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/internal/strictjson"
)

// fileMLE is OpenAttestation's MLE, as its web service WLMService/resources/mles takes it.
type fileMLE struct {
	Name            string         `json:"Name"`
	Version         string         `json:"Version"`
	OsName          string         `json:"OsName,omitempty"`
	OsVersion       string         `json:"OsVersion,omitempty"`
	OemName         string         `json:"OemName,omitempty"`
	AttestationType string         `json:"Attestation_Type"`
	MLEType         string         `json:"MLE_Type"`
	Description     string         `json:"Description"`
	Manifests       []fileManifest `json:"MLE_Manifests"`
}

type fileManifest struct {
	Name  string `json:"Name"`
	Value string `json:"Value"`
}

// parseMLE reads an MLE. A BIOS is the platform, a VMM the hypervisor. OpenAttestation was made for TPM 1.2, whose values are of SHA-1; others are told by their length.
func parseMLE(raw []byte) (Set, error) {
	o, err := strictjson.Decode(raw, MaxFile)
	if err != nil {
		return Set{}, fmt.Errorf("reading an OpenAttestation MLE: %w", err)
	}
	s := Set{Name: o.String("Name"), Description: o.OptionalString("Description"), Source: "imported from the OpenAttestation MLE " + mleName(o)}
	switch o.String("MLE_Type") {
	case "BIOS":
		s.Part = "platform"
	case "VMM":
		s.Part = "hypervisor"
	default:
		o.Problem("MLE_Type", "is none: write BIOS or VMM")
	}
	if kind := o.OptionalString("Attestation_Type"); kind != "" && kind != "PCR" {
		o.Problem("Attestation_Type", "is of values that are not PCRs: only PCR is read")
	}

	var all values
	for _, manifest := range o.Objects("MLE_Manifests") {
		pcr, err := strconv.Atoi(manifest.String("Name"))
		if err != nil || pcr < 0 || pcr >= eventlog.NumPCRs {
			manifest.Problem("Name", "is no PCR, write its number, 0 to %d", eventlog.NumPCRs-1)
			pcr = 0
		}
		all.read(manifest, "Value", pcr, manifest.String("Value"))
		manifest.Done()
	}
	o.Done()
	if err := o.Err(); err != nil {
		return Set{}, fmt.Errorf("reading an OpenAttestation MLE: %w", err)
	}
	s.KnownGood, s.Untrusted = all.known, all.untrusted
	return s, nil
}

// mleName is how OpenAttestation names an MLE: by name, version, and the operating system or the maker of the machine.
func mleName(o *strictjson.Object) string {
	text := o.OptionalString("Name")
	for _, key := range []string{"Version", "OsName", "OsVersion", "OemName"} {
		if more := o.OptionalString(key); more != "" {
			text += " " + more
		}
	}
	return text
}

// writeMLE writes an MLE. It has one value of each PCR, and says nothing of banks: the set has to be of one.
func writeMLE(s Set) ([]byte, error) {
	mle := fileMLE{Name: s.Name, Version: "1", AttestationType: "PCR", MLEType: "VMM", Description: s.Description}
	switch s.Part {
	case "platform":
		mle.MLEType, mle.OemName = "BIOS", "unknown"
	case "host_specific":
		return nil, errors.New("writing an OpenAttestation MLE: it is for many hosts, and the set is for one")
	default:
		mle.OsName, mle.OsVersion = "unknown", "unknown"
	}
	bank := eventlog.Alg(0)
	err := eachValue(s, func(entry verifier.KnownPCR, values []verifier.Hex) error {
		if bank != 0 && entry.Bank != bank {
			return errors.New("an MLE has values of one bank: write a set for each")
		}
		bank = entry.Bank
		if len(values) != 1 {
			return fmt.Errorf("an MLE has one value for each PCR, and the set allows %d: write a set for each", len(values))
		}
		mle.Manifests = append(mle.Manifests, fileManifest{Name: strconv.Itoa(entry.PCR), Value: values[0].String()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("writing an OpenAttestation MLE: %w", err)
	}

	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(mle); err != nil {
		return nil, fmt.Errorf("writing an OpenAttestation MLE: %w", err)
	}
	return out.Bytes(), nil
}
