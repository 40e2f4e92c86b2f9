package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// output writes a command's result, for people or for programs.
type output struct {
	json   bool
	colour bool
	stdout io.Writer
	stderr io.Writer
}

func newOutput(stdout, stderr io.Writer) *output {
	return &output{stdout: stdout, stderr: stderr, colour: wantsColour(stdout)}
}

// warn tells a person of something that --json says in the result.
func (o *output) warn(format string, args ...any) {
	if !o.json {
		_, _ = fmt.Fprintf(o.stderr, "warning: "+format+"\n", args...)
	}
}

// wantsColour is true on a terminal that did not ask to be spared (https://no-color.org).
func wantsColour(w io.Writer) bool {
	file, isFile := w.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// print writes view as JSON if that was asked for, else what text writes for a person.
func (o *output) print(view any, text func(*page)) error {
	p := &page{colour: o.colour}
	if o.json {
		encoder := json.NewEncoder(&p.Builder)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(view); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	} else {
		text(p)
	}

	if _, err := io.WriteString(o.stdout, p.String()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// refuse prints like print, and returns the exit code of a refusal.
func (o *output) refuse(view any, text func(*page)) error {
	if err := o.print(view, text); err != nil {
		return err
	}
	return exitError{exitRefused}
}

// page collects text for a person. What a node or a file said goes through printable before it gets here.
type page struct {
	strings.Builder
	colour bool
}

func (p *page) line(format string, args ...any) {
	fmt.Fprintf(p, format+"\n", args...)
}

// field writes a name and its value in two columns.
func (p *page) field(name, format string, args ...any) {
	fmt.Fprintf(p, "  %-14s %s\n", name, fmt.Sprintf(format, args...))
}

func (p *page) good(s string) string { return p.paint("32", s) }
func (p *page) bad(s string) string  { return p.paint("31;1", s) }
func (p *page) warn(s string) string { return p.paint("33", s) }
func (p *page) head(s string) string { return p.paint("1", s) }

// paint wraps s in an ECMA-48 SGR sequence.
func (p *page) paint(code, s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// printable replaces what could move a terminal's cursor, reorder a line or start a new one: evidence and errors carry a node's words.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// printableLines is printable for text of more than one line. Lines after the first are indented, so that none can pass for a line of ours.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n  ")
}
