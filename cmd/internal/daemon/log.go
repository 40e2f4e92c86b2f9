package daemon

import (
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// NewLogger returns a logger that writes text for a person at a terminal, and JSON for everything else.
func NewLogger(w io.Writer) *slog.Logger {
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) { // #nosec G115 -- a file descriptor
		return slog.New(slog.NewTextHandler(w, nil))
	}

	return slog.New(slog.NewJSONHandler(w, nil))
}
