package manual

import (
	"regexp"
	"slices"
	"strings"
)

// Sample is a commented sample of a config file.
type Sample struct {
	// Intro is what it says before the first key.
	Intro []string
	// Keys are in the order of the file.
	Keys []Key
}

// Key is a key of the config, or several in a row that one comment explains.
type Key struct {
	// Paths are as in tls.certificate or clients[].roles.
	Paths []string
	// Defaults are the keys' values, if the sample has the keys in comments. Empty: there is no default, or it is empty, or the key stands there as an example.
	Defaults []string
	// Text is the comment, line by line, without its marks.
	Text []string
}

// ParseSample reads a sample. A comment belongs to the keys that follow it without an empty line. A key in a comment has one space before it, and what stands below
// it more of them.
func ParseSample(sample string) Sample {
	var s reading

	for line := range strings.Lines(sample) {
		s.take(strings.TrimRight(line, "\n"))
	}

	return s.Sample
}

// reading is a sample that is being read.
type reading struct {
	Sample

	comment []string
	parents []parent
	joined  bool // the last line was a key
}

// parent is a key that others stand below.
type parent struct {
	indent int
	path   string
}

func (r *reading) take(line string) {
	keyLine := regexp.MustCompile(`^( *)(?:# ( *))?(- )?([a-z][a-z0-9_]*):(?: (.*))?$`)

	match := keyLine.FindStringSubmatch(line)
	text, isComment := strings.CutPrefix(strings.TrimLeft(line, " "), "#")

	switch {
	case match != nil:
		value := match[5]
		if !isComment || match[2] != "" {
			value = "" // what the sample sets, or an example
		}

		r.key(len(match[1]+match[2]), match[3] != "", match[4], value)
	case isComment:
		r.comment = append(r.comment, strings.TrimPrefix(text, " "))
		r.joined = false
	default:
		if len(r.Keys) == 0 {
			r.Intro = append(r.Intro, r.comment...)
		}

		r.comment, r.joined = nil, false
	}
}

// key takes a line with a key: how far it is indented, and whether it begins an item of a list.
func (r *reading) key(indent int, isItem bool, name, value string) {
	for len(r.parents) > 0 && r.parents[len(r.parents)-1].indent >= indent {
		r.parents = r.parents[:len(r.parents)-1]
	}

	path := name
	if len(r.parents) > 0 {
		above := r.parents[len(r.parents)-1].path
		if isItem {
			above += "[]"
			r.parents = append(r.parents, parent{indent, above})
		}

		path = above + "." + name
	}

	r.parents = append(r.parents, parent{indent + len("- ")*count(isItem), path})

	last := len(r.Keys) - 1

	switch {
	case r.joined && len(r.comment) == 0 && slices.Contains(r.Keys[last].Paths, path): // of the next item of an example
	case r.joined && len(r.comment) == 0:
		r.Keys[last].Paths = append(r.Keys[last].Paths, path)
		r.Keys[last].Defaults = append(r.Keys[last].Defaults, value)
	default:
		r.Keys = append(r.Keys, Key{Paths: []string{path}, Defaults: []string{value}, Text: r.comment})
	}

	r.comment, r.joined = nil, true
}

func count(b bool) int {
	if b {
		return 1
	}

	return 0
}
