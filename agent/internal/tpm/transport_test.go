package tpm

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// scripted answers with one response code after the other, the last one for ever.
type scripted struct {
	codes []tpm2.TPMRC
	sent  int
}

func (s *scripted) Send([]byte) ([]byte, error) {
	code := s.codes[min(s.sent, len(s.codes)-1)]
	s.sent++

	return binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, 10}, uint32(code)), nil
}

func (s *scripted) Close() error { return nil }

func TestCommandsAreRepeatedWhenTheTPMAsksForIt(t *testing.T) {
	t.Parallel()

	for _, code := range []tpm2.TPMRC{0x922, 0x908, 0x90A, 0x920} { // RETRY, YIELDED, TESTING, NV_RATE
		device := &scripted{codes: []tpm2.TPMRC{code, code, tpm2.TPMRCSuccess}}
		retried := 0
		l := &line{device: device, watch: &watch{}, sleep: func(time.Duration) {}, retries: func(tpm2.TPMRC) { retried++ }}

		response, err := l.Send(make([]byte, headerSize))
		if err != nil || binary.BigEndian.Uint32(response[6:]) != 0 || retried != 2 {
			t.Errorf("%v: response %x, %v after %d retries", code, response, err, retried)
		}
	}
}

func TestRetriesAreBounded(t *testing.T) {
	t.Parallel()

	var slept time.Duration

	l := &line{
		device:  &scripted{codes: []tpm2.TPMRC{tpm2.TPMRCRetry}},
		sleep:   func(d time.Duration) { slept += d },
		retries: func(tpm2.TPMRC) {},
		watch:   &watch{},
	}

	_, err := tpm2.GetRandom{BytesRequested: 8}.Execute(l)
	if !errors.Is(named(err), ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}

	if slept < retryFor || slept > 2*retryFor {
		t.Errorf("gave up after %v, want %v to %v", slept, retryFor, 2*retryFor)
	}
}

func TestOtherCodesAreNotRepeated(t *testing.T) {
	t.Parallel()

	device := &scripted{codes: []tpm2.TPMRC{tpm2.TPMRCFailure}}
	l := &line{device: device, watch: &watch{}, sleep: func(time.Duration) {}, retries: func(tpm2.TPMRC) {}}

	if _, err := l.Send(make([]byte, headerSize)); err != nil || device.sent != 1 {
		t.Errorf("sent %d times, %v", device.sent, err)
	}
}
