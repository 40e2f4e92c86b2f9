// Package transcript keeps what programs and loggers say, for tests that read it meanwhile.
package transcript

import (
	"strings"
	"sync"
)

// Text is all that was written to it up to now. Any number of goroutines may write and read. The zero value is empty.
type Text struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

// Write implements io.Writer.
func (t *Text) Write(more []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(more)
}

// String implements fmt.Stringer.
func (t *Text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// Has tells whether words were written.
func (t *Text) Has(words string) bool { return strings.Contains(t.String(), words) }
