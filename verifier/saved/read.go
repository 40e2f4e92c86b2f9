package saved

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/internal/strictjson"
)

// Bounds of a folder.
const (
	maxFile  = 16 << 20 // the largest log
	maxTotal = 64 << 20 // all files
	maxIndex = 1 << 20
	maxFiles = 64
	maxLogs  = 16
	maxPCR   = 23

	maxAggregate = 1024 // quotes that were signed together
)

// Read reads the evidence that Write saved in dir. It follows no link out of dir, reads only what evidence.json names, and takes no file whose size or
// digest is another than that file says. Nothing of it is judged: that is for verifier.Verify.
//
// Of its errors, ErrAltered says that there was evidence and it is not as it was written, ErrNoIndex that Write did not make the folder. All others say that it
// could not be read.
func Read(dir string) (verifier.Evidence, error) {
	ev, err := readFolder(dir)
	if err != nil {
		return verifier.Evidence{}, fmt.Errorf("reading evidence in %s: %w", dir, err)
	}
	return ev, nil
}

func readFolder(dir string) (ev verifier.Evidence, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return verifier.Evidence{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()

	text, err := readFile(root, FileIndex, maxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return verifier.Evidence{}, fmt.Errorf("%w: %w", ErrNoIndex, err)
	}
	if err != nil {
		return verifier.Evidence{}, altered(err)
	}
	ix, err := parseIndex(text)
	if err != nil {
		return verifier.Evidence{}, fmt.Errorf("%s: %w", FileIndex, err)
	}

	contents := make(map[string][]byte)
	for _, f := range ix.Files {
		data, err := readEntry(root, f)
		if err != nil {
			return verifier.Evidence{}, err
		}
		contents[f.Name] = data
	}
	return ix.evidence(contents)
}

// unfit says what is wrong with a file. In a folder that Write made, it was altered since.
type unfit string

func (u unfit) Error() string { return string(u) }

func unfitf(format string, args ...any) error { return unfit(fmt.Sprintf(format, args...)) }

// altered is for a folder that Write made.
func altered(err error) error {
	if _, ok := errors.AsType[unfit](err); ok {
		return fmt.Errorf("%w: %w", ErrAltered, err)
	}
	return err
}

// fileError names the file and what happened, and not the system call.
func fileError(name string, err error) error {
	if in, ok := errors.AsType[*fs.PathError](err); ok {
		err = in.Err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// readFile reads a regular file of at most so many bytes.
func readFile(root *os.Root, name string, most int) (data []byte, err error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return nil, unfitf("%s is not a regular file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()

	data, err = io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > most {
		return nil, unfitf("%s has more than %d bytes", name, most)
	}
	return data, nil
}

func readEntry(root *os.Root, f entry) ([]byte, error) {
	data, err := readFile(root, f.Name, f.Size)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s names %w", ErrAltered, FileIndex, err)
	}
	if err != nil {
		return nil, altered(err)
	}
	return data, f.check(data)
}

// check looks whether data is what was written into the file.
func (f *entry) check(data []byte) error {
	if sum := sha256.Sum256(data); len(data) != f.Size || string(sum[:]) != string(f.SHA256) {
		return fmt.Errorf("%w: %s is not the file that %s names: its size or digest differs", ErrAltered, f.Name, FileIndex)
	}
	return nil
}

// parseIndex reads evidence.json and tells all its problems at once. What Write did not write was altered since, unless it is of another format.
func parseIndex(text []byte) (index, error) {
	o, err := strictjson.Decode(text, maxIndex)
	if err != nil {
		return index{}, fmt.Errorf("%w: %w", ErrAltered, err)
	}

	ix := index{Format: o.String("format")}
	if ix.Format != "" && ix.Format != Format {
		return index{}, fmt.Errorf("format: is another format than %q", Format)
	}
	files := o.Objects("files")
	if len(files) > maxFiles {
		o.Problem("files", "names %d files, write at most %d", len(files), maxFiles)
		files = nil
	}
	total, seen := 0, make(map[string]bool)
	for _, f := range files {
		parsed := parseEntry(f)
		total += parsed.Size
		if seen[parsed.Name] {
			f.Problem("name", "stands twice, keep one")
		}
		seen[parsed.Name] = true
		ix.Files = append(ix.Files, parsed)
	}
	if total > maxTotal {
		o.Problem("files", "have %d bytes together, more than %d", total, maxTotal)
	}
	for _, b := range o.Objects("pcrs") {
		ix.PCRs = append(ix.PCRs, bank{Bank: b.String("bank"), PCRs: b.Ints("pcrs", maxPCR)})
		b.Done()
	}
	if o.Has("binding") {
		ix.Binding = parseBinding(o.Object("binding"))
	}
	if o.Has("aggregation") {
		ix.Aggregation = parseAggregation(o.Object("aggregation"))
	}
	ix.Hints = o.Texts("hints")
	o.Done()
	if err := o.Err(); err != nil {
		return index{}, fmt.Errorf("%w: %w", ErrAltered, err)
	}
	return ix, nil
}

func parseEntry(o *strictjson.Object) entry {
	f := entry{Name: o.String("name"), Size: o.Int("size", maxFile)}
	if !plainName(f.Name) && f.Name != "" {
		o.Problem("name", "is no plain file name, write lower-case letters, digits, dots, dashes and underscores, at most 96, no dot in front")
	}
	sum, err := hex.DecodeString(o.String("sha256"))
	if err != nil || len(sum) != sha256.Size {
		o.Problem("sha256", "is no SHA-256 digest, write 64 hexadecimal digits")
	}
	f.SHA256 = sum

	f.Log = o.OptionalString("log")
	if o.Has("log") && !strings.HasPrefix(f.Name, logPrefix) {
		o.Problem("log", "is for the files %s* only, remove it", logPrefix)
	}
	o.Done()
	return f
}

// plainName tells whether name is one in the folder itself.
func plainName(name string) bool {
	const most = 96
	return len(name) <= most && !strings.HasPrefix(name, ".") && !strings.ContainsFunc(name, func(r rune) bool { return !isNameRune(r) })
}

// evidence puts the contents of the named files together.
func (ix *index) evidence(contents map[string][]byte) (verifier.Evidence, error) {
	ev := verifier.Evidence{
		Quoted:      contents[FileQuote],
		Signature:   contents[FileSignature],
		Nonce:       contents[FileNonce],
		Binding:     ix.Binding.evidence(),
		Aggregation: ix.Aggregation.evidence(),
		Hints:       ix.Hints,
	}
	if err := readKeys(&ev, contents); err != nil {
		return verifier.Evidence{}, err
	}
	var err error
	if ev.PCRs, err = split(ix.PCRs, contents[FilePCRs], FileIndex); err != nil {
		return verifier.Evidence{}, altered(err)
	}

	for _, f := range ix.Files {
		switch {
		case strings.HasPrefix(f.Name, logPrefix):
			ev.Logs = append(ev.Logs, verifier.Log{Source: f.Log, Raw: contents[f.Name]})
		case !known(f.Name):
			return verifier.Evidence{}, fmt.Errorf("%w: %s names %s, which is no file of evidence", ErrAltered, FileIndex, f.Name)
		}
	}
	if len(ev.Logs) > maxLogs {
		return verifier.Evidence{}, fmt.Errorf("%w: there are %d logs, more than %d", ErrAltered, len(ev.Logs), maxLogs)
	}
	return ev, nil
}

// readKeys is the reverse of keyFiles.
func readKeys(ev *verifier.Evidence, contents map[string][]byte) (err error) {
	if ev.AKPublic, err = unwrap(contents[FileAKPublic]); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrAltered, FileAKPublic, err)
	}
	if parent, ok := contents[FileAKParent]; ok {
		if ev.AKParent, err = unwrap(parent); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrAltered, FileAKParent, err)
		}
	}
	if err := addPEM(ev, contents[FileAKCertificate]); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrAltered, FileAKCertificate, err)
	}
	if len(ev.AKPublic) > 0 { // ak.pem was made of it
		return nil
	}
	if err := addPEM(ev, contents[FileAKPEM]); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrAltered, FileAKPEM, err)
	}
	return nil
}

func known(name string) bool {
	switch name {
	case FileQuote, FileSignature, FilePCRs, FileAKPublic, FileAKPEM, FileAKCertificate, FileAKParent, FileNonce:
		return true
	default:
		return false
	}
}

// unwrap takes the size prefix off a TPM2B.
func unwrap(sized []byte) ([]byte, error) {
	if len(sized) < 2 || int(binary.BigEndian.Uint16(sized)) != len(sized)-2 {
		return nil, errors.New("its first two bytes are not the size of the rest")
	}
	return sized[2:], nil
}

// split cuts the values of quote.pcrs apart. namedBy says who names the banks and PCRs.
func split(named []bank, values []byte, namedBy string) ([]verifier.PCRBank, error) {
	banks := make([]verifier.PCRBank, 0, len(named))
	for _, b := range named {
		alg, err := eventlog.ParseAlg(b.Bank)
		if err != nil {
			return nil, fmt.Errorf("%s: bank of %s: %w", FilePCRs, namedBy, err)
		}
		out := verifier.PCRBank{Alg: alg}
		for _, pcr := range b.PCRs {
			if len(values) < alg.Size() {
				return nil, unfitf("%s has too few bytes for the PCRs that %s names", FilePCRs, namedBy)
			}
			out.Values = append(out.Values, verifier.PCRValue{Index: pcr, Value: values[:alg.Size():alg.Size()]})
			values = values[alg.Size():]
		}
		banks = append(banks, out)
	}
	if len(values) > 0 {
		return nil, unfitf("%s has %d bytes more than the PCRs that %s names", FilePCRs, len(values), namedBy)
	}
	return banks, nil
}
