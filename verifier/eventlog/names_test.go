package eventlog_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

func TestTypesHaveTheNamesOfTheirSpecification(t *testing.T) {
	t.Parallel()
	for typ, want := range map[eventlog.EventType]string{
		0x0: "EV_PREBOOT_CERT", 0x3: "EV_NO_ACTION", 0x4: "EV_SEPARATOR", 0x8: "EV_S_CRTM_VERSION", 0xD: "EV_IPL", 0x12: "EV_OMIT_BOOT_DEVICE_EVENTS",
		0x401: "EVTYPE_PCR_MAPPING", 0x402: "EVTYPE_HASH_START", 0x403: "EVTYPE_COMBINED_HASH", 0x404: "EVTYPE_MLE_HASH", 0x40A: "EVTYPE_BIOSAC_REG_DATA",
		0x40B: "EVTYPE_CPU_SCRTM_STAT", 0x40C: "EVTYPE_LCP_CONTROL_HASH", 0x40D: "EVTYPE_ELEMENTS_HASH", 0x40E: "EVTYPE_STM_HASH", 0x40F: "EVTYPE_OSSINITDATA_CAP_HASH",
		0x410: "EVTYPE_SINIT_PUBKEY_HASH", 0x411: "EVTYPE_LCP_HASH", 0x412: "EVTYPE_LCP_DETAILS_HASH", 0x413: "EVTYPE_LCP_AUTHORITIES_HASH", 0x414: "EVTYPE_NV_INFO_HASH",
		0x415: "EVTYPE_COLD_BOOT_BIOS_HASH", 0x416: "EVTYPE_KM_HASH", 0x417: "EVTYPE_BPM_HASH", 0x418: "EVTYPE_KM_INFO_HASH", 0x419: "EVTYPE_BPM_INFO_HASH", 0x41A: "EVTYPE_BOOT_POL_HASH",
		0x4FE: "EVTYPE_RANDOM_VALUE", 0x4FF: "EVTYPE_CAP_VALUE", 0x450: "EVTYPE_0x450",
		0x501: "EVTYPE_TB_MEASUREMENT", 0x502: "TXT_EVTYPE_SLAUNCH", 0x503: "TXT_EVTYPE_SLAUNCH_START", 0x504: "TXT_EVTYPE_SLAUNCH_END", 0x505: "0x00000505",
		0x80000001: "EV_EFI_VARIABLE_DRIVER_CONFIG", 0x80000003: "EV_EFI_BOOT_SERVICES_APPLICATION", 0x80000010: "EV_EFI_HCRTM_EVENT", 0x800000E0: "EV_EFI_VARIABLE_AUTHORITY",
	} {
		if got := typ.String(); got != want {
			t.Errorf("0x%x is %s, want %s", uint32(typ), got, want)
		}
	}
}

func TestEveryEventOfALaunchHasAMeaning(t *testing.T) {
	t.Parallel()
	reserved := []eventlog.EventType{eventlog.TypeCombinedHash, eventlog.TypeElementsHash, eventlog.TypeLCPHash} // not used with TPM 2.0
	for typ := eventlog.TypeHashStart; typ <= eventlog.TypeSlaunchEnd; typ++ {
		if strings.HasPrefix(typ.String(), "EVTYPE_0x") || strings.HasPrefix(typ.String(), "0x") || slices.Contains(reserved, typ) {
			continue
		}
		e := event(t, rec{17, uint32(typ), filled(0, 0, 0, s256).digests, nil})
		if got := e.Describe(); got == typ.String() || got == "" {
			t.Errorf("%s says nothing to a person", typ)
		}
	}
}

func TestFormatsAndBindingsHaveWords(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		eventlog.FormatUnknown.String():     "unknown",
		eventlog.FormatCryptoAgile.String(): "crypto-agile",
		eventlog.FormatSHA1.String():        "sha1",
		eventlog.FormatTXT.String():         "txt",
		eventlog.DataUnbound.String():       "data not bound by its digest",
		eventlog.DataDiffers.String():       "data differs from its digest",
		eventlog.DataMatches.String():       "data matches its digest",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestCertificatesAreShownByTheirSubject(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "evil\x1b[2J"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	x509GUID := []byte{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}
	list := slices.Concat(x509GUID, u32(28+16+len(cert)), u32(0), u32(16+len(cert)), guid16(), cert)
	for name, r := range map[string]rec{
		"db":        hashed(7, eventlog.TypeEFIVariableConfig, variable(guid16(), "db", list), s256),
		"authority": hashed(7, eventlog.TypeEFIVariableAuthority, variable(guid16(), "db", slices.Concat(guid16(), cert)), s256),
	} {
		e := event(t, r)
		safe(t, e)
		if got := e.Describe(); !strings.Contains(got, `certificate "CN=evil\x1b[2J"`) {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, n := range []int{1, 64, 65} {
		var shown, others int
		for _, d := range event(t, hashed(7, eventlog.TypeEFIVariableConfig, variable(guid16(), "db", bytes.Repeat(list, n)), s256)).Details() {
			switch d.Name {
			case "certificate":
				shown++
			case "other signatures":
				others, _ = strconv.Atoi(d.Value)
			}
		}
		if shown != min(n, 64) || shown+others != n {
			t.Errorf("of %d certificates %d are shown, and %d counted", n, shown, others)
		}
	}
}

// TestASubjectWithoutEndIsNotSpelledOut: crypto/x509 needs the square of the number of names for that, so that one event could keep a reader busy for a minute.
func TestASubjectWithoutEndIsNotSpelledOut(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		names, size int
		want        string
	}{
		"64 names":                {64, 1, "certificate"},
		"65 names":                {65, 1, "value"},
		"15 KiB in a few names":   {15, 1 << 10, "certificate"},
		"16 KiB and what is more": {16, 1 << 10, "value"},
	} {
		var subject pkix.RDNSequence
		for range tc.names {
			subject = append(subject, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{1, 2, 3}, Value: strings.Repeat("x", tc.size)}})
		}
		name, err := asn1.Marshal(subject)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: name}
		cert, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{}, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		e := event(t, hashed(7, eventlog.TypeEFIVariableAuthority, variable(guid16(), "db", slices.Concat(guid16(), cert)), s256))
		details := e.Details()
		if got := details[len(details)-1].Name; got != tc.want {
			t.Errorf("%s: shown as %s, want %s", what, got, tc.want)
		}
	}
}
