package tpm

import (
	"context"
	"encoding/hex"
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
	// Algorithm is that of AKs yet to be made.
	Algorithm KeyAlgorithm
	// Handle is the first AK's persistent handle.
	Handle tpm2.TPMHandle
	// TLSHandle is the TLS key's persistent handle. 0: there is no TLS key.
	TLSHandle tpm2.TPMHandle
	// Auths are the authorisation values that an operator set.
	Auths Auths
	// RecordFile remembers the AKs; its folder exists. Empty: nothing is remembered beyond this process.
	RecordFile string
	// EKCertificate is a file (DER or PEM) with the EK's certificate, for a TPM that has none in NV. Empty: none.
	EKCertificate string
	// Queue is how many calls may wait for the TPM at a time; half of them may be one caller's.
	Queue int
	// Logger gets what an operator has to know.
	Logger *slog.Logger
	// OnRetry, if set, is called for each response that asks for a retry.
	OnRetry func(code tpm2.TPMRC)
	// OnState, if set, is called with each new state, in order.
	OnState func(State)
	// OnTurn, if set, is called at the end of each call that used the TPM or wanted to, with the call's context; those that one quote answered each tell of it.
	OnTurn func(context.Context, Turn)
	// OnBatch, if set, is called with the number of callers that an aggregated quote is for, before it is made.
	OnBatch func(size int)
	// OnQueue, if set, is called with the number of callers that wait for the TPM, whenever that changes. It must not call back.
	OnQueue func(waiting int)
}

// TPM owns one TPM. Its methods may be called from any goroutine.
type TPM struct {
	options Options

	mu     sync.Mutex
	queue  queue  // guarded by mu
	groups groups // guarded by mu

	// session and record are used by who has the turn.
	session *tpmSession
	// record is nil until it was read, or the AKs were found.
	record *Record

	// handshake holds a token while a handshake waits for its turn or has it; handshakes counts those and all that wait for the token.
	handshake  chan struct{}
	handshakes atomic.Int32
	// tlsFailed wakes keepTryingTLS when the TLS key could not be set up.
	tlsFailed chan struct{}
	state     atomic.Pointer[State]
	// tried is closed when the TPM was opened for the first time, or could not be.
	tried chan struct{}
	// lost wakes Run when the session is no longer good.
	lost chan struct{}
	// watch is over the device.
	watch watch
}

// State is what is known of the TPM now.
type State struct {
	// Err is why quotes can't be made; nil if they can.
	Err error
	// Event is what led to this state.
	Event Event
	// AK, Properties, and during a rotation Pending, are set if Err is nil.
	AK, Pending *AK
	Properties  Properties
	// TLS is the TLS key, nil if there is none; TLSErr then says why, unless none was asked for.
	TLS    *TLSKey
	TLSErr error
}

// Event is something that an observer should hear of.
type Event uint8

// The events.
const (
	EventNone        Event = iota
	EventCleared           // the AK was gone from its handle, and the TPM gave the same one again
	EventReplaced          // the TPM does not give the AK on record
	EventRotation          // a rotation was begun or ended
	EventCertificate       // a certificate was installed
)

// tpmSession is an open TPM with its AKs. It is used by who has the turn.
type tpmSession struct {
	line       *line
	ak         *AK
	pending    *AK // nil unless an AK rotation is under way
	properties *Properties
	// tls is nil unless there is a TLS key that can be used; tlsErr says why it can't.
	tls    *TLSKey
	tlsErr error
	// pcrs are the last values read.
	pcrs map[pcrKey][]byte
	// prepared are the latest kinds of quotes.
	prepared []*prepared
	// creations are the creation data and tickets of AKs, by Name; kept for the same reason.
	creations map[string]*tpm2.CreatePrimaryResponse
	// eks are kept once they were read: deriving an RSA key may take a TPM half a minute.
	eks []EK
	// stale says that the AK has to be set up again before the next use.
	stale   bool
	publish func(Event)
}

// New returns the owner of a TPM that Run will open.
func New(options Options) *TPM {
	if options.OnRetry == nil {
		options.OnRetry = func(tpm2.TPMRC) {}
	}

	if options.OnState == nil {
		options.OnState = func(State) {}
	}

	if options.OnTurn == nil {
		options.OnTurn = func(context.Context, Turn) {}
	}

	if options.OnBatch == nil {
		options.OnBatch = func(int) {}
	}

	if options.OnQueue == nil {
		options.OnQueue = func(int) {}
	}

	t := &TPM{options: options, handshake: make(chan struct{}, 1), tried: make(chan struct{}), lost: make(chan struct{}, 1)}
	t.queue = queue{limit: options.Queue, perCaller: max(1, options.Queue/2)}
	t.tlsFailed = make(chan struct{}, 1)
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

// endWithin is how long the end waits for a command that is in the TPM. Together with the time that calls have to end it has to be less than TimeoutStopSec of the agent's unit.
const endWithin = 10 * time.Second

// Run opens the TPM, sets up the AK, and does so again whenever the TPM was lost. It returns nil when ctx ends, with the TPM closed; or ErrHung, if a command stays in the TPM
// for ten seconds longer: nothing can take it back, and a process that waits for it would have to be killed.
func (t *TPM) Run(ctx context.Context) error {
	done := make(chan error, 1)

	go func() { done <- t.run(ctx) }()

	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}

	select {
	case err := <-done:
		return err
	case <-time.After(endWithin):
		return fmt.Errorf("closing the TPM: %w: a command was still in it %v after the end was due", ErrHung, endWithin)
	}
}

// run is Run for as long as it takes.
func (t *TPM) run(ctx context.Context) error {
	var retrying sync.WaitGroup
	defer retrying.Wait()

	retrying.Go(func() { t.keepTryingTLS(ctx) })

	wait := firstRetry
	settled := sync.OnceFunc(func() { close(t.tried) })

	for ctx.Err() == nil {
		err := t.open(ctx)
		settled()

		if err == nil {
			wait = firstRetry

			t.watchOver(ctx)

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
	if err := t.enterOwn(ctx, ClassQuote); err != nil {
		return err
	}
	defer t.release(false)

	if t.session == nil {
		device, err := t.options.Open()
		if err != nil {
			return t.fail(fmt.Errorf("%w: %w", ErrAbsent, err))
		}

		t.session = &tpmSession{line: &line{device: device, sleep: time.Sleep, retries: t.options.OnRetry, watch: &t.watch}, publish: t.publish}
	}

	if err := t.setUp(); err != nil {
		return t.fail(err)
	}

	ak := t.session.ak
	t.options.Logger.Info("ready to quote", "ak_name", hex.EncodeToString(ak.Name()), "ak_handle", fmt.Sprintf("0x%08x", uint32(ak.handle)),
		"ak_transient", ak.Transient, "tpm_manufacturer", t.session.properties.Manufacturer)

	return nil
}

// keys gives access to the AKs.
func (t *TPM) keys() keys {
	return keys{t.session.line, t.options.Auths}
}

// setState makes a state known; the caller holds the turn.
func (t *TPM) setState(state State) {
	t.state.Store(&state)
	t.options.OnState(state)
}

// publish makes the session's state known.
func (t *TPM) publish(event Event) {
	s := t.session
	t.setState(State{Event: event, AK: s.ak, Pending: s.pending, Properties: *s.properties, TLS: s.tls, TLSErr: s.tlsErr})
}

// use waits for its turn and lets do talk to the TPM.
func (t *TPM) use(ctx context.Context, class Class, do func(*tpmSession) error) (err error) {
	turn := Turn{Class: class, Asked: time.Now()}
	defer func() { t.ended(ctx, turn, err) }()

	if err := t.enter(ctx, class); err != nil {
		return err
	}
	defer func() { t.release(err == nil) }()

	turn.began = time.Now()

	return t.work(do)
}

// work lets do talk to the TPM; the caller has the turn. When do finds the AK gone from its handle, as after TPM2_Clear, it is set up again and do gets a second try.
func (t *TPM) work(do func(*tpmSession) error) error {
	if err := t.State().Err; err != nil {
		return err
	}

	err := do(t.session)
	if err != nil && t.session.stale && !t.session.line.broken {
		if err = t.setUp(); err == nil {
			err = do(t.session)
		}
	}

	if err != nil && (t.session.stale || t.session.line.broken) {
		return t.lose(err)
	}

	return named(err)
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

		event := EventNone
		if errors.Is(err, ErrReplaced) {
			event = EventReplaced
		}

		t.setState(State{Err: err, Event: event})
	}

	if t.session != nil && t.session.line.broken {
		_ = t.session.line.device.Close() // it is broken: there is nothing to learn from its last words
		t.session = nil
	}

	return err
}

// lose is fail for a session that was good: Run has to set it up again.
func (t *TPM) lose(err error) error {
	err = t.fail(err)

	select {
	case t.lost <- struct{}{}:
	default: // Run is told already
	}

	return err
}

// close ends the ownership.
func (t *TPM) close() error {
	if err := t.enterOwn(context.Background(), ClassQuote); err != nil {
		return err
	}
	defer t.release(false)

	t.setState(State{Err: fmt.Errorf("%w: the agent is shutting down", ErrAbsent)})

	if t.session == nil {
		return nil
	}

	err := t.flushLoaded()
	err = errors.Join(err, t.session.line.device.Close())
	t.session = nil

	return err
}

// flushLoaded unloads keys that could not be kept at their handles.
func (t *TPM) flushLoaded() error {
	var errs []error

	for _, ak := range []*AK{t.session.ak, t.session.pending} {
		if ak != nil && ak.Transient {
			errs = append(errs, t.keys().flush(ak.handle))
		}
	}

	if tls := t.session.tls; tls != nil && tls.Transient {
		errs = append(errs, t.keys().flush(tls.handle))
	}

	return errors.Join(errs...)
}
