package tpmsim

import (
	"strings"
	"sync"
)

// maxTail bounds what is kept of swtpm's messages.
const maxTail = 2048

// tail is a writer that keeps the last bytes written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

// Write implements io.Writer; it never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()

	t.kept = append(t.kept, p[max(0, len(p)-maxTail):]...)
	t.kept = t.kept[max(0, len(t.kept)-maxTail):]
	return len(p), nil
}

// String returns the kept bytes as one line, "it said nothing" for none.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()

	lines := strings.FieldsFunc(string(t.kept), func(r rune) bool { return r == '\n' })
	if len(lines) == 0 {
		return "it said nothing"
	}
	return strings.Join(lines, "; ")
}
