package saved

import (
	"fmt"

	"github.com/trustpool/trustpool/verifier"
)

// File is one file of a folder.
type File struct {
	// Name is its name in the folder, such as FileQuote.
	Name string
	// Data is what it holds.
	Data []byte
}

// Files returns the files that Write would make of ev, evidence.json the last of them, for those who keep them in some other way than in a folder.
func Files(ev verifier.Evidence) ([]File, error) {
	files, err := encode(ev)
	if err != nil {
		return nil, fmt.Errorf("saving evidence: %w", err)
	}
	return files, nil
}

// FromFiles reads evidence out of the files that Files returned, in any order, and looks at them as Read does: the same errors say the same. Other files than those that evidence.json names
// are refused too.
func FromFiles(files []File) (verifier.Evidence, error) {
	ev, err := fromFiles(files)
	if err != nil {
		return verifier.Evidence{}, fmt.Errorf("reading evidence: %w", err)
	}
	return ev, nil
}

func fromFiles(files []File) (verifier.Evidence, error) {
	contents := make(map[string][]byte)
	for _, f := range files {
		if _, twice := contents[f.Name]; twice {
			return verifier.Evidence{}, fmt.Errorf("%w: there are two files %.64q", ErrAltered, f.Name)
		}
		contents[f.Name] = f.Data
	}
	text, ok := contents[FileIndex]
	if !ok {
		return verifier.Evidence{}, ErrNoIndex
	}
	delete(contents, FileIndex)
	ix, err := parseIndex(text)
	if err != nil {
		return verifier.Evidence{}, fmt.Errorf("%s: %w", FileIndex, err)
	}

	for _, f := range ix.Files {
		data, ok := contents[f.Name]
		if !ok {
			return verifier.Evidence{}, fmt.Errorf("%w: %s names %s, which is not there", ErrAltered, FileIndex, f.Name)
		}
		if err := f.check(data); err != nil {
			return verifier.Evidence{}, err
		}
	}
	if len(contents) > len(ix.Files) {
		return verifier.Evidence{}, fmt.Errorf("%w: there are files that %s does not name", ErrAltered, FileIndex)
	}
	return ix.evidence(contents)
}
