package tpmsim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
)

// yesMan is a control channel that reports success and does nothing.
type yesMan struct{}

func (yesMan) Write(p []byte) (int, error) { return len(p), nil }

func (yesMan) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestHashSequenceWithoutEffectIsNoticed(t *testing.T) {
	t.Parallel()
	n, err := Start(t.Context(), Options{Scenario: NoLaunch})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	n.machine.ctrl = control{yesMan{}}

	p, err := Trusted.plan(Tboot)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.launch.run(n.machine); err == nil || !strings.Contains(err.Error(), "PCR 17 is ff") {
		t.Errorf("error = %v, want one that shows PCR 17", err)
	}
}

func TestSwtpmHoldsTheStateTooWhileItRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n, err := Start(t.Context(), Options{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	// As if this process had been killed and swtpm had not noticed yet.
	if err := n.dir.lock.Close(); err != nil {
		t.Fatal(err)
	}

	if second, err := Start(t.Context(), Options{StateDir: dir}); !errors.Is(err, ErrStateInUse) {
		t.Errorf("error = %v, want %v", err, ErrStateInUse)
		if err == nil {
			_ = second.Close()
		}
	}
	if err := n.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close with the lock gone: error = %v, want %v", err, os.ErrClosed)
	}
}

func TestControlCommandThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	n, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()

	if err := n.machine.ctrl.setLocality(5); err == nil {
		t.Error("locality 5 was taken")
	}
}

func TestResponseOfAnImpossibleSizeIsRefused(t *testing.T) {
	t.Parallel()
	for _, size := range []uint32{0, headerSize - 1, maxFrame + 1, 0xffffffff} {
		response := binary.BigEndian.AppendUint32([]byte{0x80, 0x01}, size)
		response = append(response, make([]byte, 2*maxFrame)...)
		if _, err := readResponse(bytes.NewReader(response)); err == nil {
			t.Errorf("%d bytes: no error", size)
		}
	}
}

func TestTailKeepsTheLastWords(t *testing.T) {
	t.Parallel()
	var said tail
	if got := said.String(); got != "it said nothing" {
		t.Errorf("nothing = %q", got)
	}

	for range 3 * maxTail {
		_, _ = said.Write([]byte("x"))
	}
	_, _ = said.Write(append(bytes.Repeat([]byte("y"), 2*maxTail), "\nthe end\n"...))
	got := said.String()
	if !strings.HasSuffix(got, "y; the end") || len(got) > maxTail+1 || strings.Contains(got, "x") {
		t.Errorf("%d bytes, %.20q...", len(got), got)
	}
}
