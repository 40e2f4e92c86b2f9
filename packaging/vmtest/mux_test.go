package vmtest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/sys/unix"

	"github.com/trustpool/trustpool/packaging/vmtest"
)

// qemu does with the board what the real one's tpm_emulator does.
type qemu struct {
	t             *testing.T
	control, data net.Conn
}

// connect hands over a data channel and powers the TPM, as QEMU does at its start.
func connect(t *testing.T, b *board) *qemu {
	t.Helper()

	control, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: b.socket})
	if err != nil {
		t.Fatal(err)
	}

	data, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()

	request := binary.BigEndian.AppendUint32(nil, 0x10) // CMD_SET_DATAFD
	if _, _, err := control.WriteMsgUnix(request, unix.UnixRights(int(theirs.Fd())), nil); err != nil {
		t.Fatal(err)
	}

	m := &qemu{t, control, data}
	m.response(4)
	m.ask(0x02, 0, 0, 0, 0) // CMD_INIT, no flags

	if _, err := (tpm2.Startup{StartupType: tpm2.TPMSUClear}).Execute(m); err != nil {
		t.Fatal(err)
	}

	return m
}

// Send implements transport.TPM.
func (m *qemu) Send(command []byte) ([]byte, error) {
	if _, err := m.data.Write(command); err != nil {
		return nil, err
	}

	response := make([]byte, 4096)
	n, err := m.data.Read(response)

	return response[:n], err
}

// ask makes a control request whose response is a result, which has to be success.
func (m *qemu) ask(command uint32, body ...byte) {
	m.t.Helper()

	if _, err := m.control.Write(append(binary.BigEndian.AppendUint32(nil, command), body...)); err != nil {
		m.t.Fatal(err)
	}

	m.response(4)
}

func (m *qemu) response(size int) {
	m.t.Helper()

	response := make([]byte, size)
	if _, err := io.ReadFull(m.control, response); err != nil {
		m.t.Fatal(err)
	}

	if result := binary.BigEndian.Uint32(response); result != 0 {
		m.t.Fatalf("control result %#x", result)
	}
}

func (m *qemu) pcr(number uint) []byte {
	m.t.Helper()

	read, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(number)},
	}}}.Execute(m)
	if err != nil || len(read.PCRValues.Digests) != 1 {
		m.t.Fatalf("reading PCR %d: %v", number, err)
	}

	return read.PCRValues.Digests[0].Buffer
}

func extended(value []byte, digest [32]byte) []byte {
	sum := sha256.Sum256(append(slices.Clone(value), digest[:]...))

	return sum[:]
}

func TestALaunchGivesThePCRsTheirValuesAndLeavesTheMachineAtLocality0(t *testing.T) {
	t.Parallel()

	b := newBoard(t)
	m := connect(t, b)

	if !bytes.Equal(m.pcr(17), bytes.Repeat([]byte{0xff}, 32)) {
		t.Errorf("PCR 17 before the launch is %x", m.pcr(17))
	}

	digest := sha256.Sum256([]byte("the measured environment"))
	digests := []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: digest[:]}}

	err := b.Launch(vmtest.Launch{HashStart: []byte("SINIT"), Extends: []vmtest.Extend{{3, 17, digests}, {2, 18, digests}}})
	if err != nil {
		t.Fatal(err)
	}

	zeros := make([]byte, 32)
	want17, want18 := extended(extended(zeros, sha256.Sum256([]byte("SINIT"))), digest), extended(zeros, digest)

	if got := m.pcr(17); !bytes.Equal(got, want17) {
		t.Errorf("PCR 17 is %x, want %x", got, want17)
	}

	if got := m.pcr(18); !bytes.Equal(got, want18) {
		t.Errorf("PCR 18 is %x, want %x", got, want18)
	}

	_, err = tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{Handle: 17, Auth: tpm2.PasswordAuth(nil)}, Digests: tpm2.TPMLDigestValues{Digests: digests}}.Execute(m)
	if err == nil {
		t.Error("the machine can extend PCR 17")
	}
}

func TestAWatchTellsOfEachCommandAndItsResult(t *testing.T) {
	t.Parallel()

	b := newBoard(t)
	m := connect(t, b)

	stop := b.Watch()
	m.pcr(0)

	var group sync.WaitGroup

	group.Go(func() {
		if _, err := (tpm2.GetRandom{BytesRequested: 8}).Execute(b); err != nil {
			t.Error(err)
		}
	})
	group.Wait()

	_, err := tpm2.FlushContext{FlushHandle: tpm2.TPMHandle(0x80000000)}.Execute(m)
	if err == nil {
		t.Error("what is not loaded was flushed")
	}

	want := []tpm2.TPMCC{tpm2.TPMCCPCRRead, tpm2.TPMCCGetRandom, tpm2.TPMCCFlushContext}

	got := stop()
	if len(got) != len(want) {
		t.Fatalf("saw %v, want %v", got, want)
	}

	for i, command := range got {
		if command.Code != uint32(want[i]) || (command.Result == 0) != (i < 2) || command.Took <= 0 {
			t.Errorf("command %d: %+v, want %v", i, command, want[i])
		}
	}

	m.pcr(0)

	if again := stop(); len(again) != len(want) {
		t.Errorf("after the watch: %d commands", len(again))
	}
}

func TestTheTPMEndsWithTheMachine(t *testing.T) {
	t.Parallel()

	b := newBoard(t)
	m := connect(t, b)

	_ = m.control.Close()

	<-b.ended
}

func TestATPMThatNobodyComesToEndsWithItsContext(t *testing.T) {
	t.Parallel()

	b := newBoard(t)
	b.stop()
	<-b.ended
}
