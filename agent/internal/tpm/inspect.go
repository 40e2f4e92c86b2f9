package tpm

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Inspector looks at a TPM that somebody else may own. It makes no key, loads nothing and changes nothing, so that it disturbs nobody.
type Inspector struct {
	session *tpmSession
	auths   Auths
}

// NewInspector returns one for an open TPM, which stays the caller's.
func NewInspector(device transport.TPMCloser, auths Auths) *Inspector {
	way := &line{device: device, sleep: time.Sleep, retries: func(tpm2.TPMRC) {}, watch: &watch{}}

	return &Inspector{session: &tpmSession{line: way, pcrs: make(map[pcrKey][]byte)}, auths: auths}
}

// Properties returns what the TPM says of itself.
func (i *Inspector) Properties() (*Properties, error) {
	return readProperties(i.session.line)
}

// Settings are what an operator or the firmware switched.
type Settings struct {
	// EndorsementDisabled says that the endorsement hierarchy is switched off until the next reset, StorageDisabled the owner's.
	EndorsementDisabled, StorageDisabled bool
	// OwnerAuthSet and EndorsementAuthSet say that these hierarchies have an authorisation value that is not empty.
	OwnerAuthSet, EndorsementAuthSet bool
	// InLockout says that too many wrong authorisation values were tried.
	InLockout bool
}

// Settings reads them from the TPM's variable properties.
func (i *Inspector) Settings() (Settings, error) {
	response, err := tpm2.GetCapability{
		Capability: tpm2.TPMCapTPMProperties, Property: uint32(tpm2.TPMPTPermanent), PropertyCount: 2,
	}.Execute(i.session.line)
	if err != nil {
		return Settings{}, fmt.Errorf("reading TPM_PT_PERMANENT: %w", err)
	}

	properties, err := response.CapabilityData.Data.TPMProperties()
	if err != nil {
		return Settings{}, fmt.Errorf("reading TPM_PT_PERMANENT: %w", err)
	}

	var s Settings

	for _, p := range properties.TPMProperty {
		switch p.Property {
		case tpm2.TPMPTPermanent: // TPMA_PERMANENT (TPM 2.0 Part 2, 8.6)
			s.OwnerAuthSet, s.EndorsementAuthSet, s.InLockout = p.Value&1 != 0, p.Value&2 != 0, p.Value&(1<<9) != 0
		case tpm2.TPMPTStartupClear: // TPMA_STARTUP_CLEAR (TPM 2.0 Part 2, 8.7)
			s.StorageDisabled, s.EndorsementDisabled = p.Value&2 == 0, p.Value&4 == 0
		}
	}

	return s, nil
}

// PCRs reads the selected PCRs.
func (i *Inspector) PCRs(selections ...Selection) ([]Bank, error) {
	if err := i.session.readPCRs(selections); err != nil {
		return nil, err
	}

	return i.session.kept(selections), nil
}

// EKCertificates returns the certificates that the TPM holds, with their sources, and what is wrong with them. Whether they are of this TPM's EKs is known as far as those are at
// persistent handles: others would have to be derived.
func (i *Inspector) EKCertificates() (certificates map[string]*x509.Certificate, problems []string, err error) {
	finder := ekFinder{tpm: i.session.line, auths: i.auths}

	nv, err := newNVReader(i.session.line, i.auths)
	if err == nil {
		finder.nv = nv
		err = finder.findPersistent()
	}

	if err != nil {
		return nil, nil, err
	}

	certificates = make(map[string]*x509.Certificate)

	for _, template := range ekTemplates() {
		if template.certificate == 0 || !nv.has(template.certificate) {
			continue
		}

		certificate, err := nv.certificate(template.certificate)

		switch {
		case err == nil && finder.belies(&template, certificate):
			problems = append(problems, fmt.Sprintf("the certificate in %s is not of this TPM's EK", certificate.source))
		case err == nil:
			certificates[certificate.source] = certificate.parsed
		case refused(err):
			problems = append(problems, err.Error())
		default:
			return nil, nil, err
		}
	}

	return certificates, problems, nil
}

// belies says that a template's persistent keys are other ones than that of its certificate.
func (f *ekFinder) belies(template *ekTemplate, certificate *ekCertificate) bool {
	known := false

	for _, key := range f.persistent {
		if key.template != nil && key.template.name == template.name {
			if certificate.certifies(key) {
				return false
			}

			known = true
		}
	}

	return known
}

// Occupancy says what is at a persistent handle.
type Occupancy uint8

// What may be at the AK's handle.
const (
	Vacant   Occupancy = iota // nothing
	Expected                  // the key on record
	Foreign                   // another object
)

// At looks what is at the handle of a key on record.
func (i *Inspector) At(record KeyRecord) (Occupancy, error) {
	occupant, err := keys{i.session.line, i.auths}.publicAt(record.Handle)

	switch {
	case err != nil:
		return Vacant, err
	case occupant == nil:
		return Vacant, nil
	case bytes.Equal(occupant.Name.Buffer, record.Name):
		return Expected, nil
	default:
		return Foreign, nil
	}
}

// ReadRecord reads what the agent remembers of its keys. An absent file gives an empty record; a damaged one is ErrRecord.
func ReadRecord(path string) (Record, error) {
	return readRecord(path)
}

// Managers lists the resource managers in /dev; none if that can't be read.
func Managers() []string {
	found, _ := managers(devices) // opening the TPM tells why

	return found
}

// ReadCertificateFile reads the operator's file with the EK's certificate.
func ReadCertificateFile(path string) (*x509.Certificate, error) {
	certificate, err := readCertificateFile(path)
	if err != nil {
		return nil, err
	}

	return certificate.parsed, nil
}
