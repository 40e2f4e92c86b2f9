package client_test

import (
	"errors"
	"testing"
	"time"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// TestARealAgentIsEnrolled walks a node from its first start to its next AK, and watches what it says of itself on the way.
func TestARealAgentIsEnrolled(t *testing.T) {
	t.Parallel()

	c, _ := dialAgent(t)
	if _, err := c.Capabilities(t.Context()); err != nil { // waits for the TPM, as WatchStatus does not
		t.Fatal(err)
	}
	before := statusOf(t, c)
	record := enrolled(t, c, verifier.EnrollPolicy{Binding: verifier.BindingFirstUse})
	if before.AKState != agentv1.AkState_AK_STATE_FRESH || string(before.AKName) != string(record.AKs[0].Name) {
		t.Errorf("before: %s, %x", before.AKStateWord(), before.AKName)
	}
	if after := statusOf(t, c); after.AKState != agentv1.AkState_AK_STATE_ENROLLED {
		t.Errorf("after: %s", after.AKStateWord())
	}

	next, err := c.RotateAK(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	both := enrolled(t, c, verifier.EnrollPolicy{Record: &record, AKName: next})
	if pending := statusOf(t, c); string(pending.PendingAKName) != string(next) || len(both.AKs) != 2 {
		t.Errorf("pending: %x, with %d AKs on record", pending.PendingAKName, len(both.AKs))
	}
	nonce, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range both.AKs {
		reply, err := c.Quote(t.Context(), client.QuoteOptions{Nonce: nonce, AKName: key.Name})
		if err != nil {
			t.Fatal(err)
		}
		result := verifier.Verify(reply.Evidence, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound, Node: &both})
		if string(result.AKName) != string(key.Name) || result.Check(verifier.CheckAKPinned).Outcome != verifier.Passed || result.Check(verifier.CheckSignature).Outcome != verifier.Passed {
			t.Errorf("signed by %x, want %x; checks %v", result.AKName, key.Name, result.Checks)
		}
	}
	if err := c.CommitAK(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if now := statusOf(t, c); string(now.AKName) != string(next) || len(now.PendingAKName) > 0 {
		t.Errorf("in use: %x, pending: %x", now.AKName, now.PendingAKName)
	}
}

// enrolled enrols the node by the policy.
func enrolled(t *testing.T, c *client.Client, policy verifier.EnrollPolicy) verifier.NodeRecord {
	t.Helper()
	nonce, err := client.NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := c.Identity(t.Context(), nonce)
	if err != nil {
		t.Fatal(err)
	}
	policy.Node, policy.Nonce, policy.At = "node1.example", nonce, time.Now()
	e := verifier.Enroll(reply.Identity, policy)
	challenge, err := e.Challenge()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := c.ActivateCredential(t.Context(), challenge)
	if err != nil {
		t.Fatal(err)
	}
	record, err := e.Finish(secret, "node1.example:9443", policy.At)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// statusOf returns the present status.
func statusOf(t *testing.T, c *client.Client) client.Status {
	t.Helper()
	var status client.Status
	enough := errors.New("enough")
	err := c.WatchStatus(t.Context(), func(s client.Status) error { status = s; return enough })
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return status
}
