package logs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trustpool/trustpool/agent/internal/txt"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Names and bounds of a snapshot directory.
const (
	manifestFile    = "manifest.json"
	manifestVersion = 1

	// maxManifest bounds the manifest, in bytes, maxDetail each of its sentences, maxLogs and maxNotes its lists.
	maxManifest = 64 << 10
	maxDetail   = 1 << 10
	maxLogs     = 16
	maxNotes    = 8
)

// Manifest says what a snapshot holds. It is manifest.json of the snapshot directory, and the last file that is written there.
type Manifest struct {
	// Version is 1.
	Version int `json:"version"`
	// BootID is the kernel's boot id: a snapshot is good for this boot alone.
	BootID string `json:"boot_id"`
	// CollectedAt is when the snapshot was made, in UTC.
	CollectedAt time.Time `json:"collected_at"`
	// Logs has an entry for each source.
	Logs []ManifestLog `json:"logs"`
	// TXT is absent where there are no registers, or where they can't be read; TXTDetail says which, NoTXT that there are none.
	TXT       *ManifestTXT `json:"txt,omitempty"`
	TXTDetail string       `json:"txt_detail,omitempty"`
	NoTXT     bool         `json:"no_txt,omitempty"`
	// System is what SMBIOS says.
	System ManifestSystem `json:"system"`
	// Notes say what else an operator has to know.
	Notes []string `json:"notes,omitempty"`
}

// ManifestLog is one source's answer.
type ManifestLog struct {
	Source string `json:"source"`
	State  State  `json:"state"`
	// Detail says for people why the state is not available, and what to do.
	Detail string `json:"detail,omitempty"`
	// Format is the name that eventlog gives to it.
	Format string `json:"format,omitempty"`
	// SHA256 is in hexadecimal, Size in bytes, File a name in the snapshot directory. All three are absent if there are no bytes.
	SHA256 string `json:"sha256,omitempty"`
	Size   int64  `json:"size,omitempty"`
	File   string `json:"file,omitempty"`
}

// ManifestTXT is the TXT registers, as they are ("0x00000000000180b1") and in words, one line a register.
type ManifestTXT struct {
	STS       Register `json:"sts"`
	ESTS      Register `json:"ests"`
	ErrorCode Register `json:"errorcode"`
	E2STS     Register `json:"e2sts"`
	DIDVID    Register `json:"didvid"`
	Words     []string `json:"words"`
}

// ManifestSystem is what SMBIOS says of the machine.
type ManifestSystem struct {
	UUID          string `json:"uuid,omitempty"`
	Serial        string `json:"serial,omitempty"`
	Manufacturer  string `json:"manufacturer,omitempty"`
	Product       string `json:"product,omitempty"`
	ChassisSerial string `json:"chassis_serial,omitempty"`
}

// Register is a register of 64 bits. Its text is hexadecimal, since JSON's numbers lose bits in many a reader.
type Register uint64

// MarshalText implements encoding.TextMarshaler.
func (r Register) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%#016x", uint64(r)), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Register) UnmarshalText(text []byte) error {
	value, err := strconv.ParseUint(strings.TrimPrefix(string(text), "0x"), 16, 64)
	*r = Register(value)

	return err
}

// ParseManifest reads a manifest. Only what Collect could have written passes, byte for byte: no other key, order or space.
func ParseManifest(text []byte) (Manifest, error) {
	var m Manifest

	if len(text) > maxManifest {
		return Manifest{}, fmt.Errorf("parsing the manifest: it has more than %d bytes", maxManifest)
	}

	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()

	if err := decoder.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("parsing the manifest: %w", err)
	}

	if err := m.validate(); err != nil {
		return Manifest{}, fmt.Errorf("parsing the manifest: %w", err)
	}

	if again, err := m.marshal(); err != nil || !bytes.Equal(again, text) {
		return Manifest{}, errors.New("parsing the manifest: it is not as trustpool-agent collect writes it")
	}

	return m, nil
}

func (m Manifest) marshal() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")

	return append(text, '\n'), err
}

func (m Manifest) validate() error {
	if m.Version != manifestVersion {
		return fmt.Errorf("version %d, not %d", m.Version, manifestVersion)
	}

	if normalBootID(m.BootID) == "" {
		return fmt.Errorf("boot id %q is none", m.BootID)
	}

	if len(m.Logs) > maxLogs || len(m.Notes) > maxNotes {
		return fmt.Errorf("%d logs and %d notes: at most %d and %d are possible", len(m.Logs), len(m.Notes), maxLogs, maxNotes)
	}

	for i, l := range m.Logs {
		if err := l.validate(); err != nil {
			return fmt.Errorf("log %d: %w", i, err)
		}

		if slices.ContainsFunc(m.Logs[:i], func(other ManifestLog) bool { return other.Source == l.Source }) {
			return fmt.Errorf("log %d: %s is there already", i, l.Source)
		}
	}

	if !isText(m.Notes...) || !isText(m.TXTDetail) || m.TXT != nil && (len(m.TXT.Words) > maxNotes || !isText(m.TXT.Words...)) {
		return errors.New("text is too long, or not printable")
	}

	return m.System.validate()
}

func (s ManifestSystem) validate() error {
	if s.UUID != "" && !isUUID(s.UUID) {
		return errors.New("system: uuid is none")
	}

	for _, text := range []string{s.Serial, s.Manufacturer, s.Product, s.ChassisSerial} {
		if !isSerial(text) {
			return errors.New("system: text is too long, or not printable")
		}
	}

	return nil
}

func (l ManifestLog) validate() error {
	if !isSourceName(l.Source) {
		return fmt.Errorf("source %q is not a name", l.Source)
	}

	if !isText(l.Detail) {
		return errors.New("detail is too long, or not printable")
	}

	format, known := parseFormat(l.Format)
	if !known || (format != eventlog.FormatUnknown) != (l.State == Available) {
		return fmt.Errorf("format %q of a log that is %s", l.Format, l.State)
	}

	if l.File == "" && l.SHA256 == "" && l.Size == 0 && l.State != Available {
		return nil
	}

	sum, err := l.sum()
	if err != nil {
		return err
	}

	if l.State != Available && l.State != Malformed {
		return fmt.Errorf("%s has bytes", l.State)
	}

	if l.Size < 1 || l.Size > MaxSize {
		return fmt.Errorf("size %d is out of range", l.Size)
	}

	if want := logFile(l.Source, sum); l.File != want {
		return fmt.Errorf("file %q, not %s", l.File, want)
	}

	return nil
}

// sum decodes the digest.
func (l ManifestLog) sum() (sum [sha256.Size]byte, err error) {
	n := 0
	if len(l.SHA256) == 2*len(sum) {
		n, err = hex.Decode(sum[:], []byte(l.SHA256))
	}

	if err != nil || n != len(sum) || strings.ToLower(l.SHA256) != l.SHA256 {
		return sum, fmt.Errorf("digest %q is none", l.SHA256)
	}

	return sum, nil
}

// logFile names a log's file after its content, so that a new snapshot leaves the files of the one before alone until its manifest is in place.
func logFile(source string, sum [sha256.Size]byte) string {
	return source + "-" + hex.EncodeToString(sum[:8]) + ".log"
}

// isLogFile recognises what logFile gives.
func isLogFile(name string) bool {
	stem, found := strings.CutSuffix(name, ".log")
	i := strings.LastIndexByte(stem, '-')

	return found && i > 0 && isSourceName(stem[:i]) && len(stem)-i-1 == 16 && strings.Trim(stem[i+1:], "0123456789abcdef") == ""
}

// parseFormat reads what Format.String writes; empty is unknown.
func parseFormat(s string) (eventlog.Format, bool) {
	if s == "" {
		return eventlog.FormatUnknown, true
	}

	for _, f := range []eventlog.Format{eventlog.FormatCryptoAgile, eventlog.FormatSHA1, eventlog.FormatTXT} {
		if f.String() == s {
			return f, true
		}
	}

	return eventlog.FormatUnknown, false
}

// normalBootID brings a boot id into one form: the kernel writes dashes, systemd (%b) does not. Empty: it is none.
func normalBootID(s string) string {
	s = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), "-", ""))
	if len(s) != 32 || strings.Trim(s, "0123456789abcdef") != "" {
		return ""
	}

	return s
}

func isSourceName(s string) bool {
	isAllowed := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }

	return len(s) >= 1 && len(s) <= 32 && !strings.ContainsFunc(s, func(r rune) bool { return !isAllowed(r) })
}

// isText tells whether these are sentences for people.
func isText(texts ...string) bool {
	return !slices.ContainsFunc(texts, func(s string) bool { return len(s) > maxDetail || !isPrintable(s) })
}

// plain makes a sentence one that isText takes. Errors may carry bytes of what was read.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}

		return r
	}, s)

	return s[:min(len(s), maxDetail)]
}

func (m Manifest) host() Host {
	h := Host{
		RegistersDetail: m.TXTDetail, NoRegisters: m.NoTXT, UUID: m.System.UUID, Serial: m.System.Serial,
		Manufacturer: m.System.Manufacturer, Product: m.System.Product, ChassisSerial: m.System.ChassisSerial,
	}
	if t := m.TXT; t != nil {
		h.Registers = &txt.Registers{
			STS: uint64(t.STS), ESTS: uint64(t.ESTS), ErrorCode: uint64(t.ErrorCode), E2STS: uint64(t.E2STS), DIDVID: uint64(t.DIDVID),
		}
	}

	return h
}
