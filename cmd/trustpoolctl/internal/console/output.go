// Package console is how the commands of trustpoolctl talk: results for people or as JSON, errors with what to do about them, files, and exit codes.
package console

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Output writes a command's result, for people or for programs.
type Output struct {
	// JSON: results are JSON.
	JSON bool
	// Colour: text for people has colours.
	Colour bool
	Stdout io.Writer
	Stderr io.Writer
}

// NewOutput returns an Output that has colours on a terminal.
func NewOutput(stdout, stderr io.Writer) *Output {
	return &Output{Stdout: stdout, Stderr: stderr, Colour: wantsColour(stdout)}
}

// Warn tells a person of something that --json says in the result.
func (o *Output) Warn(format string, args ...any) {
	if !o.JSON {
		_, _ = fmt.Fprintf(o.Stderr, "warning: "+format+"\n", args...)
	}
}

// Watched tells whether a person sees at once, at a terminal, what goes to stderr: progress is for nobody else.
func (o *Output) Watched() bool { return !o.JSON && isTerminal(o.Stderr) }

// wantsColour is true on a terminal that did not ask to be spared (https://no-color.org).
func wantsColour(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func isTerminal(w io.Writer) bool {
	file, isFile := w.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd()))
}

// Print writes view as JSON if that was asked for, else what text writes for a person.
func (o *Output) Print(view any, text func(*Page)) error {
	p := &Page{Colour: o.Colour}
	if o.JSON {
		text, err := JSON(view, "  ")
		if err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		p.WriteString(text)
	} else {
		text(p)
	}

	if _, err := io.WriteString(o.Stdout, p.String()); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// Refuse prints like Print, and returns the exit code of a refusal.
func (o *Output) Refuse(view any, text func(*Page)) error {
	if err := o.Print(view, text); err != nil {
		return err
	}
	return ExitError{Code: ExitRefused}
}
