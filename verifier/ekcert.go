package verifier

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// TPMInfo is what an EK certificate says of its TPM (EK Credential Profile, 3.2.9): for people, the EK is what counts.
type TPMInfo struct {
	// Manufacturer is the vendor's identifier as "id:" and eight hexadecimal digits, Model its part number, Firmware its version, "id:" and eight digits.
	Manufacturer string `json:"manufacturer,omitempty"`
	Model        string `json:"model,omitempty"`
	Firmware     string `json:"firmware,omitempty"`
	// Certified: the certificate leads to a root that the operator gave. Otherwise these are words that anybody could have written.
	Certified bool `json:"certified"`
}

// maxTPMText bounds each text of a TPMInfo, in bytes.
const maxTPMText = 64

// Vendor returns the four letters of the TCG Vendor ID Registry that Manufacturer stands for, such as "IFX"; Manufacturer as it is if it stands for none.
func (i TPMInfo) Vendor() string {
	raw, err := hex.DecodeString(strings.TrimPrefix(i.Manufacturer, "id:"))
	if err != nil || len(raw) != 4 {
		return i.Manufacturer
	}
	letters := strings.TrimRight(string(raw), "\x00 ")
	if letters == "" || strings.ContainsFunc(letters, func(r rune) bool { return r < '!' || r > '~' }) {
		return i.Manufacturer
	}
	return letters
}

// ekCertificate is an EK certificate that follows the profile. Nothing is said yet of who signed it.
type ekCertificate struct {
	*x509.Certificate
	tpm TPMInfo
}

// parseEKCertificate checks what TCG's EK Credential Profile for TPM Family 2.0, 3.2, demands of a certificate and what a verifier has to rely on. go-attestation's
// x509ext would do, but refuses certificates that vendors ship: without an authority key identifier, or with more than the three names.
func parseEKCertificate(der []byte) (*ekCertificate, error) {
	cert, err := parseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("the EK certificate %w", err)
	}
	if cert.PublicKey == nil {
		// Some vendors mark RSA keys as id-RSAES-OAEP.
		return nil, fmt.Errorf("the EK certificate's key is of a kind that is not understood (%s)", cert.PublicKeyAlgorithm)
	}
	if cert.IsCA {
		return nil, errors.New("the EK certificate is one of a CA")
	}
	if err := checkEKUsage(cert); err != nil {
		return nil, err
	}
	tpm, err := handleSAN(cert)
	if err != nil {
		return nil, fmt.Errorf("the EK certificate's subject alternative name: %w", err)
	}
	return &ekCertificate{Certificate: cert, tpm: tpm}, nil
}

// parseCertificate reads one certificate and nothing else.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("has %d bytes, more than %d", len(der), maxCertificate)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("does not parse: %w", err)
	}
	return cert, nil
}

// checkEKUsage: EK Credential Profile, 3.2.8 and 3.2.13: RSA keys are for keyEncipherment, ECC keys for keyAgreement, and the extended usage is tcg-kp-EKCertificate.
func checkEKUsage(cert *x509.Certificate) error {
	var want x509.KeyUsage
	switch cert.PublicKey.(type) {
	case *rsa.PublicKey:
		want = x509.KeyUsageKeyEncipherment
	case *ecdsa.PublicKey:
		want = x509.KeyUsageKeyAgreement
	}
	if cert.KeyUsage&want == 0 {
		return errors.New("the EK certificate's key usage is not that of an EK: keyEncipherment for RSA, keyAgreement for ECC")
	}
	if !slices.ContainsFunc(cert.UnknownExtKeyUsage, asn1.ObjectIdentifier{2, 23, 133, 8, 1}.Equal) {
		return errors.New("the certificate is not for an EK: its extended key usage is not tcg-kp-EKCertificate (2.23.133.8.1)")
	}
	return nil
}

// handleSAN reads the TPM's names from the subject alternative name, which crypto/x509 does not understand, and takes it off the list of critical extensions that nobody has
// looked at. Names of other kinds are ignored: no check uses them.
func handleSAN(cert *x509.Certificate) (TPMInfo, error) {
	oid := asn1.ObjectIdentifier{2, 5, 29, 17}
	at := slices.IndexFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oid) })
	if at < 0 {
		return TPMInfo{}, nil
	}

	var names []asn1.RawValue // GeneralNames: RFC 5280, 4.2.1.6
	if rest, err := asn1.Unmarshal(cert.Extensions[at].Value, &names); err != nil || len(rest) > 0 {
		return TPMInfo{}, errors.New("is no list of names")
	}
	var info TPMInfo
	for _, n := range names {
		if n.Class != asn1.ClassContextSpecific || n.Tag != 4 { // directoryName
			continue
		}
		var rdns pkix.RDNSequence
		if rest, err := asn1.Unmarshal(n.Bytes, &rdns); err != nil || len(rest) > 0 {
			return TPMInfo{}, errors.New("holds a directory name that does not parse")
		}
		info.fill(rdns)
	}
	cert.UnhandledCriticalExtensions = slices.DeleteFunc(cert.UnhandledCriticalExtensions, oid.Equal)
	return info, nil
}

// fill takes the three names of a TPM; vendors put them into one set or into three.
func (i *TPMInfo) fill(rdns pkix.RDNSequence) {
	for _, set := range rdns {
		for _, attr := range set {
			text, _ := attr.Value.(string)
			switch {
			case attr.Type.Equal(asn1.ObjectIdentifier{2, 23, 133, 2, 1}):
				i.Manufacturer = clean(text)
			case attr.Type.Equal(asn1.ObjectIdentifier{2, 23, 133, 2, 2}):
				i.Model = clean(text)
			case attr.Type.Equal(asn1.ObjectIdentifier{2, 23, 133, 2, 3}):
				i.Firmware = clean(text)
			}
		}
	}
}

// clean bounds a text that somebody else chose, and takes out what could move a terminal's cursor or start a new line.
func clean(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxTPMText)], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return '?'
	}, s)
}
