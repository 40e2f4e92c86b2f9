package logs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// CollectOptions say what to collect and where to.
type CollectOptions struct {
	// Root stands for "/": logs and SMBIOS tables are looked for below it.
	Root string
	// Output is the snapshot directory. It is made if it is not there, for its owner and Group only. An existing one must belong to root or to this
	// process's user, and nobody else may write to it; its mode is left as it is, unless it is of root's group.
	Output string
	// Group may read the snapshot. A group that does not exist is told in Manifest.Notes.
	Group string
	// BootID is this boot's id. Empty: the running kernel's.
	BootID string
}

// Collect reads all of the host's own sources and leaves a snapshot of them in a directory, in place of the one that was there: a reader sees the old one or
// the new one, whole. What a source could not give is in the manifest; an error means that there is no snapshot.
func Collect(o CollectOptions) (Manifest, error) {
	bootID, err := currentBootID(o.BootID)
	if err != nil {
		return Manifest{}, err
	}

	d, isNew, err := makeDirectory(o.Output)
	if err != nil {
		return Manifest{}, fmt.Errorf("opening the snapshot directory: %w", err)
	}
	defer func() { _ = d.Close() }() // nothing is written through it

	gid, note := groupFor(d, isNew, o.Group)

	m := Manifest{Version: manifestVersion, BootID: bootID, CollectedAt: time.Now().UTC().Truncate(time.Second)}
	if note != "" {
		m.Notes = append(m.Notes, plain(note))
	}

	m.setHost(readHost(o.Root))

	for _, s := range hostSources(o.Root) {
		for _, e := range s.read(bounds{parse: MaxSize, keep: MaxSize}) {
			if err := m.add(d, e, gid); err != nil {
				return Manifest{}, fmt.Errorf("writing the snapshot of %s: %w", e.Source, err)
			}
		}
	}

	if err := m.finish(d, gid); err != nil {
		return Manifest{}, fmt.Errorf("writing the manifest: %w", err)
	}

	return m, nil
}

// currentBootID returns the boot id that the snapshot is good for.
func currentBootID(id string) (string, error) {
	if id == "" {
		text, err := readShort("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return "", fmt.Errorf("reading the boot id, without which no snapshot would be served: %w", err)
		}

		id = text
	}

	if normalBootID(id) == "" {
		return "", fmt.Errorf("boot id %q is none; it has 32 hexadecimal digits", id)
	}

	return id, nil
}

// makeDirectory opens the snapshot directory for writing, by one process at a time. Whether it was made tells isNew.
func makeDirectory(path string) (d directory, isNew bool, err error) {
	err = os.Mkdir(path, 0o750)
	isNew = err == nil

	if err != nil && !errors.Is(err, fs.ErrExist) {
		return directory{}, false, err
	}

	if d, err = openDirectory(path); err != nil {
		return directory{}, false, err
	}

	err = d.checkOwner()
	if err == nil {
		if err = unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%s is being written by another collect", path)
		}
	}

	if err != nil {
		return directory{}, false, errors.Join(err, d.Close())
	}

	return d, isNew, nil
}

// checkOwner refuses a directory in which others could exchange files.
func (d directory) checkOwner() error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &stat); err != nil {
		return err
	}

	if stat.Uid != 0 && int64(stat.Uid) != int64(os.Geteuid()) || stat.Mode&0o022 != 0 {
		return fmt.Errorf("others than root may write to %s (owner %d, mode %#o); give it to root with mode 0750", d.Name(), stat.Uid, stat.Mode&0o7777)
	}

	return nil
}

// groupFor looks up who may read the snapshot, and gives them a new directory. A negative gid leaves groups as they are, for the reason in note.
func groupFor(d directory, isNew bool, name string) (gid int, note string) {
	group, err := user.LookupGroup(name)
	if err != nil {
		return -1, fmt.Sprintf("group %s does not exist, so only root can read the snapshot; install the package's sysusers file, or run groupadd --system %s", name, name)
	}

	gid, err = strconv.Atoi(group.Gid)
	if err == nil {
		err = d.tryGroup(gid)
	}

	if err == nil && (isNew || d.isOfGroup(0)) { // the second: made when the group did not exist yet
		err = share(d.File, gid, 0o750)
	}

	if err != nil {
		return -1, fmt.Sprintf("the snapshot can't be given to group %s, so that the daemon can't read it: %v", name, err)
	}

	return gid, ""
}

// isOfGroup tells whose group's the directory is.
func (d directory) isOfGroup(gid uint32) bool {
	var info unix.Stat_t

	return unix.Fstat(int(d.Fd()), &info) == nil && info.Gid == gid // #nosec G115 -- a file descriptor
}

// tryGroup tells whether files can be given to a group: it takes CAP_CHOWN, or to be a member.
func (d directory) tryGroup(gid int) error {
	const name = tempPrefix + manifestFile

	return errors.Join(d.write(name, nil, gid), d.remove(name))
}

func (m *Manifest) setHost(h Host) {
	m.TXTDetail, m.NoTXT = plain(h.RegistersDetail), h.NoRegisters
	m.System = ManifestSystem{UUID: h.UUID, Serial: h.Serial, Manufacturer: h.Manufacturer, Product: h.Product, ChassisSerial: h.ChassisSerial}

	if r := h.Registers; r != nil {
		m.TXT = &ManifestTXT{
			STS: Register(r.STS), ESTS: Register(r.ESTS), ErrorCode: Register(r.ErrorCode), E2STS: Register(r.E2STS), DIDVID: Register(r.DIDVID),
			Words: r.Words(),
		}
	}
}

// add writes a log's file and notes it.
func (m *Manifest) add(d directory, e entry, gid int) error {
	l := ManifestLog{Source: e.Source, State: e.State, Detail: plain(e.Detail)}

	if e.Format != eventlog.FormatUnknown {
		l.Format = e.Format.String()
	}

	if e.Size > 0 {
		l.Size, l.SHA256, l.File = e.Size, hex.EncodeToString(e.SHA256[:]), logFile(e.Source, e.SHA256)

		if err := d.write(l.File, e.Raw, gid); err != nil {
			return err
		}
	}

	m.Logs = append(m.Logs, l)

	return nil
}

// finish puts the manifest into place, and then removes the files that it does not name.
func (m *Manifest) finish(d directory, gid int) error {
	text, err := m.marshal()
	if err != nil {
		return err
	}

	// What no Store would take must not be left behind.
	if _, err := ParseManifest(text); err != nil {
		return err
	}

	if err := errors.Join(d.write(manifestFile, text, gid), d.Sync()); err != nil {
		return err
	}

	names, err := d.Readdirnames(-1)
	for _, name := range names {
		if m.isStale(name) {
			err = errors.Join(err, d.remove(name))
		}
	}

	return err
}

// isStale tells whether a file is left over from another run. What Collect did not write is not its to remove.
func (m *Manifest) isStale(name string) bool {
	if rest, isTemp := strings.CutPrefix(name, tempPrefix); isTemp {
		return strings.TrimPrefix(rest, tempPrefix) == manifestFile || isLogFile(rest)
	}

	return isLogFile(name) && !slices.ContainsFunc(m.Logs, func(l ManifestLog) bool { return l.File == name })
}
