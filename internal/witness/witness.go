// Package witness is a caller of an agent that believes nothing: it holds each reply of Quote against the keys, the PCRs and the logs that a test knows the node to
// have. What it demands is the promise under every fault: a reply that says OK verifies; otherwise there is no reply.
package witness

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Truth is what a node really is at one time. It has to come from somewhere else than the agent.
type Truth struct {
	// AKs are the keys that may sign; each has Name and Public. One that is missing is looked for by the witness's Keys.
	AKs []verifier.AKPin
	// PCRs are the values of PCRs. Those that are not there are left to the signature, which is over the TPM's own.
	PCRs map[PCR][]byte
	// Logs are the bytes of logs, by source. A reply that says that such a log is available has to name these bytes, and to hold them if it holds any; nil bytes: it must
	// not be called available. Sources that are not there are left to their digest.
	Logs map[string][]byte
}

// PCR names one PCR of one bank.
type PCR struct {
	// Bank is the bank's hash.
	Bank eventlog.Alg
	// Index is 0 to 23.
	Index int
}

// Options say whom a witness tells what.
type Options struct {
	// Failed is called with each reply that does not hold; from several goroutines at a time.
	Failed func(error)
	// Keys, if not nil, is asked for the public area (TPMT_PUBLIC, TPM 2.0 Part 2, 12.2.4) of a key by its Name, if no Truth has it. It has to ask the TPM itself. false: there is
	// no such key.
	Keys func(name []byte) (public []byte, ok bool)
	// Answered, if not nil, is called at the end of each call of Quote: with nil for a reply that held, else with the error that the caller got.
	Answered func(err error)
}

// Witness checks replies. Its methods may be called from any goroutine.
type Witness struct {
	options Options

	mu sync.Mutex
	// truths are those in force, guarded by mu, as are watching: what each call under way may be answered by.
	truths   []Truth
	watching map[*watch]struct{}
	verified int
}

// watch is one call under way, with all that was true since it began.
type watch struct {
	truths []Truth
}

// New returns a witness to whom anything is true of PCRs and logs, and no key but those of Options.Keys.
func New(options Options) *Witness {
	return &Witness{options: options, truths: []Truth{{}}, watching: make(map[*watch]struct{})}
}

// Know says what is true from now on. Several truths are for a change under way, of which nobody can say when it happens: a call may be answered by any that was in force at
// some moment between its beginning and its end, but by one of them alone.
func (w *Witness) Know(truths ...Truth) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.truths = truths
	for call := range w.watching {
		call.truths = append(call.truths, truths...)
	}
}

// Verified tells how many replies held.
func (w *Witness) Verified() int {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.verified
}

// Check holds one reply, which the server has given to the request, against what is true.
func Check(truth Truth, request *agentv1.QuoteRequest, response *agentv1.QuoteResponse, server *peer.Peer) error {
	r, err := take(request, response, server)
	if err != nil {
		return err
	}

	return r.hold(truth)
}

// Unary is an interceptor that checks each reply of Quote, and leaves other calls alone.
func (w *Witness) Unary() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		request, ok := req.(*agentv1.QuoteRequest)
		if !ok {
			return invoke(ctx, method, req, reply, cc, opts...)
		}

		call := w.begin()
		defer w.end(call)

		var server peer.Peer

		err := invoke(ctx, method, req, reply, cc, append(opts, grpc.Peer(&server))...)
		if err == nil {
			if wrong := w.check(call, request, reply.(*agentv1.QuoteResponse), &server); wrong != nil {
				w.options.Failed(fmt.Errorf("a reply that says OK does not hold: %w", wrong))
			}
		}

		if w.options.Answered != nil {
			w.options.Answered(err)
		}

		return err
	}
}

func (w *Witness) begin() *watch {
	w.mu.Lock()
	defer w.mu.Unlock()

	call := &watch{truths: append([]Truth(nil), w.truths...)}
	w.watching[call] = struct{}{}

	return call
}

func (w *Witness) end(call *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()

	delete(w.watching, call)
}

// check holds a reply against what was true during its call.
func (w *Witness) check(call *watch, request *agentv1.QuoteRequest, response *agentv1.QuoteResponse, server *peer.Peer) error {
	r, err := take(request, response, server)
	if err != nil {
		return err
	}

	w.mu.Lock()
	truths := append([]Truth(nil), call.truths...)
	w.mu.Unlock()

	errs := []error{errors.New("it fits nothing that is true")}

	for _, truth := range truths {
		err := r.hold(w.withKey(truth, r.akName))
		if err == nil {
			w.mu.Lock()
			w.verified++
			w.mu.Unlock()

			return nil
		}

		errs = append(errs, err)
	}

	return errors.Join(errs...)
}

// withKey adds the key of that Name to a truth that does not have it, if the TPM does.
func (w *Witness) withKey(truth Truth, name []byte) Truth {
	for _, pin := range truth.AKs {
		if string(pin.Name) == string(name) {
			return truth
		}
	}

	if w.options.Keys == nil {
		return truth
	}

	if public, ok := w.options.Keys(name); ok {
		truth.AKs = append(append([]verifier.AKPin(nil), truth.AKs...), verifier.AKPin{Name: name, Public: public, Binding: verifier.BindingFirstUse})
	}

	return truth
}
