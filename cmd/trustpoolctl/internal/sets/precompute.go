package sets

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/knowngood"
)

// precomputeFlags are those of one precompute command.
type precomputeFlags struct {
	modules, moduleLines []string
	tboot, tbootLine     string
	files                []string
	oldLines, newLines   []string
	out                  console.File
	name                 string
	only                 bool
}

func newPrecompute(out *console.Output) *cobra.Command {
	var f precomputeFlags
	cmd := &cobra.Command{
		Use:   "precompute SET --out FILE",
		Short: "Compute from new files what the next boot will measure, into a draft of a set",
		Long: `precompute writes a copy of a set that also allows what the next boot will measure: a new kernel, initrd, hypervisor or command line. It works on files alone, before the
reboot. SET is a file that export, learn or precompute wrote, or - for standard input.

tboot's modules go by their number, as the boot loader loads them: module 0 is what tboot starts. The command line is what the boot loader hands over: with GRUB 2, what stands behind the
file's name in its module2 line. tboot's own file goes with its own command line.

Everything else is found by what it replaces: --replace takes the old file, which the set allows now, and the new one; --old-cmdline and --new-cmdline the texts, as the event log shows them. That
fits files and command lines of GRUB, systemd-boot, unified kernel images, UEFI images and Linux' Secure Launch.

The old digests stay, so that nodes are good before and after the reboot: a node that mixes old and new files is good, too. --only leaves them out.`,
		Example: `  trustpoolctl knowngood precompute xen.json --module 2=/boot/initrd.img-6.1.0-42 --out draft.json
  trustpoolctl knowngood precompute xen.json --module 0=/boot/xen.gz --module-cmdline '0=dom0_mem=2048M iommu=force' --only --name xen-4.18 --out draft.json
  trustpoolctl knowngood precompute grub.json --replace /boot/initrd.img.old=/boot/initrd.img --out draft.json`,
		Args: console.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(args[0], cmd.InOrStdin(), out) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.modules, "module", nil, "a module of tboot, `NUMBER=FILE`; repeat it for each")
	flags.StringArrayVar(&f.moduleLines, "module-cmdline", nil, "the module's command line, `NUMBER=TEXT` (default: empty)")
	flags.StringVar(&f.tboot, "tboot", "", "tboot's own `file`, such as /boot/tboot.gz")
	flags.StringVar(&f.tbootLine, "tboot-cmdline", "", "tboot's own command line, a `text`")
	flags.StringArrayVar(&f.files, "replace", nil, "a file in another's place, `OLD=NEW`; repeat it for each")
	flags.StringArrayVar(&f.oldLines, "old-cmdline", nil, "a command line that changes, as it is now: a `text`; repeat it for each")
	flags.StringArrayVar(&f.newLines, "new-cmdline", nil, "and as it will be: a `text`")
	flags.StringVar(&f.name, "name", "", "the draft's `name` (default: that of SET with +1 behind it; a known-good file has none)")
	flags.BoolVar(&f.only, "only", false, "allow nothing else in the slots that change")
	f.out.Register(cmd, "out", "write the draft to this `file`")
	return cmd
}

func (f *precomputeFlags) run(from string, stdin io.Reader, out *console.Output) (err error) {
	if err := f.out.Check(); err != nil {
		return err
	}
	var open opened
	defer func() { err = errors.Join(err, open.close()) }()
	changes, err := f.changes(&open)
	if err != nil {
		return err
	}
	set, err := readSet(from, stdin)
	if err != nil {
		return err
	}
	known, steps, err := knowngood.Precompute(set.KnownGood, changes, !f.only)
	if err != nil {
		return err
	}

	raw, err := f.draft(&set, known)
	if err != nil {
		return err
	}
	if _, err := knowngood.ParseSet(raw); err != nil {
		return fmt.Errorf("what was computed is of no use: %w", err)
	}
	if err := f.out.Write(raw); err != nil {
		return err
	}
	view := &precomputeView{From: from, WrittenTo: f.out.Path, Steps: steps}
	return out.Print(view, view.text)
}

// draft is the file of what was computed: of the same kind as the one that it comes from, so that verify reads it if learn wrote that.
func (f *precomputeFlags) draft(set *knowngood.Set, known verifier.KnownGood) ([]byte, error) {
	if set.Name == "" && f.name == "" {
		return known.Marshal()
	}
	draft := *set
	draft.KnownGood, draft.Name, draft.Source = known, cmp.Or(f.name, set.Name+"+1"), "computed before the boot"
	if set.Name != "" {
		draft.Source += ", from " + set.Name
	}
	return draft.Marshal()
}

// changes reads the flags, and opens the files that they name.
func (f *precomputeFlags) changes(open *opened) ([]knowngood.Change, error) {
	modules, err := f.moduleChanges(open)
	if err != nil {
		return nil, err
	}
	changes := modules
	if f.tboot != "" {
		file, err := open.file(f.tboot)
		if err != nil {
			return nil, err
		}
		changes = append(changes, knowngood.MLE{File: file, CommandLine: f.tbootLine})
	} else if f.tbootLine != "" {
		return nil, console.Usagef("--tboot-cmdline goes with --tboot")
	}
	for _, pair := range f.files {
		before, after, found := strings.Cut(pair, "=")
		if !found || before == "" || after == "" {
			return nil, console.Usagef("--replace: %q is no OLD=NEW, write two files", pair)
		}
		old, err := open.file(before)
		if err != nil {
			return nil, err
		}
		replacing, err := open.file(after)
		if err != nil {
			return nil, err
		}
		changes = append(changes, knowngood.File{Old: old, New: replacing})
	}
	if len(f.oldLines) != len(f.newLines) {
		return nil, console.Usagef("--old-cmdline and --new-cmdline go together, one of each for every line that changes")
	}
	for i, before := range f.oldLines {
		changes = append(changes, knowngood.Text{Old: before, New: f.newLines[i]})
	}
	if len(changes) == 0 {
		return nil, console.Usagef("nothing changes: name a --module, --tboot, --replace, or --old-cmdline and --new-cmdline")
	}
	return changes, nil
}

// moduleChanges puts modules and their command lines together.
func (f *precomputeFlags) moduleChanges(open *opened) ([]knowngood.Change, error) {
	lines := make(map[int]string, len(f.moduleLines))
	for _, word := range f.moduleLines {
		number, line, err := numbered("--module-cmdline", word)
		if err != nil {
			return nil, err
		}
		if _, twice := lines[number]; twice {
			return nil, console.Usagef("--module-cmdline: module %d is there twice: give each once", number)
		}
		lines[number] = line
	}
	var changes []knowngood.Change
	seen := make(map[int]bool, len(f.modules))
	for _, word := range f.modules {
		number, name, err := numbered("--module", word)
		if err != nil {
			return nil, err
		}
		if seen[number] {
			return nil, console.Usagef("--module: module %d is there twice: give each once", number)
		}
		seen[number] = true
		image, err := open.file(name)
		if err != nil {
			return nil, err
		}
		changes = append(changes, knowngood.Module{Number: number, CommandLine: lines[number], Image: image})
		delete(lines, number)
	}
	for number := range lines {
		return nil, console.Usagef("--module-cmdline: module %d has no --module, and its file counts too: name it", number)
	}
	return changes, nil
}

// numbered reads NUMBER=REST.
func numbered(flag, word string) (int, string, error) {
	text, rest, found := strings.Cut(word, "=")
	number, err := strconv.Atoi(text)
	if !found || err != nil || number < 0 || number > 127 {
		return 0, "", console.Usagef("%s: %q does not begin with a module's number and =, write 0=...", flag, word)
	}
	return number, rest, nil
}

// opened are files that are open.
type opened []*os.File

func (o *opened) file(name string) (knowngood.Content, error) {
	file, err := os.Open(filepath.Clean(name)) // the operator names the file
	if err != nil {
		return nil, err
	}
	*o = append(*o, file)
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file whose bytes can be read more than once", name)
	}
	if info.Size() == 0 {
		return bytes.NewReader(nil), nil
	}
	return io.NewSectionReader(file, 0, info.Size()), nil
}

func (o *opened) close() error {
	var errs []error
	for _, file := range *o {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

// precomputeView is what precompute prints.
type precomputeView struct {
	From      string           `json:"from"`
	WrittenTo string           `json:"written_to"`
	Steps     []knowngood.Step `json:"steps"`
}

func (v *precomputeView) text(p *console.Page) {
	p.Line("%s from %s, written to %s", p.Good("Computed"), console.Printable(v.From), console.Printable(v.WrittenTo))
	for _, s := range v.Steps {
		had := ""
		if s.Had {
			had = ", which it had already"
		}
		p.Line("  %s PCR %d, slot %d (%s): %s%s", s.Bank, s.PCR, s.Slot, console.Printable(cmp.Or(s.Description, "no description")), s.Digest, had)
		p.Line("    %s", s.Rule)
	}
}
