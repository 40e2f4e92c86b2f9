package verifier

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/verifier/internal/strictjson"
)

const (
	maxNodeRecordSize = 64 << 10
	maxAddress        = 512
	maxIssuer         = 1024
)

// ParseNodeRecord reads a node record. It takes nothing that it does not know, and its error tells all problems at once, one a line, each as "path.to.key: what is wrong, what to write".
func ParseNodeRecord(raw []byte) (NodeRecord, error) {
	file, err := strictjson.Decode(raw, maxNodeRecordSize)
	if err != nil {
		return NodeRecord{}, fmt.Errorf("reading a node record: %w", err)
	}
	if format := file.String("format"); format != "" && format != NodeRecordFormat {
		file.Problem("format", "is another format, write %q", NodeRecordFormat)
	}
	r := NodeRecord{Name: file.String("name"), Address: file.String("address"), Binding: EKBinding(file.String("ek_binding"))}
	if r.Name != "" && checkNodeName(r.Name) != nil {
		file.Problem("name", "is no name of a node, write its host name in lower case")
	}
	if len(r.Address) > maxAddress {
		file.Problem("address", "has %d bytes, more than %d", len(r.Address), maxAddress)
	}
	if r.Binding != "" && !r.Binding.known() {
		file.Problem("ek_binding", "is unknown, write %q, %q or %q", BindingInventory, BindingChain, BindingFirstUse)
	}
	r.EnrolledAt = parseTime(file, "enrolled_at")
	r.EK = parseEKRecord(file)
	r.AKs = parseAKRecords(file)
	switch tlsKey := file.OptionalString("tls_key"); tlsKey {
	case tlsKeyTPM:
		r.TPMTLSKey = true
	case "", tlsKeyNone:
	default:
		file.Problem("tls_key", "is unknown, write %q or %q", tlsKeyTPM, tlsKeyNone)
	}
	r.TPM = parseTPMInfo(file)
	file.Done()
	if err := file.Err(); err != nil {
		return NodeRecord{}, fmt.Errorf("reading a node record: %w", err)
	}
	return r, nil
}

// parseTime reads a time in UTC, to the second.
func parseTime(o *strictjson.Object, key string) time.Time {
	text := o.String(key)
	t, err := time.Parse(time.RFC3339, text)
	if text != "" && (err != nil || t.UTC().Format(time.RFC3339) != text) {
		o.Problem(key, "is no time, write it in UTC such as %q", "2026-11-23T06:51:12Z")
	}
	return t
}

func parseEKRecord(file *strictjson.Object) EKRecord {
	o := file.Object("ek")
	if o == nil {
		return EKRecord{}
	}
	defer o.Done()

	r := EKRecord{Name: parseHex(o, "name", o.String("name")), Public: parseBase64(o, "public", o.String("public")), CertificateIssuer: o.OptionalString("certificate_issuer")}
	if key, err := parseEK(r.Public); err != nil {
		o.Problem("public", "is not the TPMT_PUBLIC of an EK: %v", err)
	} else if subtle.ConstantTimeCompare(key.name, r.Name) == 0 {
		o.Problem("name", "is not the Name of public, write %x", key.name)
	}

	serial := o.OptionalString("certificate_serial")
	if (serial == "") != (r.CertificateIssuer == "") {
		o.Problem("certificate_serial", "goes together with certificate_issuer, write both or none")
	}
	if len(r.CertificateIssuer) > maxIssuer {
		o.Problem("certificate_issuer", "has %d bytes, more than %d", len(r.CertificateIssuer), maxIssuer)
	}
	if serial != "" {
		n, err := parseSerial(serial)
		if err != nil {
			o.Problem("certificate_serial", "%v", err)
		}
		r.CertificateSerial = n
	}
	return r
}

func parseAKRecords(file *strictjson.Object) []AKRecord {
	keys := file.Objects("ak")
	if len(keys) == 0 || len(keys) > maxAKs {
		file.Problem("ak", "has %d entries, write one, or two while a rotation is under way", len(keys))
		return nil
	}

	records := make([]AKRecord, 0, len(keys))
	for _, o := range keys {
		r := AKRecord{Name: parseHex(o, "name", o.String("name")), Public: parseBase64(o, "public", o.String("public"))}
		if key, err := parseAK(r.Public); err != nil {
			o.Problem("public", "is not the TPMT_PUBLIC of an AK: %v", err)
		} else if subtle.ConstantTimeCompare(key.name, r.Name) == 0 {
			o.Problem("name", "is not the Name of public, write %x", key.name)
		}
		if o.Has("certificate") {
			r.Certificate = parseBase64(o, "certificate", o.String("certificate"))
		}
		if len(r.Certificate) > maxCertificate {
			o.Problem("certificate", "has %d bytes, more than %d", len(r.Certificate), maxCertificate)
		}
		o.Done()
		records = append(records, r)
	}
	return records
}

func parseBase64(o *strictjson.Object, key, text string) Hex {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		o.Problem(key, "is not base64")
	}
	return raw
}

func parseTPMInfo(file *strictjson.Object) TPMInfo {
	o := file.Object("tpm")
	if o == nil {
		return TPMInfo{}
	}
	defer o.Done()

	info := TPMInfo{Manufacturer: o.OptionalString("manufacturer"), Model: o.OptionalString("model"), Firmware: o.OptionalString("firmware"), Certified: o.OptionalBool("certified")}
	for key, value := range map[string]string{"manufacturer": info.Manufacturer, "model": info.Model, "firmware": info.Firmware} {
		if clean(value) != value {
			o.Problem(key, "is too long or not printable")
		}
	}
	return info
}
