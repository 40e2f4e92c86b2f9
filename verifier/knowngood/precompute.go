package knowngood

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Change is one thing that will be measured differently at the next boot: a Module, an MLE, a File or a Text.
type Change interface {
	// slots finds the slots that change in one PCR, and their new digests.
	slots(entry *verifier.KnownPCR) ([]found, error)
	// missing says what is wrong if no PCR has such a slot.
	missing() error
}

// found is one slot and the digest that it will take.
type found struct {
	slot   int
	digest []byte
	rule   string
}

// Module is a file that the boot loader hands to tboot: module 0 is the hypervisor or the kernel that tboot starts. It is found by its place among tboot's measurements in PCR 17.
type Module struct {
	Number int
	// CommandLine is what the boot loader hands over with it; with GRUB 2, what stands behind the file's name.
	CommandLine string
	Image       Content
}

// MLE is tboot's own file, as it is or in gzip, with its command line. It is found by the event's type.
type MLE struct {
	File        Content
	CommandLine string
}

// File is a file in another one's place: a kernel, an initrd, a file of GRUB, a UEFI image. Its slots are those that allow the old one's digest, by any of the rules for files.
type File struct{ Old, New Content }

// Text is a command line, or a command of GRUB, in another one's place. Its slots are those that allow the old one's digest, by any of the rules for texts.
type Text struct{ Old, New string }

// Step is one digest that a draft took.
type Step struct {
	Bank string `json:"bank"`
	PCR  int    `json:"pcr"`
	// Slot is the place among the PCR's slots, from 1.
	Slot int `json:"slot"`
	// Description is the slot's. It is not safe to print.
	Description string `json:"description,omitempty"`
	// Rule says how the digest is made, in words.
	Rule   string       `json:"rule"`
	Digest verifier.Hex `json:"digest"`
	// Had tells that the slot allowed it already.
	Had bool `json:"had"`
}

// Precompute returns a copy of known-good values that also allows what will be measured after the changes. Without keep, it allows nothing else in the slots that change: for a set that stands beside
// the old one. AKs stay as they are. An error tells of all changes that have no place.
func Precompute(known verifier.KnownGood, changes []Change, keep bool) (verifier.KnownGood, []Step, error) {
	draft := verifier.KnownGood{AKs: slices.Clone(known.AKs)}
	for _, entry := range known.PCRs {
		draft.PCRs = append(draft.PCRs, clonePCR(entry))
	}
	var (
		steps []Step
		errs  []error
	)
	for _, c := range changes {
		added, err := precompute(&known, &draft, c, keep)
		steps, errs = append(steps, added...), append(errs, err)
	}
	if len(changes) == 0 {
		errs = append(errs, errors.New("nothing changes: name a module, a file or a command line"))
	}
	if err := errors.Join(errs...); err != nil {
		return verifier.KnownGood{}, nil, fmt.Errorf("computing known-good values before a boot: %w", err)
	}
	return draft, steps, nil
}

// precompute finds the places of a change in what is known, and puts it into the draft.
func precompute(known, draft *verifier.KnownGood, c Change, keep bool) ([]Step, error) {
	var steps []Step
	for i := range known.PCRs {
		entry := &known.PCRs[i]
		places, err := c.slots(entry)
		if err != nil {
			return nil, err
		}
		for _, f := range places {
			old, slot := entry.Events[f.slot], &draft.PCRs[i].Events[f.slot]
			had := contains(old.Digests, f.digest)
			steps = append(steps, Step{entry.Bank.String(), entry.PCR, f.slot + 1, old.Description, f.rule, f.digest, had})
			slot.Digests = take(old.Digests, slot.Digests, f.digest, keep)
		}
	}
	if len(steps) == 0 {
		return nil, c.missing()
	}
	return steps, nil
}

// take adds a digest to those that a slot has. Without keep, the old ones go.
func take(old, now []verifier.Hex, digest []byte, keep bool) []verifier.Hex {
	if !keep {
		now = slices.DeleteFunc(slices.Clone(now), func(d verifier.Hex) bool { return contains(old, d) })
	}
	if contains(now, digest) {
		return now
	}
	return append(now, bytes.Clone(digest))
}

func contains(digests []verifier.Hex, digest []byte) bool {
	return slices.ContainsFunc(digests, func(d verifier.Hex) bool { return bytes.Equal(d, digest) })
}

func clonePCR(entry verifier.KnownPCR) verifier.KnownPCR {
	entry.Values = slices.Clone(entry.Values)
	entry.Events = slices.Clone(entry.Events)
	for i := range entry.Events {
		entry.Events[i].Digests = slices.Clone(entry.Events[i].Digests)
	}
	return entry
}

// launchPCR is where SINIT and, by its stock policy, tboot measure code (Intel TXT MLE Developer's Guide, 1.10; tboot, policy.c).
const launchPCR = 17

// slots implements Change: behind tboot's policy come the modules, in the order in which they are loaded (tboot, policy.c).
func (m Module) slots(entry *verifier.KnownPCR) ([]found, error) {
	if entry.PCR != launchPCR {
		return nil, nil
	}
	place := -1
	for i, slot := range entry.Events {
		if slot.Type != eventlog.TypeTbootMeasurement {
			continue
		}
		if place++; place != m.Number+1 {
			continue
		}
		inner, err := digest(entry.Bank, parts(text(m.CommandLine)))
		if err != nil {
			return nil, err
		}
		image, err := digest(entry.Bank, parts(m.Image))
		if err != nil {
			return nil, err
		}
		sum, err := digest(entry.Bank, bytes.NewReader(append(inner, image...)))
		return []found{{i, sum, "tboot's hash of the hashes of command line and image"}}, err
	}
	return nil, nil
}

func (m Module) missing() error {
	return fmt.Errorf("no PCR 17 has events of a tboot module %d: look at the set, and count modules from 0; a PCR that is known by its value alone has no events, learn such a set from a node", m.Number)
}

// slots implements Change.
func (m MLE) slots(entry *verifier.KnownPCR) ([]found, error) {
	i := slices.IndexFunc(entry.Events, func(s verifier.Slot) bool { return s.Type == eventlog.TypeMLEHash })
	if entry.PCR != launchPCR || i < 0 {
		return nil, nil
	}
	pages, err := mlePages(m.File, m.CommandLine)
	if err != nil {
		return nil, err
	}
	sum, err := mleDigest(entry.Bank, pages)
	return []found{{i, sum, "SINIT's hash of the MLE with its command line"}}, err
}

func (m MLE) missing() error {
	return errors.New("no PCR 17 has an event of the type EVTYPE_MLE_HASH: learn the set from a node that was launched")
}
