package tpmsim_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// notCommands returns frames that must not reach a TPM.
func notCommands(t *testing.T) map[string][]byte {
	t.Helper()

	getRandom := []byte{0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8}
	edit := func(change func(b []byte)) []byte {
		b := append([]byte(nil), getRandom...)
		change(b)
		return b
	}
	tooLong := make([]byte, 4097)
	copy(tooLong, getRandom)
	binary.BigEndian.PutUint32(tooLong[2:], uint32(len(tooLong)))

	return map[string][]byte{
		"nothing":                       nil,
		"half a header":                 getRandom[:9],
		"response tag of TPM 1.2":       edit(func(b []byte) { b[0], b[1] = 0x00, 0xc4 }),
		"tag above the two":             edit(func(b []byte) { b[1] = 3 }),
		"tag below the two":             edit(func(b []byte) { b[1] = 0 }),
		"size one too small":            edit(func(b []byte) { b[5] = 11 }),
		"size one too large":            edit(func(b []byte) { b[5] = 13 }),
		"size below the header's":       edit(func(b []byte) { b[5] = 9 }),
		"size of 4 GiB":                 edit(func(b []byte) { b[2], b[3], b[4], b[5] = 0xff, 0xff, 0xff, 0xff }),
		"two commands":                  append(edit(func([]byte) {}), getRandom...),
		"longer than the TPM's buffer":  tooLong,
		"prefix that takes locality 2":  localityPrefix(t, 2),
		"prefix that takes locality 4":  localityPrefix(t, 4),
		"prefix without a command":      localityPrefix(t, 2)[:9],
		"end of session of that prefix": {0, 0, 0, 20},
	}
}

// localityPrefix returns an extend of PCR 18 behind the prefix by which swtpm's
// data channel takes a locality from anyone.
func localityPrefix(t *testing.T, locality byte) []byte {
	t.Helper()

	const sendCommand = 8
	cmd := extendCommand(t, 18)
	b := append(binary.BigEndian.AppendUint32(nil, sendCommand), locality)
	b = binary.BigEndian.AppendUint32(b, uint32(len(cmd)))
	return append(b, cmd...)
}

func TestSendRefusesWhatIsNoCommand(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	before := allPCRs(t, n)

	for name, frame := range notCommands(t) {
		if _, err := n.Send(frame); !errors.Is(err, tpmsim.ErrBadFrame) {
			t.Errorf("%s: error = %v, want %v", name, err, tpmsim.ErrBadFrame)
		}
	}
	if diff := cmp.Diff(before, allPCRs(t, n)); diff != "" {
		t.Errorf("PCRs (-before +after):\n%s", diff)
	}
}

func TestSendTakesTheLongestCommand(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	cmd := make([]byte, 4096)
	copy(cmd, []byte{0x80, 0x01, 0, 0, 0x10, 0, 0, 0, 1, 0x7b})

	response, err := n.Send(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if code := binary.BigEndian.Uint32(response[6:]); code == 0 {
		t.Error("a GetRandom with 4084 bytes too many succeeded")
	}
	resetCount(t, n) // the channel is still in step
}
