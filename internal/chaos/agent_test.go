//go:build chaos

package chaos

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trustpool/trustpool/tpmsim"
)

// patience is how long a test waits for what has to happen. It is no promise of the agent's: a busy machine may need a part of it.
const patience = 2 * time.Minute

// program is the agent, built once for all tests by TestMain.
var program string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "trustpool-chaos-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	program = filepath.Join(dir, "trustpool-agent")

	build := exec.Command("go", "build", "-trimpath", "-o", program, "github.com/trustpool/trustpool/cmd/trustpool-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr

	if err := build.Run(); err != nil {
		panic(err)
	}

	return m.Run()
}

// process is a running agent.
type process struct {
	*exec.Cmd

	said  transcript
	ended chan struct{} // closed when the process is no more
}

// start starts an agent; wrap are words before its own, as of unshare. It ends with the test at the latest.
func start(t testing.TB, agent, config string, wrap ...string) *process {
	t.Helper()

	words := append(slices.Clone(wrap), agent, "--config", config)
	p := &process{Cmd: exec.Command(words[0], words[1:]...), ended: make(chan struct{})}
	p.Stdout, p.Stderr = &p.said, &p.said
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	if err := p.Start(); err != nil {
		t.Fatal(err)
	}

	go func() {
		_ = p.Wait() // how it ended is for who waits to say
		close(p.ended)
	}()

	t.Cleanup(func() { p.kill(t) })

	return p
}

// kill ends the process at once.
func (p *process) kill(t testing.TB) {
	t.Helper()

	_ = p.Process.Kill() // it may have ended
	p.wait(t)
}

// wait waits until the process is no more.
func (p *process) wait(t testing.TB) {
	t.Helper()

	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.Process.Signal(syscall.SIGABRT) // it says where it is
		<-p.ended
		t.Fatalf("the agent does not end:\n%s", p.said.String())
	}
}

// signal sends a signal.
func (p *process) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()

	if err := p.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// transcript is what a process says, while it says it, without the line that each quote gets.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
	part []byte        // of a line that is not yet whole
	more chan struct{} // closed at the next word; guarded by mu, as are text and part
}

// Write implements io.Writer.
func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.part = append(s.part, b...)

	for {
		line, rest, whole := bytes.Cut(s.part, []byte("\n"))
		if !whole {
			break
		}

		if !bytes.Contains(line, []byte(`"msg":"quote"`)) {
			s.text.Write(line)
			s.text.WriteByte('\n')
		}

		s.part = bytes.Clone(rest)
	}

	if s.more != nil {
		close(s.more)
		s.more = nil
	}

	return len(b), nil
}

// String returns all that was said up to now.
func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.text.String()
}

// wait returns the first line with all these words, once it was said.
func (s *transcript) wait(t testing.TB, words ...string) string {
	t.Helper()

	late := time.After(patience)

	for {
		s.mu.Lock()

		text := s.text.String()
		if s.more == nil {
			s.more = make(chan struct{})
		}

		more := s.more
		s.mu.Unlock()

		for line := range strings.Lines(text) {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
				return line
			}
		}

		select {
		case <-more:
		case <-late:
			t.Fatalf("no line with %q in\n%s", words, text)
		}
	}
}

// field returns the value of key in a line of the log.
func field(t testing.TB, line, key string) string {
	t.Helper()

	for _, words := range []string{`"` + key + `":"`, key + "="} {
		if _, rest, ok := strings.Cut(line, words); ok {
			value, _, _ := strings.Cut(strings.TrimSpace(rest), `"`)
			value, _, _ = strings.Cut(value, " ")

			return value
		}
	}

	t.Fatalf("no %s in %s", key, line)

	return ""
}

// options are of nodes that differ from the usual one.
type options struct {
	// sim says what the node boots.
	sim tpmsim.Options
	// yaml is more for the config.
	yaml string
	// state is the state folder; empty: one that is the node's own.
	state string
	// wrap are words before the agent's own.
	wrap []string
	// program is the agent; empty: the one that is shipped.
	program string
}
