package client_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
	"github.com/trustpool/trustpool/verifier/saved"
)

// gate lets quotes through, unless it is shut.
type gate struct {
	transport.TPM
	mu sync.Mutex
}

// Send waits at a shut gate before TPM2_Quote, whose command code follows tag and size (TPM 2.0 Part 1, 18.4).
func (g *gate) Send(command []byte) ([]byte, error) {
	if len(command) >= 10 && tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCQuote {
		g.mu.Lock()
		defer g.mu.Unlock()
	}
	return g.TPM.Send(command)
}

// together asks for a quote that may be signed together with others.
func together(ctx context.Context, c *client.Client) (verifier.Evidence, error) {
	nonce, err := client.NewNonce()
	if err != nil {
		return verifier.Evidence{}, err
	}
	reply, err := c.Quote(ctx, client.QuoteOptions{Nonce: nonce, AcceptAggregation: true, WantLogs: []string{"txt"}})
	if err == nil && reply.Evidence.Aggregation == nil {
		err = errors.New("it was not signed as one of a tree")
	}
	return reply.Evidence, err
}

// judged is the policy for evidence by its own nonce, as the asking end has it.
func judged(ev verifier.Evidence, policy verifier.Policy) verifier.Result {
	policy.Nonce = ev.Nonce
	return verifier.Verify(ev, policy)
}

func TestARealAgentsQuoteOfATree(t *testing.T) {
	t.Parallel()

	node := startNode(t)
	policy := node.learned(t)
	c := node.dial(t, node.address)

	ev, err := together(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	result := judged(ev, policy)
	if result.Verdict != verifier.Trusted || result.Aggregated == nil || *result.Aggregated != (verifier.Aggregated{Size: 1}) {
		t.Fatalf("%+v: %v", result.Aggregated, result)
	}

	dir := filepath.Join(t.TempDir(), "evidence")
	if err := saved.Write(dir, ev); err != nil {
		t.Fatal(err)
	}
	again, err := saved.Read(dir)
	if diff := cmp.Diff(ev, again, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v (-written +read):\n%s", err, diff)
	}

	policy.ForbidAggregation = true
	wantOnlyNonceRefused(t, judged(ev, policy), "which the policy forbids")
}

func TestWhoDoesNotAskForItIsAnsweredAlone(t *testing.T) {
	t.Parallel()

	node := startNode(t)
	policy := node.learned(t)
	policy.ForbidAggregation = true
	c := node.dial(t, node.address)
	if ev, result := challenge(t, c, policy, false); result.Verdict != verifier.Trusted || ev.Aggregation != nil {
		t.Errorf("%+v: %v", ev.Aggregation, result)
	}

	// A bare nonce is never in a tree, whatever the request says.
	raw, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	policy.BindMode, policy.Nonce = verifier.BindRaw, raw
	reply, err := c.Quote(t.Context(), client.QuoteOptions{Nonce: raw, Raw: true, AcceptAggregation: true, WantLogs: []string{"txt"}})
	if err != nil {
		t.Fatal(err)
	}
	if result := verifier.Verify(reply.Evidence, policy); result.Verdict != verifier.Trusted || reply.Evidence.Aggregation != nil {
		t.Errorf("%+v: %v", reply.Evidence.Aggregation, result)
	}
}

// TestACrowdIsAnsweredTogether, and nobody's answer is good for a neighbour.
func TestACrowdIsAnsweredTogether(t *testing.T) {
	t.Parallel()

	var doors gate
	node := startNodeBehind(t, func(tpm transport.TPM) transport.TPM {
		doors.TPM = tpm
		return &doors
	})
	policy := node.learned(t)
	callers := []*client.Client{node.dial(t, node.address), node.dial(t, node.address)}

	// Whether a call waits already can't be seen from here, so that a round may come to no crowd.
	crowd := make([]verifier.Evidence, 8)
	for round := 0; crowd[0].Aggregation == nil || sizeOf(crowd) < 2; round++ {
		if round == 100 {
			t.Fatal("nobody was ever answered together with others")
		}
		doors.mu.Lock()
		var calls sync.WaitGroup
		errs := make([]error, len(crowd)+len(callers))
		for i := range crowd {
			calls.Go(func() { crowd[i], errs[i] = together(t.Context(), callers[i%len(callers)]) })
		}
		for i, c := range callers {
			_, errs[len(crowd)+i] = c.Capabilities(t.Context())
		}
		doors.mu.Unlock()
		calls.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}

	for i, ev := range crowd {
		if result := judged(ev, policy); result.Verdict != verifier.Trusted {
			t.Fatalf("caller %d, %+v: %v", i, ev.Aggregation, result)
		}
		for j, other := range crowd {
			if i == j || !bytes.Equal(ev.Quoted, other.Quoted) {
				continue
			}
			stolen := ev
			stolen.Aggregation = other.Aggregation
			wantOnlyNonceRefused(t, judged(stolen, policy), "none of those signed together binds the caller's connection")
		}
	}
}

// sizeOf is that of the largest tree.
func sizeOf(crowd []verifier.Evidence) uint32 {
	var most uint32
	for _, ev := range crowd {
		most = max(most, ev.Aggregation.Size)
	}
	return most
}

// TestARelayedQuoteOfATreeIsRefused: the relay may ask for it on its own connection, even while the one who asks it does so at the node.
func TestARelayedQuoteOfATreeIsRefused(t *testing.T) {
	t.Parallel()

	node := startNode(t)
	policy := node.learned(t)
	for name, change := range map[string]func(*agentv1.QuoteRequest){
		"as it came":            func(*agentv1.QuoteRequest) {},
		"always of a tree":      func(r *agentv1.QuoteRequest) { r.AcceptAggregation = true },
		"bare, and of a tree":   func(r *agentv1.QuoteRequest) { r.BindMode, r.AcceptAggregation = agentv1.BindMode_BIND_MODE_RAW, true },
		"never of a tree":       func(r *agentv1.QuoteRequest) { r.AcceptAggregation = false },
		"bare and never a tree": func(r *agentv1.QuoteRequest) { r.BindMode, r.AcceptAggregation = agentv1.BindMode_BIND_MODE_RAW, false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nonce, err := client.NewNonce()
			if err != nil {
				t.Fatal(err)
			}
			reply, err := node.dial(t, node.serveRelay(t, change)).Quote(t.Context(), client.QuoteOptions{Nonce: nonce, AcceptAggregation: true, WantLogs: []string{"txt"}})
			if err != nil {
				t.Fatal(err)
			}
			wantOnlyNonceRefused(t, judged(reply.Evidence, policy), "")
		})
	}
}
