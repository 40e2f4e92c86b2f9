package knowngood

import (
	"errors"
	"fmt"

	"github.com/trustpool/trustpool/verifier"
)

// replacement is content in another's place, by one rule.
type replacement struct {
	rule     rule
	old, new Content
}

// slots implements Change.
func (f File) slots(entry *verifier.KnownPCR) ([]found, error) {
	if f.Old.Size() == 0 || f.New.Size() == 0 {
		return nil, errors.New("a file is empty: such a one is measured in no place of its own")
	}
	all, err := f.replacements()
	if err != nil {
		return nil, err
	}
	return places(entry, all)
}

// replacements lists what is measured of the file: its bytes; of an image its Authenticode hash, too; and of a unified kernel image each section, and the kernel in it as an image.
func (f File) replacements() ([]replacement, error) {
	all := []replacement{{fileRule(), f.Old, f.New}}
	if !isImage(f.Old) {
		return all, nil
	}
	if !isImage(f.New) {
		return nil, errors.New("the old file is a UEFI image and the new one is not")
	}
	all = append(all, replacement{imageRule(), f.Old, f.New})

	before, err := ukiSections(f.Old)
	if err != nil {
		return nil, err
	}
	after, err := ukiSections(f.New)
	if err != nil {
		return nil, err
	}
	if len(before) != len(after) {
		return nil, fmt.Errorf("the old image has %d sections that are measured, the new one %d: so there are other events; learn the set from a node that booted it", len(before), len(after))
	}
	for i, s := range before {
		if s.name != after[i].name {
			return nil, fmt.Errorf("the old image has the section %s where the new one has %s: so there are other events; learn the set from a node that booted it", s.name, after[i].name)
		}
		sectionRule := fileRule()
		sectionRule.name = "the hash of the section " + s.name
		all = append(all, replacement{sectionRule, s.content, after[i].content})
		if s.name == ".linux" && isImage(s.content) && isImage(after[i].content) {
			all = append(all, replacement{imageRule(), s.content, after[i].content})
		}
	}
	return all, nil
}

// isImage tells whether content begins as a PE/COFF image does.
func isImage(c Content) bool {
	var magic [2]byte
	_, err := c.ReadAt(magic[:], 0)
	return err == nil && magic == [2]byte{'M', 'Z'}
}

func (f File) missing() error {
	return errors.New("no slot allows the old file's digest, by none of the rules: give the file that the set was learned with; a tboot module is named by its number")
}

// slots implements Change.
func (t Text) slots(entry *verifier.KnownPCR) ([]found, error) {
	if t.Old == "" {
		return nil, errors.New("the old command line is empty: such a one is measured in no place of its own")
	}
	all := make([]replacement, 0, len(textRules()))
	for _, r := range textRules() {
		all = append(all, replacement{r, text(t.Old), text(t.New)})
	}
	return places(entry, all)
}

func (t Text) missing() error {
	return fmt.Errorf("no slot allows the digest of the old text %.80q, by none of the rules: give it as the event log shows it; a tboot module's is given with the module", t.Old)
}

// places finds the slots that allow what was before, and computes what will be there.
func places(entry *verifier.KnownPCR, all []replacement) ([]found, error) {
	if len(entry.Events) == 0 {
		return nil, nil
	}
	var places []found
	for _, r := range all {
		before, err := r.rule.sum(entry.Bank, r.old)
		if err != nil {
			return nil, err
		}
		var after []byte
		for i, slot := range entry.Events {
			if !contains(slot.Digests, before) {
				continue
			}
			if after == nil {
				if after, err = r.rule.sum(entry.Bank, r.new); err != nil {
					return nil, err
				}
			}
			places = append(places, found{i, after, r.rule.name})
		}
	}
	return places, nil
}
