package client

import (
	"errors"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
)

// The most that is taken of an identity, in bytes where nothing else is said.
const (
	maxEKs         = 8
	maxAKs         = 4
	maxChain       = 16 // certificates
	maxCertificate = 8 << 10
	maxCreation    = 4 << 10
	maxHostNames   = 16
	maxHostName    = 253 // RFC 1035, 2.3.4, as text
)

// newIdentity takes an answer apart. What it keeps is bounded, and its text is free of control characters.
func newIdentity(resp *agentv1.GetIdentityResponse) (verifier.Identity, error) {
	err := errors.Join(
		atMost("endorsement_keys", len(resp.GetEndorsementKeys()), maxEKs),
		atMost("attestation_keys", len(resp.GetAttestationKeys()), maxAKs),
		atMost("host_names", len(resp.GetHostNames()), maxHostNames),
	)
	if err != nil {
		return verifier.Identity{}, err
	}

	var id verifier.Identity
	for _, w := range resp.GetEndorsementKeys() {
		ek, err := endorsementKey(w)
		if err != nil {
			return verifier.Identity{}, err
		}
		id.EKs = append(id.EKs, ek)
	}
	for _, w := range resp.GetAttestationKeys() {
		ak, err := attestationKey(w)
		if err != nil {
			return verifier.Identity{}, err
		}
		id.AKs = append(id.AKs, ak)
	}
	if id.TLS, err = tlsKey(resp.GetTlsKey()); err != nil {
		return verifier.Identity{}, err
	}
	for _, w := range resp.GetHostNames() {
		name, err := text("host_names", w, maxHostName)
		if err != nil {
			return verifier.Identity{}, err
		}
		id.HostNames = append(id.HostNames, name)
	}
	uuid, uuidErr := text("smbios_uuid", resp.GetSmbiosUuid(), maxHint)
	serial, serialErr := text("smbios_serial", resp.GetSmbiosSerial(), maxHint)
	id.SMBIOSUUID, id.SMBIOSSerial = uuid, serial
	return id, errors.Join(uuidErr, serialErr)
}

func endorsementKey(w *agentv1.EndorsementKey) (verifier.EndorsementKey, error) {
	err := errors.Join(
		atMost("endorsement_keys.public", len(w.GetPublic()), maxPublic),
		atMost("endorsement_keys.certificate", len(w.GetCertificate()), maxCertificate),
		atMost("endorsement_keys.chain", len(w.GetChain()), maxChain),
	)
	for _, der := range w.GetChain() {
		err = errors.Join(err, atMost("endorsement_keys.chain", len(der), maxCertificate))
	}
	keySource, keyErr := text("key_source", w.GetKeySource(), maxHint)
	certSource, certErr := text("certificate_source", w.GetCertificateSource(), maxHint)
	detail, detailErr := text("detail", w.GetDetail(), maxDetail)
	if err := errors.Join(err, keyErr, certErr, detailErr); err != nil {
		return verifier.EndorsementKey{}, err
	}

	return verifier.EndorsementKey{
		Public:            w.GetPublic(),
		Certificate:       w.GetCertificate(),
		Chain:             w.GetChain(),
		KeySource:         keySource,
		CertificateSource: certSource,
		Detail:            detail,
	}, nil
}

// attestationKey leaves out the Name, which a verifier computes.
func attestationKey(w *agentv1.AttestationKey) (verifier.AttestationKey, error) {
	err := errors.Join(
		atMost("attestation_keys.public", len(w.GetPublic()), maxPublic),
		atMost("attestation_keys.creation_data", len(w.GetCreationData()), maxCreation),
		atMost("attestation_keys.certify_info", len(w.GetCertifyInfo()), maxQuoted),
		atMost("attestation_keys.certify_signature", len(w.GetCertifySignature()), maxSignature),
		atMost("attestation_keys.certificate", len(w.GetCertificate()), maxCertificate),
	)
	if err != nil {
		return verifier.AttestationKey{}, err
	}
	return verifier.AttestationKey{
		Public:           w.GetPublic(),
		CreationData:     w.GetCreationData(),
		CertifyInfo:      w.GetCertifyInfo(),
		CertifySignature: w.GetCertifySignature(),
		Certificate:      w.GetCertificate(),
		Generation:       w.GetGeneration(),
		Pending:          w.GetPending(),
	}, nil
}

// tlsKey returns an empty key for none.
func tlsKey(w *agentv1.TlsKey) (verifier.TLSKey, error) {
	err := errors.Join(
		atMost("tls_key.public", len(w.GetPublic()), maxPublic),
		atMost("tls_key.certifications", len(w.GetCertifications()), maxAKs),
	)
	key := verifier.TLSKey{Public: w.GetPublic()}
	for _, c := range w.GetCertifications() {
		err = errors.Join(
			err,
			atMost("tls_key.certifications.ak_name", len(c.GetAkName()), maxName),
			atMost("tls_key.certifications.certify_info", len(c.GetCertifyInfo()), maxQuoted),
			atMost("tls_key.certifications.certify_signature", len(c.GetCertifySignature()), maxSignature),
		)
		key.Certifications = append(key.Certifications, verifier.KeyCertification{AKName: c.GetAkName(), Info: c.GetCertifyInfo(), Signature: c.GetCertifySignature()})
	}
	if err != nil {
		return verifier.TLSKey{}, err
	}
	return key, nil
}
