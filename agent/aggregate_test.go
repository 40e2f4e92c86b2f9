package agent_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// sharingNode is one that a crowd may ask, each by a name of its own, and whose quotes take some time.
func sharingNode(t *testing.T) *node {
	t.Helper()

	names := []string{"dns:first.crowd.example", "dns:admin.crowd.example", "dns:raw.crowd.example", "dns:bound.crowd.example"}
	for i := range 64 {
		names = append(names, fmt.Sprintf("dns:caller-%d.crowd.example", i))
	}

	n := newNodeWith(t, tpmsim.Trusted, func(config *agent.Config, _ *agent.Deps) {
		config.Listen.MaxConnectionsPerAddress = 2 * len(names)
		config.Clients = []agent.ClientRule{{SAN: names, Roles: agent.Roles(), Limits: agent.Limits{Rate: 100_000, Concurrent: 1000}}}
	})
	n.waitUntilServing(t)
	n.tpm.onQuote(func() { <-time.After(50 * time.Millisecond) })

	return n
}

// tlsAs returns what a caller of that name dials with.
func (n *node) tlsAs(t *testing.T, name string) *tls.Config {
	t.Helper()

	return &tls.Config{
		RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{n.issue(t, pki.Leaf{DNSNames: []string{name}, Client: true}).Certificate}, MinVersion: tls.VersionTLS13,
	}
}

// verifying is a client as an attestation server has it.
func (n *node) verifying(t *testing.T, name string) *client.Client {
	t.Helper()

	c, err := client.Dial(client.Options{Address: n.address, TLS: n.tlsAs(t, name)})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = c.Close() })

	return c
}

// share asks for a quote that may be shared, and judges it.
func share(ctx context.Context, c *client.Client, policy verifier.Policy) (verifier.Evidence, verifier.Result, error) {
	nonce, err := client.NewNonce()
	if err != nil {
		return verifier.Evidence{}, verifier.Result{}, err
	}

	reply, err := c.Quote(ctx, client.QuoteOptions{Nonce: nonce, AcceptAggregation: true, WantLogs: []string{"txt"}})
	if err != nil {
		return verifier.Evidence{}, verifier.Result{}, err
	}

	policy.Nonce, policy.BindMode = nonce, verifier.BindBound

	return reply.Evidence, verifier.Verify(reply.Evidence, policy), nil
}

func TestACrowdIsAnsweredByFewQuotesThatAllVerify(t *testing.T) {
	t.Parallel()

	const callers, rounds = 64, 3

	n := sharingNode(t)

	var (
		mu     sync.Mutex
		quotes int
		group  sync.WaitGroup
	)

	n.tpm.onQuote(func() {
		mu.Lock()
		quotes++
		mu.Unlock()

		<-time.After(200 * time.Millisecond)
	})

	first := n.verifying(t, "first.crowd.example")

	nonce, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}

	reply, err := first.Quote(t.Context(), client.QuoteOptions{Nonce: nonce, WantLogs: []string{"txt"}, AcceptAggregation: true})
	if err != nil {
		t.Fatal(err)
	}

	if a := reply.Evidence.Aggregation; a == nil || a.Size != 1 {
		t.Errorf("a lone caller got %+v", a)
	}

	knownGood, err := verifier.Learn(reply.Evidence, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound})
	if err != nil {
		t.Fatal(err)
	}

	for i := range callers {
		c := n.verifying(t, fmt.Sprintf("caller-%d.crowd.example", i))

		group.Go(func() {
			for range rounds {
				evidence, result, err := share(t.Context(), c, verifier.Policy{KnownGood: knownGood})
				if err != nil || result.Verdict != verifier.Trusted || evidence.Aggregation == nil {
					t.Errorf("caller %d: %v, %v, %+v", i, err, result.Verdict, evidence.Aggregation)
				}
			}
		})
	}

	group.Wait()

	// Dialing takes its time, so the first rounds are not full.
	if most := callers * rounds / 4; quotes > most {
		t.Errorf("%d replies took %d quotes, at most %d are right", callers*rounds, quotes, most)
	}
}

// TestARotationUnderLoadMakesNoReplyWrong rotates the AK while a crowd asks for the one in use.
func TestARotationUnderLoadMakesNoReplyWrong(t *testing.T) {
	t.Parallel()

	n := sharingNode(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()

	var group sync.WaitGroup

	seen := make(chan string, 1<<16)

	for i := range 16 {
		c := n.verifying(t, fmt.Sprintf("caller-%d.crowd.example", i))

		group.Go(func() {
			for ctx.Err() == nil {
				evidence, result, err := share(ctx, c, verifier.Policy{})
				if ctx.Err() != nil {
					return
				}

				if err != nil {
					t.Errorf("caller %d: %v", i, err)

					return
				}

				seen <- string(evidence.AKPublic)

				for _, check := range []verifier.CheckName{verifier.CheckNonce, verifier.CheckSignature} {
					if got := result.Check(check); got.Outcome != verifier.Passed {
						t.Errorf("caller %d: %s: %s", i, check, got.Detail)
					}
				}
			}
		})
	}

	conn, err := grpc.NewClient(n.address, grpc.WithTransportCredentials(credentials.NewTLS(n.tlsAs(t, "admin.crowd.example"))))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // what was asked is answered

	admin := agentv1.NewEnrollmentServiceClient(conn)
	keys := make(map[string]bool)

	// another waits for an AK that was not seen before.
	another := func() {
		for known := true; known; {
			select {
			case key := <-seen:
				known = keys[key]
				keys[key] = true
			case <-ctx.Done():
				t.Fatal("no quote by another AK")
			}
		}
	}
	another()

	for range 2 {
		next, err := admin.RotateAK(t.Context(), &agentv1.RotateAKRequest{})
		if err != nil {
			t.Fatal(err)
		}

		if _, err := admin.CommitAK(t.Context(), &agentv1.CommitAKRequest{AkName: next.GetAkName()}); err != nil {
			t.Fatal(err)
		}

		another()
	}

	stop()
	group.Wait()
}

func TestWhoHangsUpSpoilsNothingForTheOthers(t *testing.T) {
	t.Parallel()

	n := sharingNode(t)

	var group sync.WaitGroup

	for i := range 16 {
		c := n.verifying(t, fmt.Sprintf("caller-%d.crowd.example", i))

		group.Go(func() {
			for round := range 6 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%2 == 0 {
					time.AfterFunc(time.Duration(7*(i+round))*time.Millisecond, cancel)
				}

				_, result, err := share(ctx, c, verifier.Policy{})
				hungUp := ctx.Err() != nil

				cancel()

				if err != nil && hungUp {
					continue
				}

				if got := result.Check(verifier.CheckNonce); err != nil || got.Outcome != verifier.Passed {
					t.Errorf("caller %d: %v, %s", i, err, got.Detail)
				}
			}
		})
	}

	group.Wait()
}

func TestABareNonceIsNeverSharedWithOthers(t *testing.T) {
	t.Parallel()

	n := sharingNode(t)
	request := goodRequest()
	request.AcceptAggregation = true
	request.Nonce = bytes.Repeat([]byte{0x5A}, 34) // as long as what is signed for those who share

	if a := mustQuote(t, n.as(t, "raw.crowd.example"), request).GetAggregation(); a != nil {
		t.Errorf("a RAW caller got %v", a)
	}

	request.BindMode = agentv1.BindMode_BIND_MODE_BOUND
	request.AcceptAggregation = false

	if a := mustQuote(t, n.as(t, "bound.crowd.example"), request).GetAggregation(); a != nil {
		t.Errorf("a caller who did not accept it got %v", a)
	}
}
