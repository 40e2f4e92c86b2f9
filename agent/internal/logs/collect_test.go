package logs_test

import (
	"bytes"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/trustpool/trustpool/agent/internal/logs"
)

// noGroup is a group that no machine has.
const noGroup = "no-such-group-trustpool"

func collect(t testing.TB, h host) logs.Manifest {
	t.Helper()

	m, err := logs.Collect(logs.CollectOptions{Root: h.root, Output: h.path("snap"), Group: noGroup, BootID: thisBoot})
	if err != nil {
		t.Fatal(err)
	}

	return m
}

// names lists the snapshot directory.
func names(t *testing.T, h host) []string {
	t.Helper()

	entries, err := os.ReadDir(h.path("snap"))
	if err != nil {
		t.Fatal(err)
	}

	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}

	return list
}

func fullHost(t testing.TB) host {
	t.Helper()

	h := newHost(t)
	h.memory(0x180b1, heapOf(7, sha1Log(100), agileLog(1)))
	h.write(slaunchLog, padded(agileLog(2)))
	h.write(firmwareLog, sha1Log(300))
	h.write("sys/class/dmi/id/product_uuid", []byte("4C4C4544-0042-3510-8048-B4C04F4D3232\n"))
	h.write("sys/class/dmi/id/product_serial", []byte("B5HM22\n"))

	return h
}

func TestAStoreServesWhatWasCollectedAsIfItHadReadItItself(t *testing.T) {
	t.Parallel()

	h := fullHost(t)
	direct := logs.New(logs.Options{Root: h.root})
	snapshots, about := direct.Snapshots(), direct.Host()

	collect(t, h)

	for _, name := range []string{"dev", "sys"} {
		if err := os.RemoveAll(h.path(name)); err != nil {
			t.Fatal(err)
		}
	}

	// systemd tells the boot id without dashes.
	store := logs.New(logs.Options{Root: h.root, Collected: h.path("snap"), BootID: strings.ReplaceAll(thisBoot, "-", "")})

	if diff := cmp.Diff(snapshots, store.Snapshots()); diff != "" {
		t.Error(diff)
	}

	if diff := cmp.Diff(about, store.Host()); diff != "" {
		t.Error(diff)
	}

	if about.Registers == nil || about.Registers.STS != 0x180b1 || about.UUID != "4c4c4544-0042-3510-8048-b4c04f4d3232" || about.Serial != "B5HM22" {
		t.Errorf("host: %+v", about)
	}

	for _, s := range snapshots {
		if s.State == logs.Available && !bytes.Equal(readAll(t, store, s), s.Raw) {
			t.Errorf("%s: other bytes", s.Source)
		}
	}
}

func TestASnapshotOfAnotherBootIsNeverServed(t *testing.T) {
	t.Parallel()

	h := fullHost(t)
	collect(t, h)

	for _, name := range []string{"dev", "sys"} {
		if err := os.RemoveAll(h.path(name)); err != nil {
			t.Fatal(err)
		}
	}

	for name, id := range map[string]string{"another boot": otherBoot, "no boot known": "", "no boot id": "yes"} {
		store := logs.New(logs.Options{Root: h.root, Collected: h.path("snap"), BootID: id})

		for _, s := range store.Snapshots() {
			if s.State == logs.Available || s.Size != 0 || !strings.Contains(s.Detail, "snapshot of another boot: run \"trustpool-agent collect\" as root") {
				t.Errorf("%s: %+v", name, s)
			}
		}

		if about := store.Host(); about.UUID != "" || about.Registers != nil {
			t.Errorf("%s: host %+v", name, about)
		}
	}
}

func TestWithoutASnapshotOfThisBootReadableSourcesAreReadDirectly(t *testing.T) {
	t.Parallel()

	h := fullHost(t)

	for name, id := range map[string]string{"no snapshot": thisBoot, "snapshot of another boot": otherBoot} {
		store := logs.New(logs.Options{Root: h.root, Collected: h.path("snap"), BootID: id})
		if got := byName(t, store, "slaunch"); got.State != logs.Available || got.Detail != "" {
			t.Errorf("%s: %+v", name, got)
		}

		collect(t, h)
	}
}

func TestASnapshotIsForRootAndOneGroup(t *testing.T) {
	t.Parallel()

	h := fullHost(t)

	group, err := user.LookupGroupId(strconv.Itoa(os.Getegid()))
	if os.Geteuid() == 0 {
		group, err = user.LookupGroupId("1")
	}

	if err != nil {
		t.Fatal(err)
	}

	m, err := logs.Collect(logs.CollectOptions{Root: h.root, Output: h.path("snap"), Group: group.Name, BootID: thisBoot})
	if err != nil || len(m.Notes) != 0 {
		t.Fatalf("notes %q, error %v", m.Notes, err)
	}

	check := func(path string, mode os.FileMode) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}

		if gid := info.Sys().(*syscall.Stat_t).Gid; info.Mode().Perm() != mode || strconv.Itoa(int(gid)) != group.Gid {
			t.Errorf("%s: mode %o, group %d", path, info.Mode().Perm(), gid)
		}
	}

	check(h.path("snap"), 0o750)

	list := names(t, h)
	if len(list) != 5 || !slices.Contains(list, "manifest.json") {
		t.Errorf("files %v", list)
	}

	for _, name := range list {
		check(h.path("snap/"+name), 0o440)
	}
}

func TestAGroupThatIsMissingIsTold(t *testing.T) {
	t.Parallel()

	h := fullHost(t)
	if m := collect(t, h); len(m.Notes) != 1 || !strings.Contains(m.Notes[0], "group "+noGroup+" does not exist") {
		t.Errorf("notes %q", m.Notes)
	}
}

func TestASecondRunReplacesTheSnapshotAndNothingElse(t *testing.T) {
	t.Parallel()

	h := fullHost(t)
	first := collect(t, h)

	for _, name := range []string{"keep.txt", "firmware-short.log", ".new-manifest.json", ".new-firmware-0011223344556677.log", "firmware-0011223344556677.log"} {
		h.write("snap/"+name, []byte("left over"))
	}

	h.write(firmwareLog, sha1Log(400))
	second := collect(t, h)

	want := []string{"firmware-short.log", "keep.txt", "manifest.json"}
	for _, l := range second.Logs {
		if l.File != "" {
			want = append(want, l.File)
		}
	}

	slices.Sort(want)

	if diff := cmp.Diff(want, names(t, h)); diff != "" {
		t.Error(diff)
	}

	if cmp.Equal(first.Logs, second.Logs) {
		t.Error("the second snapshot is the first")
	}

	store := logs.New(logs.Options{Root: h.root, Collected: h.path("snap"), BootID: thisBoot})
	if got := byName(t, store, "firmware"); got.Size != 400 {
		t.Errorf("%+v", got)
	}
}

func TestLinksInTheSnapshotDirectoryAreNotFollowedWhenWriting(t *testing.T) {
	t.Parallel()

	h := fullHost(t)
	m := collect(t, h)
	h.write("victim", []byte("untouched"))

	for _, l := range append(m.Logs, logs.ManifestLog{File: "manifest.json"}) {
		if l.File == "" {
			continue
		}

		for _, name := range []string{l.File, ".new-" + l.File} {
			_ = os.Remove(h.path("snap/" + name))

			if err := os.Symlink(h.path("victim"), h.path("snap/"+name)); err != nil {
				t.Fatal(err)
			}
		}
	}

	collect(t, h)

	if got, err := os.ReadFile(h.path("victim")); err != nil || string(got) != "untouched" {
		t.Errorf("%q, %v", got, err)
	}

	for _, name := range names(t, h) {
		if info, err := os.Lstat(h.path("snap/" + name)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestADirectoryThatOthersControlIsRefused(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		prepare func(path string) error
		want    string
	}{
		"link":                {func(p string) error { return errorOf(os.Mkdir(p+"-real", 0o750), os.Symlink(p+"-real", p)) }, "symbolic link, which is not followed"},
		"file":                {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "not a directory"},
		"no parent":           {func(p string) error { return os.Remove(filepath.Dir(p)) }, "no such file"},
		"writable for groups": {func(p string) error { return errorOf(os.Mkdir(p, 0o750), os.Chmod(p, 0o770)) }, "others than root may write"},
		"writable for all":    {func(p string) error { return errorOf(os.Mkdir(p, 0o750), os.Chmod(p, 0o1777)) }, "others than root may write"},
		"somebody else's":     {func(p string) error { return errorOf(os.Mkdir(p, 0o750), os.Chown(p, 65534, -1)) }, "others than root may write"},
		"being written":       {lockDirectory, "being written by another collect"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if name == "somebody else's" && os.Geteuid() != 0 {
				return // only root can give a directory away
			}

			path := filepath.Join(t.TempDir(), "run", "snap")
			if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}

			if err := tc.prepare(path); err != nil {
				t.Fatal(err)
			}

			_, err := logs.Collect(logs.CollectOptions{Root: t.TempDir(), Output: path, Group: noGroup, BootID: thisBoot})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}

	return nil
}

// lockDirectory leaves it locked until the test binary ends.
func lockDirectory(path string) error {
	if err := os.Mkdir(path, 0o750); err != nil {
		return err
	}

	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)

	return errorOf(err, unix.Flock(fd, unix.LOCK_EX))
}

func TestASnapshotNeedsABootID(t *testing.T) {
	t.Parallel()

	h := newHost(t)

	if _, err := logs.Collect(logs.CollectOptions{Root: h.root, Output: h.path("snap"), Group: noGroup, BootID: "now"}); err == nil {
		t.Error("a snapshot without boot id was written")
	}

	m, err := logs.Collect(logs.CollectOptions{Root: h.root, Output: h.path("snap"), Group: noGroup})
	if err != nil || len(m.BootID) != len(thisBoot) {
		t.Errorf("boot id %q, error %v", m.BootID, err)
	}
}

func TestWhatSMBIOSSaysIsTakenOnlyIfItIsWhatItShouldBe(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	h.write("sys/class/dmi/id/product_uuid", []byte("Not Settable\n"))
	h.write("sys/class/dmi/id/product_serial", []byte("A\x1b[31m\n"))

	if m := collect(t, h); m.System != (logs.ManifestSystem{}) {
		t.Errorf("%+v", m.System)
	}

	h.write("sys/class/dmi/id/product_serial", bytes.Repeat([]byte("A"), 200))

	if m := collect(t, h); m.System != (logs.ManifestSystem{}) {
		t.Errorf("%+v", m.System)
	}
}

func TestALogThatIsTooLargeForTheDaemonIsParsedByTheCollector(t *testing.T) {
	t.Parallel()

	h := newHost(t)
	large := sha1Log(2 << 20)
	h.write(firmwareLog, large)
	collect(t, h)

	store := logs.New(logs.Options{Root: h.root, Collected: h.path("snap"), BootID: thisBoot})

	got := byName(t, store, "firmware")
	if got.State != logs.Available || got.Raw != nil || !bytes.Equal(readAll(t, store, got), large) {
		t.Errorf("%+v", got)
	}
}
