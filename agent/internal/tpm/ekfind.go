package tpm

import (
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// ekFinder looks for EKs and their certificates.
type ekFinder struct {
	tpm   transport.TPM
	auths Auths
	nv    *nvReader
	// persistent are the keys at persistent handles that may be EKs.
	persistent []*ekKey
	// derived are those that had to be derived, by the template's name; nil where the TPM refused to.
	derived map[string]*ekKey
}

// ekKey is a key that may be an EK.
type ekKey struct {
	public   tpm2.TPM2BPublic
	key      crypto.PublicKey
	handle   tpm2.TPMHandle // 0 if derived
	template *ekTemplate    // nil if none of ours
}

// foundEK is a key with its certificate. One of the two may be missing.
type foundEK struct {
	key         *ekKey
	certificate *ekCertificate
	details     []string
}

func (f *ekFinder) find(certificateFile string) ([]EK, error) {
	var err error
	if f.nv, err = newNVReader(f.tpm, f.auths); err != nil {
		return nil, err
	}

	if err := f.findPersistent(); err != nil {
		return nil, err
	}

	found, err := f.findAll(certificateFile)
	if err != nil {
		return nil, err
	}

	chain, details, err := f.nv.chain()
	if err != nil {
		return nil, err
	}

	eks := make([]EK, 0, len(found))
	for _, e := range found {
		eks = append(eks, f.describe(e, chain, details))
	}

	return eks, nil
}

func (f *ekFinder) findAll(certificateFile string) ([]*foundEK, error) {
	var all []*foundEK

	for _, template := range ekTemplates() {
		found, err := f.ofTemplate(&template)
		if err != nil {
			return nil, err
		}

		if found != nil {
			all = append(all, found)
		}
	}

	if certificateFile != "" {
		var err error
		if all, err = f.addFile(all, certificateFile); err != nil {
			return nil, err
		}
	}

	if len(all) > 0 {
		return all, nil
	}

	for _, template := range ekTemplates()[:2] { // L-1 and L-2
		key, err := f.derive(&template)
		if err != nil {
			return nil, err
		}

		if key != nil {
			all = append(all, &foundEK{key: key, details: []string{noCertificate(&template)}})
		}
	}

	return all, nil
}

// findPersistent looks at the persistent handles of the endorsement hierarchy. TCG Registry of Reserved TPM 2.0 Handles and Localities, 2.3.1.
func (f *ekFinder) findPersistent() error {
	handles, err := handlesBetween(f.tpm, 0x81010000, 0x8101ffff)
	if err != nil {
		return fmt.Errorf("listing persistent handles: %w", err)
	}

	for _, handle := range handles {
		response, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(f.tpm)
		if err != nil && !refused(err) {
			return fmt.Errorf("looking at handle 0x%08x: %w", uint32(handle), err)
		}

		if err != nil {
			continue // its hierarchy is switched off
		}

		if key := ekKeyOf(response.OutPublic, handle); key != nil {
			f.persistent = append(f.persistent, key)
		}
	}

	return nil
}

// ekKeyOf returns nil for a key that can't be an EK: EKs are restricted decryption keys that can't leave the TPM (TCG EK Credential Profile, Annex B).
func ekKeyOf(outPublic tpm2.TPM2BPublic, handle tpm2.TPMHandle) *ekKey {
	public, err := outPublic.Contents()
	if err != nil {
		return nil
	}

	if a := public.ObjectAttributes; !a.Restricted || !a.Decrypt || a.SignEncrypt || !a.FixedTPM || !a.SensitiveDataOrigin {
		return nil
	}

	key, err := tpm2.Pub(*public)
	if err != nil {
		return nil
	}

	return &ekKey{public: outPublic, key: key, handle: handle, template: templateOf(*public)}
}

// ofTemplate returns the EK of a template if there is a certificate for it or it is persistent, else nil.
func (f *ekFinder) ofTemplate(template *ekTemplate) (*foundEK, error) {
	if !f.nv.has(template.certificate) {
		key := f.persistentOf(template)
		if key == nil {
			return nil, nil
		}

		return &foundEK{key: key, details: []string{noCertificate(template)}}, nil
	}

	certificate, err := f.nv.certificate(template.certificate)
	if err != nil && !refused(err) {
		return nil, err
	}

	found, failure := f.match(certificate, []ekTemplate{*template})
	if err != nil && found != nil {
		found.details = append(found.details, err.Error())
	}

	return found, failure
}

// addFile adds the certificate of the operator's file. It takes the place of the one that NV has for this key, unless only that one fits.
func (f *ekFinder) addFile(all []*foundEK, path string) ([]*foundEK, error) {
	certificate, err := readCertificateFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the EK certificate's file: %w", err)
	}

	found, err := f.match(certificate, fittingTemplates(certificate))
	if err != nil {
		return nil, err
	}

	i := slices.IndexFunc(all, func(e *foundEK) bool { return e.key == found.key && e.key != nil })

	switch {
	case i < 0:
		all = append(all, found)
	case all[i].certificate.certifies(found.key) && !certificate.certifies(found.key):
		all[i].details = append(all[i].details, "the certificate in "+path+" is left out: it is for another key")
	default:
		all[i] = found
	}

	return all, nil
}

// match finds the key of a certificate among the persistent keys and those that the templates make. If it is none of them, or there is no certificate, it is the first of these.
func (f *ekFinder) match(certificate *ekCertificate, templates []ekTemplate) (*foundEK, error) {
	for _, key := range f.persistent {
		if certificate.certifies(key) {
			return &foundEK{key: key, certificate: certificate}, nil
		}
	}

	var first *ekKey

	for _, template := range templates {
		persistent := f.persistentOf(&template)
		if persistent != nil && certificate == nil {
			return &foundEK{key: persistent}, nil
		}

		derived, err := f.derive(&template)
		if err != nil {
			return nil, err
		}

		if derived != nil && (certificate == nil || certificate.certifies(derived)) {
			return &foundEK{key: derived, certificate: certificate}, nil
		}

		first = cmp.Or(first, persistent, derived)
	}

	found := &foundEK{key: first, certificate: certificate}
	if first == nil {
		found.details = []string{"this TPM makes no key of the certificate's kind"}
	} else if certificate != nil {
		found.details = []string{"the certificate is for another key"}
	}

	return found, nil
}

// persistentOf returns the first persistent key that was made from a template, nil if there is none.
func (f *ekFinder) persistentOf(template *ekTemplate) *ekKey {
	for _, key := range f.persistent {
		if key.template != nil && key.template.name == template.name {
			return key
		}
	}

	return nil
}

// derive returns the key that a template makes, nil if the TPM can't make such keys.
func (f *ekFinder) derive(template *ekTemplate) (*ekKey, error) {
	if key, known := f.derived[template.name]; known {
		return key, nil
	}

	var key *ekKey

	err := withDerivedEK(f.tpm, f.auths, template, func(primary *tpm2.CreatePrimaryResponse) error {
		if key = ekKeyOf(primary.OutPublic, 0); key != nil {
			key.template = template // even if the TPM fills in more than was asked for: it is derived anew in this way
		}

		return nil
	})

	// What is wrong with a parameter is wrong with the template: TPM 2.0 Part 2, 6.6.2.
	var format1 tpm2.TPMFmt1Error
	if errors.As(err, &format1) {
		if isParameter, _ := format1.Parameter(); isParameter {
			key, err = nil, nil
		}
	}

	if err == nil {
		f.derived[template.name] = key
	}

	return key, err
}

// describe turns what was found into what is told.
func (f *ekFinder) describe(found *foundEK, chain [][]byte, chainDetails []string) EK {
	ek, details := EK{Chain: chain}, slices.Concat(found.details, chainDetails)

	if c := found.certificate; c != nil {
		ek.Certificate, ek.CertificateSource = c.parsed.Raw, c.source
		ek.Chain = slices.Concat(c.beside, chain)
	}

	if key := found.key; key != nil {
		ek.Public, ek.handle, ek.template = key.public.Bytes(), key.handle, key.template
		ek.KeySource = key.source()
		details = append(details, f.oddities(found)...)
	}

	ek.Detail = strings.Join(details, "; ")

	return ek
}

// source says where the key is, or how it is made.
func (k *ekKey) source() string {
	if k.handle != 0 {
		return fmt.Sprintf("handle 0x%08x", uint32(k.handle))
	}

	return "template " + k.template.name
}

// oddities tells what is odd with a key.
func (f *ekFinder) oddities(found *foundEK) (details []string) {
	key := found.key

	if key.handle == 0 && !found.certificate.certifies(key) {
		for _, index := range key.template.options {
			if f.nv.has(index) {
				details = append(details, fmt.Sprintf("the TPM's maker may mean another key: NV index 0x%08x changes template %s, which is not supported", uint32(index), key.template.name))
			}
		}
	}

	if public, err := key.public.Contents(); err == nil {
		if _, err := policyOf(public); err != nil {
			details = append(details, fmt.Sprintf("no credential can be activated: %v", err))
		}
	}

	return details
}

func noCertificate(template *ekTemplate) string {
	return fmt.Sprintf("no certificate in NV index 0x%08x", uint32(template.certificate))
}
