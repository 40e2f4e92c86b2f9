// Command licences looks at the licences of the Go modules that are linked into a program, and writes their texts: whoever passes the program on has to pass on these, too. It fails if one of them is
// missing, is not one of those that trustpool may be distributed with, or is not understood. It is a module of its own, so that who imports trustpool does not inherit what it needs.
//
//	licences <PACKAGES >NOTICES
//
// PACKAGES has a line for each linked package, with tabs in between: module, version, the module's folder, and the package's. packaging/notices writes it.
package main

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

// module is what is linked of one, with the text of each file about its licence by the file's path in it.
type module struct {
	path, version string
	texts         map[string]string
}

func run(packages io.Reader, notices io.Writer) error {
	modules, err := read(packages)
	if err != nil {
		return err
	}

	var wrong []error
	for _, m := range modules {
		wrong = append(wrong, m.check()...)
	}

	if err := errors.Join(wrong...); err != nil {
		return err
	}

	return write(notices, modules)
}

// read gathers the files of each module, sorted by its path.
func read(packages io.Reader) ([]*module, error) {
	modules := make(map[string]*module)
	lines := bufio.NewScanner(packages)

	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 4 {
			return nil, fmt.Errorf("%q is no line of module, version, the module's folder and the package's, with tabs in between", lines.Text())
		}

		m := modules[fields[0]]
		if m == nil {
			m = &module{path: fields[0], version: fields[1], texts: make(map[string]string)}
			modules[m.path] = m
		}

		if err := m.gather(fields[2], fields[3]); err != nil {
			return nil, fmt.Errorf("reading the licence of %s: %w", m.path, err)
		}
	}

	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the list of packages: %w", err)
	}

	if len(modules) == 0 {
		return nil, errors.New("the list of packages is empty")
	}

	return slices.SortedFunc(maps.Values(modules), func(a, b *module) int { return cmp.Compare(a.path, b.path) }), nil
}

// about matches the names of files that tell a licence or what has to be told with it.
var about = regexp.MustCompile(`(?i)^((licen[cs]e|copying|unlicense)|notice|copyright|patents)([.-].*)?$`)

// gather reads the files of a package's folder and of those above it, up to the module's.
func (m *module) gather(root, folder string) error {
	within, err := filepath.Rel(root, folder)
	if err != nil || !filepath.IsLocal(within) {
		return fmt.Errorf("the package in %s is not in the module in %s", folder, root)
	}

	for {
		if err := m.gatherFolder(root, within); err != nil {
			return err
		}

		if within == "." {
			return nil
		}

		within = filepath.Dir(within)
	}
}

func (m *module) gatherFolder(root, within string) error {
	entries, err := os.ReadDir(filepath.Join(root, within))
	if err != nil {
		return err
	}

	for _, entry := range entries {
		name := filepath.Join(within, entry.Name())
		if _, known := m.texts[name]; known || !entry.Type().IsRegular() || !about.MatchString(entry.Name()) || filepath.Ext(name) == ".go" {
			continue
		}

		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}

		m.texts[name] = string(text)
	}

	return nil
}

// isAllowed: Apache-2.0 programs may be distributed with code under these, as long as its texts go along. The names are SPDX's.
func isAllowed(licence string) bool {
	switch licence {
	case "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD", "MPL-2.0":
		return true
	default:
		return false
	}
}

// isRead are texts that no program understands, and a person has read: as soon as a letter changes, somebody has to read again.
func isRead(text string) bool {
	switch fmt.Sprintf("%x", sha256.Sum256([]byte(text))) {
	case "5ae5bee3072a841376451b48d8cfcec7188e10543926d5870828d36c8a750dc5", // modernc.org/memory: where its logo is from, which is not linked
		"8438c9c89b849131ead81d5435cb97fcf052df5b0b286dda8a2d4c29e6cb3fd0", // modernc.org/sqlite: SQLite is in the public domain
		"4194f8e7119be72babd499db4f6f1f7547e36e8a7bffcb2b9c8df241b8f1576a", // modernc.org/sqlite: what it has of others, with each text
		"f597097efe3d97021f89170746bd3a0fb9a8b6fb26b82043ed68a4e0283bee6c": // modernc.org/libc: of Go (BSD-3-Clause) and musl (MIT), with the names of its authors
		return true
	default:
		return false
	}
}

// enough is how much of a text has to be that of known licences, in percent; the rest are names and years.
const enough = 75

// check returns what keeps a module from being distributed with.
func (m *module) check() (wrong []error) {
	licences := 0

	for _, name := range slices.Sorted(maps.Keys(m.texts)) {
		if about.FindStringSubmatch(filepath.Base(name))[2] == "" {
			continue // it adds to a licence, and is none
		}

		licences++

		if isRead(m.texts[name]) {
			continue
		}

		found := licensecheck.Scan([]byte(m.texts[name]))
		for _, match := range found.Match {
			if !isAllowed(match.ID) {
				wrong = append(wrong, fmt.Errorf("%s: %s is under %s, which is not allowed: do without the module", m.path, name, match.ID))
			}
		}

		if found.Percent < enough {
			wrong = append(wrong, fmt.Errorf("%s: %s is not understood (%.0f %% is of known licences): read it, and if it is well, add its SHA-256 to isRead", m.path, name, found.Percent))
		}
	}

	if licences == 0 {
		wrong = append(wrong, fmt.Errorf("%s has no licence: do without the module", m.path))
	}

	return wrong
}

// write writes each text once, with all files that hold it.
func write(notices io.Writer, modules []*module) error {
	var texts []string
	holders := make(map[string][]string)

	for _, m := range modules {
		for _, name := range slices.Sorted(maps.Keys(m.texts)) {
			text := strings.TrimSpace(strings.ReplaceAll(m.texts[name], "\r\n", "\n"))
			if holders[text] == nil {
				texts = append(texts, text)
			}

			holders[text] = append(holders[text], fmt.Sprintf("%s %s, %s", m.path, m.version, filepath.ToSlash(name)))
		}
	}

	line := strings.Repeat("=", 80)
	out := bufio.NewWriter(notices)
	fmt.Fprintf(out, "The programs of trustpool contain code of these %d Go modules, under their own licences. Their\nsources are what `go mod download MODULE@VERSION` gets (std: the Go distribution of that version).\n\n", len(modules))

	for _, m := range modules {
		fmt.Fprintf(out, "  %s %s\n", m.path, m.version)
	}

	for _, text := range texts {
		fmt.Fprintf(out, "\n%s\n%s\n%s\n\n%s\n", line, strings.Join(holders[text], "\n"), line, text)
	}

	return out.Flush()
}
