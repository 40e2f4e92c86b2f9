package eventlog

import (
	"crypto/x509"
	"fmt"
	"strconv"
	"strings"
)

// decodeVariable decodes UEFI_VARIABLE_DATA (PFP 9.2.6).
func decodeVariable(t EventType, data []byte) []Detail {
	d := decoder{rest: data}
	vendor := d.guid()
	chars, size := d.u64(), d.u64()
	if chars > uint64(len(data)) { // twice as much cannot be there, and twice as much does not overflow
		return nil
	}
	name := wide(d.take(2 * chars))
	value := d.take(size)
	if !d.ok() || len(d.rest) > 0 {
		return nil
	}

	details := []Detail{{"variable", quote(name[:min(len(name), maxText)], len(name))}, {"of", vendorName(vendor)}}
	if t == TypeEFIVariableAuthority {
		return append(details, decodeAuthority(value)...)
	}

	return append(details, decodeValue(name, value)...)
}

// vendorName names the GUIDs that matter for a boot (UEFI 2.10, 3.3 and 32.6.1; shim).
func vendorName(vendor string) string {
	switch vendor {
	case "8be4df61-93ca-11d2-aa0d-00e098032b8c":
		return "EFI_GLOBAL_VARIABLE"
	case "d719b2cb-3d3a-4596-a3bc-dad00e67656f":
		return "EFI_IMAGE_SECURITY_DATABASE"
	case "605dab50-e046-4300-abb6-3dd810dd8b23":
		return "shim"
	default:
		return vendor
	}
}

// decodeValue decodes the values of the variables that a boot is measured by.
func decodeValue(name string, value []byte) []Detail {
	switch name {
	case "SecureBoot", "SetupMode", "AuditMode", "DeployedMode":
		if len(value) == 1 && value[0] <= 1 {
			return []Detail{{"value", choose(value[0] == 1, "on", "off")}}
		}
	case "PK", "KEK", "db", "dbx", "dbt", "dbr":
		if all := signatureLists(value); all != nil {
			return all
		}
	case "BootOrder":
		if all := bootOrder(value); all != nil {
			return all
		}
	}
	if digits, ok := strings.CutPrefix(name, "Boot"); ok && len(digits) == 4 {
		if all := loadOption(value); all != nil {
			return all
		}
	}
	if len(value) == 0 {
		return []Detail{{"value", "empty"}}
	}

	return []Detail{{"value", anyText(value)}}
}

// bootOrder decodes a list of 16-bit numbers of Boot#### variables.
func bootOrder(value []byte) []Detail {
	if len(value) == 0 || len(value)%2 != 0 || len(value) > 2*maxItems {
		return nil
	}
	var order []string
	for d := (decoder{rest: value}); len(d.rest) > 0; {
		order = append(order, fmt.Sprintf("%04X", d.u16()))
	}

	return []Detail{{"order", strings.Join(order, " ")}}
}

// loadOption decodes EFI_LOAD_OPTION (UEFI 2.10, 3.1.3).
func loadOption(value []byte) []Detail {
	d := decoder{rest: value}
	d.u32() // attributes
	pathSize := d.u16()
	end := 0
	for end+1 < len(d.rest) && le16(d.rest[end:]) != 0 {
		end += 2
	}
	name := wide(d.take(uint64(end)))
	d.u16()
	path := d.take(uint64(pathSize))

	return when(d.ok(), Detail{"entry", quote(name[:min(len(name), maxText)], len(name))}, Detail{"path", devicePath(path)})
}

// signatureLists decodes EFI_SIGNATURE_LISTs (UEFI 2.10, 32.4.1): certificates by their subject, everything else by number.
func signatureLists(value []byte) []Detail {
	var all []Detail
	others := 0
	for d := (decoder{rest: value}); len(d.rest) > 0; {
		list := decoder{rest: d.rest}
		kind := list.guid()
		listSize, headSize, size := list.u32(), list.u32(), list.u32()
		if list.take(uint64(headSize)); !list.ok() || size <= 16 || uint64(listSize) < 28+uint64(headSize)+uint64(size) {
			return nil
		}
		d.take(uint64(listSize))
		if d.bad {
			return nil
		}
		others += int((listSize - 28 - headSize) / size)
		if kind == certX509 && len(all) < maxItems {
			others--
			all = append(all, decodeAuthority(list.take(uint64(size)))...)
		}
	}

	return append(all, Detail{"other signatures", strconv.Itoa(others)})
}

// certX509 is EFI_CERT_X509_GUID.
const certX509 = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072"

// maxCertificate bounds a certificate of which the subject is shown, in bytes. Those of firmware have two thousand.
const maxCertificate = 16 << 10

// decodeAuthority decodes EFI_SIGNATURE_DATA: an owner's GUID, then a certificate.
func decodeAuthority(data []byte) []Detail {
	if subject, ok := subjectOf(data[min(16, len(data)):]); ok {
		return []Detail{{"certificate", quote(subject[:min(len(subject), maxText)], len(subject))}}
	}
	if len(data) == 0 {
		return []Detail{{"value", "empty"}}
	}

	return []Detail{{"value", anyText(data)}}
}

// subjectOf returns the subject of a certificate, if that is short enough: for many names crypto/x509 needs the square of their number.
func subjectOf(der []byte) (string, bool) {
	if len(der) > maxCertificate {
		return "", false
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil || len(cert.Subject.Names) > maxItems {
		return "", false
	}

	return cert.Subject.String(), true
}
