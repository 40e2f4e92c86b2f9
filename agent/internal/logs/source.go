package logs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/trustpool/trustpool/agent/internal/txt"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Names of the host's own sources.
const (
	sourceTXT      = "txt"
	sourceSlaunch  = "slaunch"
	sourceFirmware = "firmware"
)

// File is a log that is a plain file.
type File struct {
	// Name is what callers call it. It takes the place of the host's own source of that name.
	Name string
	// Path is where it is. Its size may be told as 0, as securityfs does.
	Path string
}

// source is where logs may be.
type source interface {
	// name is that of its log; where it has several, those of the others begin with it.
	name() string
	// read gives one entry a log, at least one.
	read(b bounds) []entry
}

// hostSources are a host's own, below root, in the order in which they are served.
func hostSources(root string) []source {
	return []source{heap{root}, slaunch{root}, firmware{root}}
}

func (f File) name() string { return f.Name }

func (f File) read(b bounds) []entry {
	return []entry{fileAt(f.Path).read(f.Name, b)}
}

// fileAt is a log that is all of a file.
func fileAt(path string) place {
	return place{path: path, open: func() (handle, error) { return openFile(path) }, limit: MaxSize + 1, denied: fileDenied(path)}
}

// slaunch is the log of Linux's Secure Launch. The file is the whole buffer, padding included: nothing tells where the log in it ends.
type slaunch struct{ root string }

func (slaunch) name() string { return sourceSlaunch }

func (s slaunch) read(b bounds) []entry {
	e := fileAt(filepath.Join(s.root, "sys/kernel/security/slaunch/eventlog")).read(sourceSlaunch, b)
	if e.State == Absent {
		e.Detail += ": this kernel was not started by Secure Launch"
	}

	return []entry{e}
}

// firmware is the log of the first TPM. Its directory has the chip's name.
type firmware struct{ root string }

func (firmware) name() string { return sourceFirmware }

func (f firmware) read(b bounds) []entry {
	dir := filepath.Join(f.root, "sys/kernel/security")

	chips, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrPermission) {
		return []entry{{Snapshot: Snapshot{Source: sourceFirmware, State: NotPermitted, Detail: fileDenied(dir)(err)}}}
	}

	chips = slices.DeleteFunc(chips, func(chip fs.DirEntry) bool { return !strings.HasPrefix(chip.Name(), "tpm") })
	if len(chips) == 0 {
		return []entry{{Snapshot: Snapshot{Source: sourceFirmware, Detail: "no log below " + dir + ": the firmware left none, or securityfs is not mounted"}}}
	}

	// They come sorted by name, and tpm10 is not the second.
	slices.SortStableFunc(chips, func(a, b fs.DirEntry) int { return cmp.Compare(len(a.Name()), len(b.Name())) })

	return []entry{fileAt(filepath.Join(dir, chips[0].Name(), "binary_bios_measurements")).read(sourceFirmware, b)}
}

// heap is the log that tboot's launch left in the TXT heap.
type heap struct{ root string }

func (heap) name() string { return sourceTXT }

func (h heap) path() string { return filepath.Join(h.root, "dev/mem") }

func (h heap) open() (handle, error) { return txt.OpenMemory(h.path()) }

func (h heap) read(b bounds) []entry {
	areas, warning, err := h.find()
	if err != nil {
		state, detail := h.outcome(err)

		return []entry{{Snapshot: Snapshot{Source: sourceTXT, State: state, Detail: detail}}}
	}

	var entries []entry

	// Who asks for "txt" is told where to look, and the list of sources always has it.
	if !slices.ContainsFunc(areas, func(a txt.Area) bool { return a.Alg == 0 }) {
		entries = append(entries, entry{Snapshot: Snapshot{Source: sourceTXT, Detail: "this launch left one log a bank: " + strings.Join(areaNames(areas), ", ")}})
	}

	for _, area := range areas {
		entries = append(entries, h.readArea(area, warning, b))
	}

	return entries
}

// find walks the heap. What it finds may be left over from an earlier boot, which a warning tells.
func (h heap) find() (areas []txt.Area, warning string, err error) {
	memory, err := txt.OpenMemory(h.path())
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = memory.Close() }() // read only: nothing to lose

	areas, err = txt.FindLogs(memory)

	registers, unknown := txt.ReadRegisters(memory)
	if unknown != nil || registers.Launched() {
		return areas, "", err
	}

	// Memory keeps its content over a warm reboot, and nobody clears the heap before the next launch.
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, txt.ErrNoLog) {
		return nil, "", fmt.Errorf("%w: TXT.STS tells of no measured launch in this boot", txt.ErrNoLog)
	}

	return areas, "TXT.STS tells of no measured launch in this boot: this log may be left over from an earlier one", err
}

// readArea reads one log of the heap.
func (h heap) readArea(area txt.Area, warning string, b bounds) entry {
	name := areaName(area)
	if area.Size == 0 {
		return entry{Snapshot: Snapshot{Source: name, State: Empty, Detail: "the launch logged no event"}}
	}

	where := place{path: fmt.Sprintf("%s at %#x", h.path(), area.Address), open: h.open, offset: area.Address, limit: area.Size, denied: h.denied}

	e := where.read(name, b)
	if e.Detail == "" {
		e.Detail = warning
	}

	return e
}

func (h heap) outcome(err error) (State, string) {
	switch {
	case errors.Is(err, txt.ErrNoLog):
		return Absent, err.Error()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return NotPermitted, h.denied(err)
	default:
		return Malformed, err.Error()
	}
}

func (h heap) denied(err error) string {
	return memoryDenied(h.path(), err, readCircumstances(h.root))
}

func areaNames(areas []txt.Area) []string {
	names := make([]string, 0, len(areas))
	for _, area := range areas {
		names = append(names, areaName(area))
	}

	return names
}

// areaName is the source of a log in the heap, e.g. "txt-sha256".
func areaName(area txt.Area) string {
	if area.Alg == 0 {
		return sourceTXT
	}

	return sourceTXT + "-" + strings.ReplaceAll(eventlog.Alg(area.Alg).String(), "_", "-")
}
