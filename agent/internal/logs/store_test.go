package logs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/agent/internal/logs"
)

const streamed = 64 << 10 // how much a caller reads at a time

// readAll reads a log as a stream does.
func readAll(t testing.TB, store *logs.Store, s logs.Snapshot) []byte {
	t.Helper()

	r, ok := store.Open(s.SHA256)
	if !ok {
		t.Fatalf("%s is not there", s.Source)
	}
	defer r.Close()

	if r.Size() != s.Size {
		t.Errorf("%s: size %d, not %d", s.Source, r.Size(), s.Size)
	}

	all, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		t.Fatal(err)
	}

	return all
}

func TestWhatWasReadIsKeptAndTheRestLookedForEveryFewSeconds(t *testing.T) {
	t.Parallel()

	h, time := newHost(t), newClock()
	h.write("a.log", agileLog(1))

	store := logs.New(logs.Options{Now: time.Now, Files: []logs.File{{Name: "a", Path: h.path("a.log")}, {Name: "b", Path: h.path("b.log")}}})
	if byName(t, store, "b").State != logs.Absent {
		t.Fatal("b is there")
	}

	h.write("a.log", agileLog(2))
	h.write("b.log", agileLog(3))

	if got := byName(t, store, "b"); got.State != logs.Absent {
		t.Errorf("b was looked for again at once: %+v", got)
	}

	time.pass()

	if got := byName(t, store, "b"); got.State != logs.Available || !bytes.Equal(got.Raw, agileLog(3)) {
		t.Errorf("b: %+v", got)
	}

	got := byName(t, store, "a")
	if !bytes.Equal(got.Raw, agileLog(1)) || !bytes.Equal(readAll(t, store, got), agileLog(1)) {
		t.Errorf("a is another one: %+v", got)
	}
}

func TestAMalformedFileIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()

	h, time := newHost(t), newClock()
	h.write("a.log", []byte("junk"))

	store := logs.New(logs.Options{Now: time.Now, Files: []logs.File{{Name: "a", Path: h.path("a.log")}}})
	first := byName(t, store, "a")

	// As long as the file looks the same, nobody reads it again.
	info, err := os.Stat(h.path("a.log"))
	if err := errorOf(err, os.WriteFile(h.path("a.log"), []byte("Junk"), 0o600), os.Chtimes(h.path("a.log"), info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}

	time.pass()

	if got := byName(t, store, "a"); got.State != logs.Malformed || got.SHA256 != first.SHA256 {
		t.Errorf("%+v", got)
	}

	h.write("a.log", agileLog(1))
	time.pass()

	if got := byName(t, store, "a"); got.State != logs.Available {
		t.Errorf("%+v", got)
	}
}

func TestASnapshotThatComesAfterTheDaemonIsTaken(t *testing.T) {
	t.Parallel()

	h, time := fullHost(t), newClock()
	hidden := h.path("hidden")

	if err := errorOf(os.Mkdir(hidden, 0o755), os.Rename(h.path("sys"), hidden+"/sys")); err != nil {
		t.Fatal(err)
	}

	store := logs.New(logs.Options{Root: h.root, Collected: h.path("snap"), BootID: thisBoot, Now: time.Now})
	if got := byName(t, store, "firmware"); got.State != logs.Absent {
		t.Fatalf("%+v", got)
	}

	if _, err := logs.Collect(logs.CollectOptions{Root: hidden, Output: h.path("snap"), Group: noGroup, BootID: thisBoot}); err != nil {
		t.Fatal(err)
	}

	time.pass()

	if got := byName(t, store, "firmware"); got.State != logs.Available {
		t.Errorf("%+v", got)
	}

	if got := store.Host(); got.Serial != "B5HM22" {
		t.Errorf("host %+v", got)
	}
}

func TestASnapshotGoesBeforeWhatTheDaemonCouldNotParse(t *testing.T) {
	t.Parallel()

	h, time := newHost(t), newClock()
	h.write(firmwareLog, sha1Log(2<<20))

	store := logs.New(logs.Options{Root: h.root, Collected: h.path("snap"), BootID: thisBoot, Now: time.Now})
	if got := byName(t, store, "firmware"); got.State != logs.Malformed || got.Size != 2<<20 {
		t.Fatalf("%+v", got)
	}

	collect(t, h)
	time.pass()

	if got := byName(t, store, "firmware"); got.State != logs.Available {
		t.Errorf("%+v", got)
	}
}

func TestADamagedSnapshotIsNotServed(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		damage func(path string) error
		want   string
	}{
		"cut off":         {func(p string) error { return os.Truncate(p, 299) }, "has 299 bytes, and 300 were written"},
		"longer":          {func(p string) error { return os.Truncate(p, 301) }, "has 301 bytes, and 300 were written"},
		"other bytes":     {func(p string) error { return os.WriteFile(p, make([]byte, 300), 0o600) }, "not what was written"},
		"gone":            {os.Remove, "no such file"},
		"a link":          {func(p string) error { return errorOf(os.Rename(p, p+".real"), os.Symlink(p+".real", p)) }, "symbolic link"},
		"a directory":     {func(p string) error { return errorOf(os.Remove(p), os.Mkdir(p, 0o755)) }, "not a regular file"},
		"no manifest":     {func(p string) error { return os.Remove(manifestBeside(p)) }, "run \"trustpool-agent collect\" as root"},
		"broken manifest": {func(p string) error { return os.WriteFile(manifestBeside(p), []byte("{}"), 0o600) }, "is not served: parsing the manifest"},
		"linked manifest": {
			func(p string) error {
				return errorOf(os.Rename(manifestBeside(p), p+".real"), os.Symlink(p+".real", manifestBeside(p)))
			}, "symbolic link",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			h := newHost(t)
			h.write(firmwareLog, sha1Log(300))

			m := collect(t, h)
			file := h.path("snap/" + m.Logs[len(m.Logs)-1].File)

			if err := errorOf(os.Chmod(h.path(firmwareLog), 0), os.RemoveAll(h.path("sys")), os.Chmod(file, 0o600), os.Chmod(manifestBeside(file), 0o600), tc.damage(file)); err != nil {
				t.Fatal(err)
			}

			store := logs.New(logs.Options{Root: h.root, Collected: h.path("snap"), BootID: thisBoot})

			var details []string

			for _, s := range store.Snapshots() {
				details = append(details, s.Detail)

				if s.Size != 0 || s.State == logs.Available {
					t.Errorf("%+v", s)
				}
			}

			if all := strings.Join(details, "\n"); !strings.Contains(all, tc.want) {
				t.Errorf("%s\nhas no %q", all, tc.want)
			}
		})
	}
}

func manifestBeside(path string) string {
	return path[:strings.LastIndexByte(path, '/')] + "/manifest.json"
}

func TestALogIsOpenedByItsDigestAlone(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.write("a.log", agileLog(1))
	store := logs.New(logs.Options{Files: []logs.File{{Name: "a", Path: h.path("a.log")}, {Name: "b", Path: h.path("b.log")}}})

	for _, sum := range [][sha256.Size]byte{{}, sha256.Sum256(nil), sha256.Sum256(agileLog(1))} {
		if _, ok := store.Open(sum); ok {
			t.Errorf("%x was opened before anything was read", sum)
		}
	}

	store.Snapshots()

	for _, sum := range [][sha256.Size]byte{{}, sha256.Sum256(nil)} {
		if _, ok := store.Open(sum); ok {
			t.Errorf("%x was opened", sum)
		}
	}
}

// largeLog makes a store with one log of a file that is not kept in memory.
func largeLog(t *testing.T) (h host, store *logs.Store, snapshot logs.Snapshot, now *clock) {
	t.Helper()

	h, now = newHost(t), newClock()
	h.write("a.log", sha1Log(3*streamed))

	store = logs.New(logs.Options{Now: now.Now, Files: []logs.File{{Name: "a", Path: h.path("a.log")}}})

	return h, store, byName(t, store, "a"), now
}

func TestALogThatChangesWhileItIsStreamedIsNeverWhole(t *testing.T) {
	t.Parallel()

	overwrite := func(path string) error {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}

		_, err = file.WriteAt([]byte{99}, 2*streamed+7)

		return errorOf(err, file.Close())
	}

	for name, change := range map[string]func(path string) error{
		"cut off":     func(p string) error { return os.Truncate(p, 2*streamed) },
		"longer":      func(p string) error { return os.Truncate(p, 4*streamed) },
		"overwritten": overwrite,
		"overwritten, and its time set back": func(p string) error {
			info, err := os.Stat(p)

			return errorOf(err, overwrite(p), os.Chtimes(p, time.Time{}, info.ModTime()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			h, store, snapshot, _ := largeLog(t)

			r, ok := store.Open(snapshot.SHA256)
			if !ok {
				t.Fatal("the log is not there")
			}
			defer r.Close()

			chunk := make([]byte, streamed)
			if _, err := r.ReadAt(chunk, 0); err != nil {
				t.Fatal(err)
			}

			if err := change(h.path("a.log")); err != nil {
				t.Fatal(err)
			}

			var err error
			for off := int64(streamed); off < r.Size() && err == nil; off += streamed {
				_, err = r.ReadAt(chunk, off)
			}

			if !errors.Is(err, logs.ErrChanged) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestALogThatWasReplacedIsReadAnew(t *testing.T) {
	t.Parallel()

	h, store, old, _ := largeLog(t)

	under, ok := store.Open(old.SHA256)
	if !ok {
		t.Fatal("the log is not there")
	}
	defer under.Close()

	h.write("b.log", sha1Log(4*streamed))

	if err := os.Rename(h.path("b.log"), h.path("a.log")); err != nil {
		t.Fatal(err)
	}

	if _, ok := store.Open(old.SHA256); ok {
		t.Error("the old log was opened")
	}

	got := byName(t, store, "a")
	if got.Size != 4*streamed || !bytes.Equal(readAll(t, store, got), sha1Log(4*streamed)) {
		t.Errorf("%+v", got)
	}

	// Who reads the old one has it still.
	if all, err := io.ReadAll(io.NewSectionReader(under, 0, under.Size())); err != nil || !bytes.Equal(all, sha1Log(3*streamed)) {
		t.Errorf("%d bytes, %v", len(all), err)
	}
}

func TestALogIsReadFromAnyOffset(t *testing.T) {
	t.Parallel()

	_, store, snapshot, _ := largeLog(t)

	r, ok := store.Open(snapshot.SHA256)
	if !ok {
		t.Fatal("the log is not there")
	}
	defer r.Close()

	want := sha1Log(3 * streamed)
	b := make([]byte, 100)

	for _, off := range []int64{5, 3*streamed - 100, 0, 2 * streamed} {
		if n, err := r.ReadAt(b, off); n != 100 || err != nil || !bytes.Equal(b, want[off:off+100]) {
			t.Errorf("at %d: %d bytes, %v", off, n, err)
		}
	}

	if n, err := r.ReadAt(b, 3*streamed-7); n != 7 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d bytes, %v", n, err)
	}

	for _, off := range []int64{-1, 3*streamed + 1} {
		if n, err := r.ReadAt(b, off); n != 0 || err == nil || errors.Is(err, io.EOF) {
			t.Errorf("at %d: %d bytes, %v", off, n, err)
		}
	}
}

// allocated tells how much memory f took in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats

	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)

	return after.TotalAlloc - before.TotalAlloc
}

// The next two are not parallel: they count what the whole process allocates.

func TestALogOf16MiBGoesThroughInChunks(t *testing.T) { //nolint:paralleltest // see above
	h := newHost(t)
	h.write("a.log", sha1Log(logs.MaxSize))
	h.write(firmwareLog, sha1Log(logs.MaxSize-1000))
	collect(t, h)

	const few = 8 * streamed

	store := logs.New(logs.Options{
		Root: h.root, Collected: h.path("snap"), BootID: thisBoot, Files: []logs.File{{Name: "a", Path: h.path("a.log")}},
	})
	if spent := allocated(func() { store.Snapshots() }); spent > few {
		t.Errorf("%d bytes allocated to look at the logs", spent)
	}

	for _, name := range []string{"a", "firmware"} {
		snapshot := byName(t, store, name)
		chunk := make([]byte, streamed)
		whole := sha256.New()

		spent := allocated(func() {
			r, ok := store.Open(snapshot.SHA256)
			if !ok {
				t.Fatal("the log is not there")
			}
			defer r.Close()

			for off := int64(0); off < r.Size(); off += streamed {
				n, err := r.ReadAt(chunk, off)
				if err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}

				whole.Write(chunk[:n])
			}
		})
		if spent > few {
			t.Errorf("%s: %d bytes allocated to stream it", name, spent)
		}

		if [sha256.Size]byte(whole.Sum(nil)) != snapshot.SHA256 {
			t.Errorf("%s: other bytes", name)
		}
	}
}

func TestAHostileHeapOf1MiBCostsAFewMiB(t *testing.T) { //nolint:paralleltest // see above
	h := newHost(t)

	// Records that say more than is there, after as many as fit.
	log := sha1Log(1 << 20)
	log[len(log)-1] ^= 0xFF
	h.memory(1, heapOf(8, append(log, 1)))

	store := logs.New(logs.Options{Root: h.root})
	if spent := allocated(func() { store.Snapshots() }); spent > 6<<20 {
		t.Errorf("%d bytes allocated", spent)
	}
}
