package console

import (
	"fmt"
	"strings"
	"unicode"
)

// Page collects text for a person. What a node, a server or a file said goes through Printable before it gets here.
type Page struct {
	strings.Builder
	// Colour: there are colours.
	Colour bool
}

// Line writes a line.
func (p *Page) Line(format string, args ...any) {
	fmt.Fprintf(p, format+"\n", args...)
}

// Field writes a name and its value in two columns.
func (p *Page) Field(name, format string, args ...any) {
	fmt.Fprintf(p, "  %-14s %s\n", name, fmt.Sprintf(format, args...))
}

// Good is for what is as it should be.
func (p *Page) Good(s string) string { return p.paint("32", s) }

// Bad is for what has to be looked at.
func (p *Page) Bad(s string) string { return p.paint("31;1", s) }

// Warn is for what may have to be looked at.
func (p *Page) Warn(s string) string { return p.paint("33", s) }

// Head is for headings.
func (p *Page) Head(s string) string { return p.paint("1", s) }

// paint wraps s in an ECMA-48 SGR sequence.
func (p *Page) paint(code, s string) string {
	if !p.Colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Printable replaces what could move a terminal's cursor, reorder a line or start a new one: evidence and errors carry a node's words.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// PrintableLines is Printable for text of more than one line. Lines after the first are indented, so that none can pass for a line of ours.
func PrintableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return strings.Join(lines, "\n  ")
}
