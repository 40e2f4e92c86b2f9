package logs_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/agent/internal/logs"
)

// manifestText is a manifest with all that one can have.
func manifestText(t testing.TB) string {
	t.Helper()

	h := fullHost(t)
	collect(t, h)

	text, err := os.ReadFile(h.path("snap/manifest.json"))
	if err != nil {
		t.Fatal(err)
	}

	return string(text)
}

func TestAManifestIsTakenOnlyAsItIsWritten(t *testing.T) {
	t.Parallel()

	good := manifestText(t)
	if _, err := logs.ParseManifest([]byte(good)); err != nil {
		t.Fatal(err)
	}

	log := func(change func(*logs.ManifestLog)) func(string) string {
		return edit(t, func(m *logs.Manifest) { change(&m.Logs[1]) })
	}
	sum := strings.Repeat("0", 64)

	for name, change := range map[string]func(string) string{
		"nothing":                  func(string) string { return "" },
		"no JSON":                  func(string) string { return "manifest" },
		"not an object":            func(string) string { return "[]\n" },
		"broken off":               func(s string) string { return s[:len(s)-3] },
		"more behind it":           func(s string) string { return s + "{}" },
		"a space more":             func(s string) string { return s + " " },
		"an unknown key":           replace(`"version": 1,`, `"version": 1, "owner": "me",`),
		"a key twice":              replace(`"version": 1,`, "\"version\": 1,\n  \"version\": 1,"),
		"a key in other letters":   replace(`"version": 1,`, `"Version": 1,`),
		"another version":          replace(`"version": 1,`, `"version": 2,`),
		"too large":                func(s string) string { return s + strings.Repeat(" ", 64<<10) },
		"no boot id":               edit(t, func(m *logs.Manifest) { m.BootID = "" }),
		"a boot id that is none":   edit(t, func(m *logs.Manifest) { m.BootID = strings.Repeat("x", 32) }),
		"too many logs":            edit(t, func(m *logs.Manifest) { m.Logs = make([]logs.ManifestLog, 17) }),
		"too many notes":           edit(t, func(m *logs.Manifest) { m.Notes = make([]string, 9) }),
		"a note that colours":      edit(t, func(m *logs.Manifest) { m.Notes = []string{"\x1b[31m"} }),
		"a long TXT detail":        edit(t, func(m *logs.Manifest) { m.TXTDetail = strings.Repeat("a", 1025) }),
		"long words":               edit(t, func(m *logs.Manifest) { m.TXT.Words[0] = strings.Repeat("a", 1025) }),
		"too many words":           edit(t, func(m *logs.Manifest) { m.TXT.Words = make([]string, 9) }),
		"a UUID that is none":      edit(t, func(m *logs.Manifest) { m.System.UUID = "../../etc" }),
		"a serial that colours":    edit(t, func(m *logs.Manifest) { m.System.Serial = "\x1b[31m" }),
		"a long serial":            edit(t, func(m *logs.Manifest) { m.System.Serial = strings.Repeat("a", 129) }),
		"a register that is none":  replace(`"0x00000000000180b1"`, `"yes"`),
		"a register in short":      replace(`"0x00000000000180b1"`, `"0x180b1"`),
		"a state that is none":     replace(`"state": "available"`, `"state": "trusted"`),
		"a state as a number":      replace(`"state": "available"`, `"state": 4`),
		"a source twice":           edit(t, func(m *logs.Manifest) { m.Logs[2] = m.Logs[1] }),
		"a source that is a path":  log(func(l *logs.ManifestLog) { l.Source = "../x" }),
		"no source":                log(func(l *logs.ManifestLog) { l.Source = "" }),
		"a long source":            log(func(l *logs.ManifestLog) { l.Source = strings.Repeat("a", 33) }),
		"a long detail":            log(func(l *logs.ManifestLog) { l.Detail = strings.Repeat("a", 1025) }),
		"a format that is none":    log(func(l *logs.ManifestLog) { l.Format = "xml" }),
		"no format":                log(func(l *logs.ManifestLog) { l.Format = "" }),
		"malformed, with a format": log(func(l *logs.ManifestLog) { l.State = logs.Malformed }),
		"absent, with bytes":       log(func(l *logs.ManifestLog) { l.State, l.Format = logs.Absent, "" }),
		"available, without bytes": log(func(l *logs.ManifestLog) { l.SHA256, l.Size, l.File = "", 0, "" }),
		"size 0":                   log(func(l *logs.ManifestLog) { l.Size = 0 }),
		"a negative size":          log(func(l *logs.ManifestLog) { l.Size = -1 }),
		"a size above all bounds":  log(func(l *logs.ManifestLog) { l.Size = logs.MaxSize + 1 }),
		"no digest":                log(func(l *logs.ManifestLog) { l.SHA256 = "" }),
		"a short digest":           log(func(l *logs.ManifestLog) { l.SHA256 = l.SHA256[:62] }),
		"a digest that is none":    log(func(l *logs.ManifestLog) { l.SHA256 = strings.Repeat("z", 64) }),
		"a digest in capitals":     log(func(l *logs.ManifestLog) { l.SHA256 = strings.ToUpper(l.SHA256) }),
		"a digest of another file": log(func(l *logs.ManifestLog) { l.SHA256 = sum }),
		"no file":                  log(func(l *logs.ManifestLog) { l.File = "" }),
		"a file elsewhere":         log(func(l *logs.ManifestLog) { l.File = "/etc/shadow" }),
		"a file above":             log(func(l *logs.ManifestLog) { l.File = "../" + l.File }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			bad := change(good)
			if bad == good {
				t.Fatal("nothing was changed")
			}

			if m, err := logs.ParseManifest([]byte(bad)); err == nil {
				t.Errorf("taken as %+v", m)
			}
		})
	}
}

func replace(old, with string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, with, 1) }
}

func edit(t *testing.T, change func(*logs.Manifest)) func(string) string {
	t.Helper()

	return func(s string) string {
		m, err := logs.ParseManifest([]byte(s))
		if err != nil {
			t.Fatal(err)
		}

		change(&m)

		text, err := json.MarshalIndent(m, "", "  ")
		if err != nil {
			t.Fatal(err)
		}

		return string(text) + "\n"
	}
}

// FuzzManifest: a manifest that is taken is, byte for byte, as it would be written.
func FuzzManifest(f *testing.F) {
	good := manifestText(f)
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, `"state": "available"`, `"state": "empty"`, 1)))
	f.Add([]byte(strings.Replace(good, ".log", "/../x.log", 1)))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := logs.ParseManifest(text)
		if err != nil {
			return
		}

		again, err := json.MarshalIndent(m, "", "  ")
		if err != nil || !bytes.Equal(append(again, '\n'), text) {
			t.Errorf("written anew as %q, %v", again, err)
		}

		for _, l := range m.Logs {
			if strings.ContainsAny(l.File, "/\x00") || strings.HasPrefix(l.File, ".") || l.Size < 0 || l.Size > logs.MaxSize {
				t.Errorf("file %q of %d bytes", l.File, l.Size)
			}
		}
	})
}
