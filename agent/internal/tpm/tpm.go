package tpm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Options say which TPM to own and how.
type Options struct {
	// Open opens the device; called again whenever the way to the TPM breaks.
	Open func() (transport.TPMCloser, error)
	// Algorithm and Handle are the AK's.
	Algorithm KeyAlgorithm
	Handle    tpm2.TPMHandle
	// Queue is how many callers may wait for the TPM at a time.
	Queue int
	// Logger gets what an operator has to know.
	Logger *slog.Logger
	// OnRetry, if set, is called for each response that asks for a retry.
	OnRetry func(code tpm2.TPMRC)
	// OnState, if set, is called with each new state, in order.
	OnState func(State)
}

// TPM owns one TPM. Its methods may be called from any goroutine.
type TPM struct {
	options Options

	// turn holds a token while somebody uses what follows it. Callers queue up on it in the order of their coming.
	turn    chan struct{}
	session *session

	// akName is the Name of the first AK that was set up: another one is never used in its place.
	akName []byte

	waiting atomic.Int32
	state   atomic.Pointer[State]
	// tried is closed when the TPM was opened for the first time, or could not be.
	tried chan struct{}
	// lost wakes Run when the session is no longer good.
	lost chan struct{}
}

// State is what is known of the TPM now.
type State struct {
	// Err is why quotes can't be made; nil if they can.
	Err error
	// AK and Properties are set when Err is nil.
	AK         *AK
	Properties Properties
}

// session is an open TPM with its AK. It is used under TPM.turn only.
type session struct {
	line       *line
	ak         *AK
	properties *Properties
	// pcrs are the last values read.
	pcrs map[pcrKey][]byte
	// stale says that the AK has to be set up again before the next use.
	stale   bool
	publish func()
}

// New returns the owner of a TPM that Run will open.
func New(options Options) *TPM {
	if options.OnRetry == nil {
		options.OnRetry = func(tpm2.TPMRC) {}
	}

	if options.OnState == nil {
		options.OnState = func(State) {}
	}

	t := &TPM{options: options, turn: make(chan struct{}, 1), tried: make(chan struct{}), lost: make(chan struct{}, 1)}
	t.state.Store(&State{Err: fmt.Errorf("%w: not opened yet", ErrAbsent)})

	return t
}

// State tells whether quotes can be made.
func (t *TPM) State() State {
	return *t.state.Load()
}

// Settled waits until the TPM was opened for the first time, or could not be, and tells whether quotes can be made: a caller who comes while the agent starts is not
// sent away. Its error is ctx's own.
func (t *TPM) Settled(ctx context.Context) (State, error) {
	select {
	case <-t.tried:
		return t.State(), nil
	case <-ctx.Done():
		return State{}, context.Cause(ctx)
	}
}

// reopen intervals: short at first, for a TPM that comes up with the machine; then rarely, for one that stays away.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// Run opens the TPM, sets up the AK, and does so again whenever the TPM was lost. It returns nil when ctx ends, with the TPM closed.
func (t *TPM) Run(ctx context.Context) error {
	wait := firstRetry
	settled := sync.OnceFunc(func() { close(t.tried) })

	for ctx.Err() == nil {
		err := t.open(ctx)
		settled()

		if err == nil {
			wait = firstRetry

			select {
			case <-ctx.Done():
			case <-t.lost:
			}

			continue
		}

		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}

		wait = min(2*wait, lastRetry)
	}

	return t.close()
}

// open opens the device unless it is open, and sets up the AK.
func (t *TPM) open(ctx context.Context) error {
	if err := t.wait(ctx); err != nil {
		return err
	}
	defer t.release()

	if t.session == nil {
		device, err := t.options.Open()
		if err != nil {
			return t.fail(fmt.Errorf("%w: %w", ErrAbsent, err))
		}

		t.session = &session{line: &line{device: device, sleep: time.Sleep, retries: t.options.OnRetry}, publish: t.publish}
	}

	if err := t.setUp(); err != nil {
		return t.fail(err)
	}

	t.options.Logger.Info("ready to quote", "ak_name", fmt.Sprintf("%x", t.session.ak.Name), "ak_handle", fmt.Sprintf("0x%08x", t.session.ak.Handle),
		"tpm_manufacturer", t.session.properties.Manufacturer)

	return nil
}

// setUp reads what the TPM says of itself and provisions the AK. It never changes keys by itself: another TPM, or another endorsement seed, gives another
// key, and that is for an operator to decide.
func (t *TPM) setUp() error {
	s := t.session

	properties, err := readProperties(s.line)
	if err != nil {
		return err
	}

	ak, err := provisionAK(s.line, t.options.Algorithm, t.options.Handle)
	if err != nil {
		return err
	}

	if t.akName != nil && !bytes.Equal(t.akName, ak.Name) {
		return fmt.Errorf("%w: this TPM derives %x, before it was %x", ErrAKInvalidated, ak.Name, t.akName)
	}

	if s.properties != nil {
		properties.MaxNonce = min(properties.MaxNonce, s.properties.MaxNonce)
	}

	t.akName = ak.Name
	s.properties, s.ak, s.stale, s.pcrs = properties, ak, false, make(map[pcrKey][]byte)
	t.publish()

	return nil
}

// setState makes a state known; the caller holds the turn.
func (t *TPM) setState(state State) {
	t.state.Store(&state)
	t.options.OnState(state)
}

// publish makes the session's state known.
func (t *TPM) publish() {
	t.setState(State{AK: t.session.ak, Properties: *t.session.properties})
}

// use waits for its turn and lets do talk to the TPM. When do finds the AK gone from its handle, as after TPM2_Clear, it is set up again and do
// gets a second try.
func (t *TPM) use(ctx context.Context, do func(*session) error) error {
	if int(t.waiting.Add(1)) > t.options.Queue {
		t.waiting.Add(-1)

		return ErrQueueFull
	}

	err := t.wait(ctx)
	t.waiting.Add(-1)

	if err != nil {
		return err
	}
	defer t.release()

	if err := t.State().Err; err != nil {
		return err
	}

	err = do(t.session)
	if err != nil && t.session.stale && !t.session.line.broken {
		if err = t.setUp(); err == nil {
			err = do(t.session)
		}
	}

	if err != nil && (t.session.stale || t.session.line.broken) {
		err = t.fail(err)
		t.lost <- struct{}{} // has room: Run takes one for each session that was good

		return err
	}

	return named(err)
}

// wait waits for the turn. Whoever has waited longest is next.
func (t *TPM) wait(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *TPM) release() {
	<-t.turn
}

// named gives what befell the line the names that callers know.
func named(err error) error {
	if errors.Is(err, errBroken) {
		return fmt.Errorf("%w: %w", ErrAbsent, err)
	}

	var code tpm2.TPMRC
	if errors.As(err, &code) && retryable(code) {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}

	return err
}

// fail makes known that quotes can't be made, and closes a device that answers no more. What it makes known it says once.
func (t *TPM) fail(err error) error {
	err = named(err)

	if known := t.State().Err; known == nil || known.Error() != err.Error() {
		t.options.Logger.Error("cannot quote", "error", err)
		t.setState(State{Err: err})
	}

	if t.session != nil && t.session.line.broken {
		_ = t.session.line.device.Close() // it is broken: there is nothing to learn from its last words
		t.session = nil
	}

	return err
}

// close ends the ownership.
func (t *TPM) close() error {
	t.turn <- struct{}{}
	defer t.release()

	t.setState(State{Err: fmt.Errorf("%w: the agent is shutting down", ErrAbsent)})

	if t.session == nil {
		return nil
	}

	err := t.session.line.device.Close()
	t.session = nil

	return err
}
