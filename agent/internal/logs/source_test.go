package logs_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/trustpool/trustpool/agent/internal/logs"
	"github.com/trustpool/trustpool/internal/reallogs"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

func TestEachSourceGivesItsLogAsItIsWithoutPadding(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.memory(1, heapOf(8, agileLog(1)))
	h.write(slaunchLog, padded(agileLog(2)))
	h.write(firmwareLog, sha1Log(300))
	h.write("copy.log", bytes.Join([][]byte{agileLog(3), bytes.Repeat([]byte{0xFF}, 99)}, nil))

	store := logs.New(logs.Options{Root: h.root, Files: []logs.File{{Name: "copy", Path: h.path("copy.log")}}})

	if diff := cmp.Diff([]string{"txt", "slaunch", "firmware", "copy"}, store.Sources()); diff != "" {
		t.Errorf("sources: %s", diff)
	}

	for name, want := range map[string][]byte{"txt": agileLog(1), "slaunch": agileLog(2), "firmware": sha1Log(300), "copy": agileLog(3)} {
		format := eventlog.FormatCryptoAgile
		if name == "firmware" {
			format = eventlog.FormatSHA1
		}

		full := logs.Snapshot{Source: name, State: logs.Available, Format: format, Size: int64(len(want)), SHA256: sha256.Sum256(want), Raw: want}
		if diff := cmp.Diff(full, byName(t, store, name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestALaunchWithOneLogABankGivesEachByItsName(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.memory(1, heapOf(7, sha1Log(100), agileLog(1), nil))
	store := logs.New(logs.Options{Root: h.root})

	if got := byName(t, store, "txt"); got.State != logs.Absent || got.Detail != "this launch left one log a bank: txt-sha1, txt-sha256, txt-sm3-256" {
		t.Errorf("txt: %+v", got)
	}

	if got := byName(t, store, "txt-sha1"); got.State != logs.Available || !bytes.Equal(got.Raw, sha1Log(100)) {
		t.Errorf("txt-sha1: %+v", got)
	}

	if got := byName(t, store, "txt-sha256"); got.State != logs.Available || !bytes.Equal(got.Raw, agileLog(1)) {
		t.Errorf("txt-sha256: %+v", got)
	}

	if got := byName(t, store, "txt-sm3-256"); got.State != logs.Empty {
		t.Errorf("txt-sm3-256: %+v", got)
	}
}

func TestAbsentEmptyMalformedAndNotPermittedAreFourAnswers(t *testing.T) {
	t.Parallel()

	broken := agileLog(2)
	broken = broken[:len(broken)-1]
	badHeap := heapOf(8, agileLog(1))
	copy(badHeap[0x2c:], []byte{7, 0, 0, 0, 0, 0, 0, 0})

	for name, tc := range map[string]struct {
		prepare func(h host)
		source  string
		state   logs.State
		detail  string
		size    int
	}{
		"no memory device":       {func(host) {}, "txt", logs.NotPermitted, "CONFIG_DEVMEM", 0},
		"memory without TXT":     {func(h host) { h.write("dev/mem", nil) }, "txt", logs.Absent, "no TXT registers", 0},
		"launch without a log":   {func(h host) { h.memory(1, heapOf(0)) }, "txt", logs.Absent, "no element of type 7 or 8", 0},
		"broken heap":            {func(h host) { h.memory(1, badHeap) }, "txt", logs.Malformed, "OsMleData", 0},
		"the same, not launched": {func(h host) { h.memory(0, badHeap) }, "txt", logs.Absent, "no measured launch in this boot", 0},
		"no heap, not launched":  {func(h host) { h.memory(0, nil) }, "txt", logs.Absent, "no TXT heap", 0},
		"the same, not known":    {func(h host) { h.memory(-1, badHeap) }, "txt", logs.Malformed, "OsMleData", 0},
		"left over log":          {func(h host) { h.memory(0, heapOf(8, agileLog(1))) }, "txt", logs.Available, "left over", len(agileLog(1))},
		"log of no bytes":        {func(h host) { h.memory(1, heapOf(8, nil)) }, "txt", logs.Empty, "logged no event", 0},
		"log of padding":         {func(h host) { h.memory(1, heapOf(8, make([]byte, 64))) }, "txt", logs.Empty, "holds no event", 0},
		"broken log in a heap":   {func(h host) { h.memory(1, heapOf(8, broken)) }, "txt", logs.Malformed, "event 2", len(broken)},
		"no Secure Launch":       {func(host) {}, "slaunch", logs.Absent, "not started by Secure Launch", 0},
		"Secure Launch, padding": {func(h host) { h.write(slaunchLog, make([]byte, 4096)) }, "slaunch", logs.Empty, "holds no event", 0},
		"Secure Launch, broken":  {func(h host) { h.write(slaunchLog, padded(append(agileLog(1), 9))) }, "slaunch", logs.Malformed, "event", len(agileLog(1)) + 778},
		"no securityfs":          {func(host) {}, "firmware", logs.Absent, "securityfs is not mounted", 0},
		"no TPM":                 {func(h host) { h.write(slaunchLog, nil) }, "firmware", logs.Absent, "no log below", 0},
		"TPM without a log":      {func(h host) { h.write("sys/kernel/security/tpm0/other", nil) }, "firmware", logs.Absent, "no log at", 0},
		"empty firmware log":     {func(h host) { h.write(firmwareLog, nil) }, "firmware", logs.Empty, "holds no event", 0},
		"broken firmware log":    {func(h host) { h.write(firmwareLog, []byte("junk")) }, "firmware", logs.Malformed, "4 bytes", 4},
		"no file":                {func(host) {}, "file", logs.Absent, "no log at", 0},
		"a directory":            {func(h host) { h.write("file/x", nil) }, "file", logs.Malformed, "not a regular file", 0},
		"a pipe":                 {func(h host) { _ = unix.Mkfifo(h.path("file"), 0o600) }, "file", logs.Malformed, "not a regular file", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			h := newHost(t)
			tc.prepare(h)

			store := logs.New(logs.Options{Root: h.root, Files: []logs.File{{Name: "file", Path: h.path("file")}}})

			got := byName(t, store, tc.source)
			if got.State != tc.state || !strings.Contains(got.Detail, tc.detail) || got.Size != int64(tc.size) || len(got.Raw) != tc.size {
				t.Errorf("state %s, %d bytes, detail %q; want %s, %d bytes, %q", got.State, got.Size, got.Detail, tc.state, tc.size, tc.detail)
			}
		})
	}
}

func TestTheFirmwareLogIsThatOfTheFirstTPM(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.write("sys/kernel/security/tpm10/binary_bios_measurements", sha1Log(100))
	h.write("sys/kernel/security/tpm2/binary_bios_measurements", sha1Log(200))
	h.write("sys/kernel/security/ima/binary_runtime_measurements", sha1Log(300))

	if got := byName(t, logs.New(logs.Options{Root: h.root}), "firmware"); got.Size != 200 {
		t.Errorf("%+v", got)
	}
}

func TestANamedFileTakesThePlaceOfTheHostsOwn(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.memory(1, heapOf(7, sha1Log(100), agileLog(1)))
	h.write("other.log", agileLog(5))

	store := logs.New(logs.Options{Root: h.root, Files: []logs.File{
		{Name: "firmware", Path: h.path("other.log")}, {Name: "txt-sha256", Path: h.path("other.log")},
	}})

	if diff := cmp.Diff([]string{"txt", "txt-sha1", "slaunch", "firmware", "txt-sha256"}, store.Sources()); diff != "" {
		t.Error(diff)
	}

	for _, name := range []string{"firmware", "txt-sha256"} {
		if got := byName(t, store, name); !bytes.Equal(got.Raw, agileLog(5)) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestWithoutARootTheHostIsLeftAlone(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.write("a.log", agileLog(1))
	collect(t, h)

	store := logs.New(logs.Options{Collected: h.path("snap"), BootID: thisBoot, Files: []logs.File{{Name: "a", Path: h.path("a.log")}}})
	if diff := cmp.Diff([]string{"a"}, store.Sources()); diff != "" {
		t.Error(diff)
	}

	if diff := cmp.Diff(logs.Host{}, store.Host()); diff != "" {
		t.Error(diff)
	}
}

func TestALogThatIsTooLargeToParseIsServedAllTheSame(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	large := sha1Log(1<<20 + 1)
	h.write("large.log", large)
	h.write("larger.log", nil)

	if err := os.Truncate(h.path("larger.log"), logs.MaxSize+1); err != nil {
		t.Fatal(err)
	}

	// In the TXT heap, where no file tells a size.
	h.memory(1, heapOf(8, large))

	store := logs.New(logs.Options{Root: h.root, Files: []logs.File{
		{Name: "large", Path: h.path("large.log")}, {Name: "larger", Path: h.path("larger.log")},
	}})

	for _, name := range []string{"large", "txt"} {
		got := byName(t, store, name)
		if got.State != logs.Malformed || got.Raw != nil || got.SHA256 != sha256.Sum256(large) || !strings.Contains(got.Detail, "more than 1048576 bytes") {
			t.Errorf("%s: state %s, detail %q", name, got.State, got.Detail)
		}

		if all := readAll(t, store, got); !bytes.Equal(all, large) {
			t.Errorf("%s: %d other bytes", name, len(all))
		}
	}

	if got := byName(t, store, "larger"); got.State != logs.Malformed || got.Size != 0 || !strings.Contains(got.Detail, "no larger log is served") {
		t.Errorf("%+v", got)
	}
}

func TestALogInTheRealHeapIsTheOneThatWasCutOutOfIt(t *testing.T) {
	t.Parallel()

	image := reallogs.Read(t, "txt/secl_txt_heap_info.bin")
	want := reallogs.Read(t, "txt/secl_txt_heap_eventlog.trimmed.bin")

	// The image's pointer counts from the heap's beginning, which the registers put at 0x1000.
	heap := image[0x1000:]
	at := bytes.Index(heap, []byte{0x4c, 0x01, 0x01, 0, 0, 0, 0, 0, 0, 0x20})
	copy(heap[at:], []byte{0x4c, 0x01, 0x01, 0x01})

	h := newHost(t)
	h.memory(1, heap)

	if got := byName(t, logs.New(logs.Options{Root: h.root}), "txt"); got.State != logs.Available || !bytes.Equal(got.Raw, want) {
		t.Errorf("state %s, %d bytes, detail %q", got.State, got.Size, got.Detail)
	}
}

func TestAFileThatTellsASizeOf0IsReadToItsEnd(t *testing.T) {
	t.Parallel()

	const path = "/proc/version" // as securityfs does

	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	if info, err := os.Stat(path); err != nil || info.Size() != 0 {
		t.Fatalf("%s tells its size: %v", path, err)
	}

	got := byName(t, logs.New(logs.Options{Files: []logs.File{{Name: "file", Path: path}}}), "file")
	if got.State != logs.Malformed || !bytes.Equal(got.Raw, want) {
		t.Errorf("%+v", got)
	}
}
