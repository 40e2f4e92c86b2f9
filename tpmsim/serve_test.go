package tpmsim_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

func TestServeAnswersClientsInTurn(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	dial := serve(t, n)
	want := allPCRs(t, n)

	var clients sync.WaitGroup
	for range 2 {
		tpm := dial()
		clients.Go(func() {
			for range 5 {
				if diff := cmp.Diff(want, allPCRs(t, tpm)); diff != "" {
					t.Errorf("PCRs (-Send +Serve):\n%s", diff)
				}
			}
		})
	}
	clients.Wait()
}

func TestServeClosesTheConnectionOfABadFrame(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	dial := serve(t, n)
	before := allPCRs(t, n)
	bystander := dial()

	for name, frame := range notCommands(t) {
		switch name {
		case "two commands", "size one too small":
			continue // in a stream these begin with a whole command
		}

		conn := dial()
		if _, err := conn.Write(frame); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = conn.CloseWrite() // fails if the connection is closed by now
		if answers := conn.readAll(); len(answers) != 0 {
			t.Errorf("%s: was answered with %x", name, answers)
		}
	}
	if diff := cmp.Diff(before, allPCRs(t, bystander)); diff != "" {
		t.Errorf("PCRs (-before +after):\n%s", diff)
	}
}

func TestServedTPMIsAtLocality0(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	tpm := serve(t, n)()

	response, err := tpm.Send(extendCommand(t, 18))
	if err != nil {
		t.Fatal(err)
	}
	if code := tpm2.TPMRC(binary.BigEndian.Uint32(response[6:])); !errors.Is(code, tpm2.TPMRCLocality) {
		t.Errorf("PCR_Extend of PCR 18 = %v, want TPM_RC_LOCALITY", code)
	}
}

func TestWhatAClientLeftLoadedIsFlushed(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	dial := serve(t, n)
	kept, _ := loadAK(t, n)

	// The TPM has room for three objects: without a flush the third client of
	// these, each with an object and a session, finds none.
	for range 5 {
		tpm := dial()
		loadAK(t, tpm)
		if _, _, err := tpm2.HMACSession(tpm, tpm2.TPMAlgSHA256, 16); err != nil {
			t.Fatal(err)
		}
		tpm.hangUp()
	}

	if _, err := (tpm2.FlushContext{FlushHandle: kept}).Execute(n); err != nil {
		t.Errorf("what the node's owner loaded was flushed too: %v", err)
	}
}

func TestHandleThatChangedHandsIsNotFlushedForItsFirstOwner(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	dial := serve(t, n)
	first, second := dial(), dial()

	old, _ := loadAK(t, first)
	if _, err := (tpm2.FlushContext{FlushHandle: old}).Execute(first); err != nil {
		t.Fatal(err)
	}
	reused, _ := loadAK(t, second)
	if reused != old {
		t.Fatalf("the TPM gave %#x, want %#x again", uint32(reused), uint32(old))
	}
	first.hangUp()

	if _, err := (tpm2.ReadPublic{ObjectHandle: reused}).Execute(second); err != nil {
		t.Errorf("the second client's object is gone: %v", err)
	}
}

func TestServeGoesOnOverAReboot(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	tpm := serve(t, n)()
	count := resetCount(t, tpm)

	if err := n.Reboot(t.Context(), tpmsim.Trusted); err != nil {
		t.Fatal(err)
	}
	if got := resetCount(t, tpm); got <= count {
		t.Errorf("resetCount = %d after the reboot, %d before", got, count)
	}
}

func TestServeEndsWhenItsListenerIsClosed(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	l := listen(t)
	served := make(chan error)
	go func() { served <- n.Serve(t.Context(), l) }()
	tpm := dialTPM(t, l)
	resetCount(t, tpm)

	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if rest := tpm.readAll(); len(rest) != 0 {
		t.Errorf("the connection said %x at its end", rest)
	}
}

func TestClosedNodeHangsUp(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	tpm := serve(t, n)()
	resetCount(t, tpm)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	if _, err := (tpm2.GetRandom{BytesRequested: 8}).Execute(tpm); err == nil {
		t.Error("a command was answered")
	}
}

// serve serves n on a unix socket until the test ends, and checks that Serve then
// returns without an error. It returns a function that connects.
func serve(t *testing.T, n *tpmsim.Node) (dial func() *servedTPM) {
	t.Helper()

	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- n.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return func() *servedTPM { return dialTPM(t, l) }
}

func listen(t *testing.T) net.Listener {
	t.Helper()

	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "tpm"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// servedTPM is a client of Serve.
type servedTPM struct {
	*net.UnixConn
	t *testing.T
}

func dialTPM(t *testing.T, l net.Listener) *servedTPM {
	t.Helper()

	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &servedTPM{conn.(*net.UnixConn), t}
}

// Send implements transport.TPM.
func (s *servedTPM) Send(cmd []byte) ([]byte, error) {
	if _, err := s.Write(cmd); err != nil {
		return nil, err
	}
	response := make([]byte, 10)
	if _, err := io.ReadFull(s, response); err != nil {
		return nil, err
	}
	response = append(response, make([]byte, binary.BigEndian.Uint32(response[2:])-10)...)
	_, err := io.ReadFull(s, response[10:])
	return response, err
}

// readAll reads until the other side closes the connection. An error is such an
// end too: that side had bytes left to read.
func (s *servedTPM) readAll() []byte {
	b, _ := io.ReadAll(s)
	return b
}

// hangUp closes the connection and returns when the other side is done with it.
func (s *servedTPM) hangUp() {
	if err := s.CloseWrite(); err != nil {
		s.t.Fatal(err)
	}
	s.readAll()
}
