package verifier

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/internal/strictjson"
)

const maxKnownGoodSize = 16 << 20

// ParseKnownGood reads a known-good file. It takes nothing that it does not know, and its error tells all problems at once, one a line, each as
// "path.to.key: what is wrong, what to write". Lists may be empty: such a KnownGood trusts nothing, or nothing of that kind.
func ParseKnownGood(raw []byte) (KnownGood, error) {
	file, err := strictjson.Decode(raw, maxKnownGoodSize)
	if err != nil {
		return KnownGood{}, fmt.Errorf("reading known-good values: %w", err)
	}

	if format := file.String("format"); format != "" && format != KnownGoodFormat {
		file.Problem("format", "is another format, write %q", KnownGoodFormat)
	}
	var k KnownGood
	for _, o := range file.Objects("ak") {
		k.AKs = append(k.AKs, parseAKPin(o))
	}
	seen := make(map[pcr]bool)
	for _, o := range file.Objects("pcrs") {
		entry := parseKnownPCR(o)
		if at := (pcr{entry.Bank, entry.PCR}); seen[at] {
			o.Problem("pcr", "is the second entry of %s, merge it into the first", at)
		} else {
			seen[at] = true
		}
		k.PCRs = append(k.PCRs, entry)
	}
	file.Done()
	if err := file.Err(); err != nil {
		return KnownGood{}, fmt.Errorf("reading known-good values: %w", err)
	}
	return k, nil
}

func parseAKPin(o *strictjson.Object) AKPin {
	pin := AKPin{Binding: EKBinding(o.String("ek_binding"))}
	if pin.Binding != "" && pin.Binding != BindingFirstUse {
		o.Problem("ek_binding", "is unknown, write %q", BindingFirstUse)
	}
	if o.Has("spki") {
		pin.SPKI = parsePinnedKey(o)
	} else {
		pin.Name, pin.Public = parsePinnedArea(o)
	}
	o.Done()
	return pin
}

// parsePinnedKey reads a pin of the key alone.
func parsePinnedKey(o *strictjson.Object) Hex {
	if o.Has("public") || o.Has("name") {
		o.Problem("spki", "stands beside name or public, write either name and public or spki")
	}
	text := o.String("spki")
	spki, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		o.Problem("spki", "is not base64, write the SubjectPublicKeyInfo so, which is what a PEM file has between its first and last line")
	} else if key, err := parseSPKI(spki); text != "" && err != nil {
		o.Problem("spki", "is not a SubjectPublicKeyInfo: %v", err)
	} else if err == nil {
		if _, err := key.signingKey(); err != nil {
			o.Problem("spki", "is of no use: %v", err)
		}
	}
	return spki
}

// parsePinnedArea reads a pin of a whole public area.
func parsePinnedArea(o *strictjson.Object) (name, area Hex) {
	name = parseHex(o, "name", o.String("name"))
	text := o.String("public")
	public, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		o.Problem("public", "is not base64, write the TPMT_PUBLIC so")
	} else if ak, err := parseAK(public); err != nil && text != "" {
		o.Problem("public", "is not a TPMT_PUBLIC without a size prefix: %v", err)
	} else if err == nil && subtle.ConstantTimeCompare(ak.name, name) == 0 {
		o.Problem("name", "is not the Name of public, write %x", ak.name)
	}
	return name, public
}

func parseKnownPCR(o *strictjson.Object) KnownPCR {
	entry := KnownPCR{PCR: o.Int("pcr", numPCRs-1)}
	if name := o.String("bank"); name != "" {
		bank, err := parseBank(name)
		if err != nil {
			o.Problem("bank", "%v", err)
		}
		entry.Bank = bank
	}

	if o.Has("values") == o.Has("events") {
		o.Problem("values", "write either values or events")
	}
	if o.Has("values") {
		entry.Values = parseDigests(o, "values", entry.Bank)
	}
	if o.Has("events") && !entry.startsKnown() {
		o.Problem("events", "can't tell PCR %d, which begins with the locality of TPM2_Startup: write values", entry.PCR)
	}
	if o.Has("events") {
		entry.Events = parseSlots(o, entry.Bank)
	}
	o.Done()
	return entry
}

func parseBank(name string) (eventlog.Alg, error) {
	bank, err := eventlog.ParseAlg(name)
	if err != nil {
		return 0, err
	}
	if err := trustworthy(bank); err != nil {
		return 0, err
	}
	return bank, nil
}

// trustworthy refuses banks whose values prove nothing or can't be replayed.
func trustworthy(bank eventlog.Alg) error {
	switch bank {
	case eventlog.AlgSHA256, eventlog.AlgSHA384, eventlog.AlgSHA512:
		return nil
	default:
		return fmt.Errorf("a bank of %s can't be trusted, write sha256, sha384 or sha512", bank)
	}
}

func parseSlots(o *strictjson.Object, bank eventlog.Alg) []Slot {
	objects := o.Objects("events")
	if len(objects) == 0 {
		o.Problem("events", "is empty, write one entry per event, or values instead")
	}
	slots := make([]Slot, 0, len(objects))
	for _, event := range objects {
		slots = append(slots, Slot{
			Type:        parseEventType(event),
			Description: event.OptionalString("description"),
			Digests:     parseDigests(event, "digests", bank),
		})
		event.Done()
	}
	return slots
}

func parseEventType(o *strictjson.Object) eventlog.EventType {
	text := o.String("type")
	digits, isHex := strings.CutPrefix(text, "0x")
	typ, err := strconv.ParseUint(digits, 16, 32)
	if text != "" && (err != nil || !isHex) {
		o.Problem("type", `is no event type, write its number such as "0x00000402"`)
	}
	return eventlog.EventType(typ)
}

func parseDigests(o *strictjson.Object, key string, bank eventlog.Alg) []Hex {
	texts := o.Strings(key)
	if len(texts) == 0 {
		o.Problem(key, "is empty, write at least one digest")
	}
	digests := make([]Hex, 0, len(texts))
	for i, text := range texts {
		at := key + "[" + strconv.Itoa(i) + "]"
		digest := parseHex(o, at, text)
		if digest != nil && bank != 0 && len(digest) != bank.Size() {
			o.Problem(at, "has %d bytes, write the %d of a %s digest", len(digest), bank.Size(), bank)
		}
		digests = append(digests, digest)
	}
	return digests
}

// parseHex reads hexadecimal digits; nil if they are none, which it reports.
func parseHex(o *strictjson.Object, at, text string) Hex {
	raw, err := hex.DecodeString(text)
	if err != nil || (text == "" && strings.HasSuffix(at, "]")) {
		o.Problem(at, "is not an even number of hexadecimal digits, write nothing else")
		return nil
	}
	return raw
}
