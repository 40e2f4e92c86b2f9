package server_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/challenge"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// without is a node whose TPM does not quote a PCR, whatever it is asked for.
type without struct {
	challenge.Challenger
	pcr int
}

// Challenge implements challenge.Challenger.
func (w without) Challenge(ctx context.Context, node *trust.Node, r challenge.Request) (verifier.Evidence, error) {
	var selection []verifier.Selection
	for _, s := range r.Selection {
		pcrs := slices.DeleteFunc(slices.Clone(s.PCRs), func(pcr int) bool { return pcr == w.pcr })
		selection = append(selection, verifier.Selection{Alg: s.Alg, PCRs: pcrs})
	}
	r.Selection = selection
	return w.Challenger.Challenge(ctx, node, r)
}

// TestNeverTrustedEndToEnd has one reason not to trust in each case, and asks everybody who can be asked: the server from its schedule and its database to the wire, with a node that was
// trusted just before. What decides each of them is held case by case where it is decided (server/internal/trust).
func TestNeverTrustedEndToEnd(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		spoil func(*testing.T, *site)
		want  trust.Reason
	}{
		"a policy that demands nothing": {func(t *testing.T, s *site) { s.putPool(t, api.PoolSpec{Requires: []api.Requirement{}}) }, trust.NoPolicy},
		"no set in force": {func(t *testing.T, s *site) {
			s.putPool(t, api.PoolSpec{Requires: []api.Requirement{{Part: "hypervisor", Match: "any_of"}, {Part: "platform", Match: "any_of"}}})
		}, trust.NoPolicy},
		"a set that was retired": {func(t *testing.T, s *site) {
			if _, err := s.admin.RetireSet(t.Context(), "xen", s.set.Revision); err != nil {
				t.Fatal(err)
			}
		}, trust.NoPolicy},
		"a PCR that is not quoted": {func(t *testing.T, s *site) { s.challenger.use(without{s.fleet, 18}) }, trust.PCRMissing},
		"a bank that the TPM does not have": {func(t *testing.T, s *site) {
			s.replaceSet(t, func(k *verifier.KnownGood) {
				k.PCRs = []verifier.KnownPCR{{Bank: eventlog.AlgSHA384, PCR: 17, Values: []verifier.Hex{make([]byte, 48)}}}
			})
		}, trust.PCRMissing},
		"a node that says that it is simulated": {func(_ *testing.T, s *site) {
			s.soft.Tamper(func(ev *verifier.Evidence) { ev.Hints["simulated"] = "true" })
		}, trust.Simulated},
		"another hypervisor":      {func(_ *testing.T, s *site) { s.soft.Reboot("other") }, trust.PCRMismatch},
		"no launch":               {func(_ *testing.T, s *site) { s.soft.Reboot("") }, trust.NoLaunch},
		"a log that does not fit": {func(_ *testing.T, s *site) { s.soft.Tamper(func(ev *verifier.Evidence) { ev.Logs[0].Raw[100] ^= 1 }) }, trust.Replayed},
		"another key": {func(t *testing.T, s *site) {
			if err := s.soft.Rekey(); err != nil {
				t.Fatal(err)
			}
		}, trust.OnHold},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			onBoth(t, func(t *testing.T, database string) {
				s := newSiteOn(t, database, lasting())
				s.wantTrusted(t, "node1.example", "node1")
				test.spoil(t, s)
				s.attest(t, "node1.example")
				s.wantNot(t, test.want, "node1.example", "node1")
			})
		})
	}
}

func TestAVerdictThatIsNotRenewedEndsEndToEnd(t *testing.T) {
	t.Parallel()

	onBoth(t, func(t *testing.T, database string) {
		s := newSiteOn(t, database, func(n *server.NodesConfig) {
			n.Interval, n.Timeout, n.Validity = time.Second, time.Second, 2100*time.Millisecond
		})
		s.until(t, "trusted", func() bool { return s.host(t, "node1").Trust == api.Trusted })
		s.fleet.Fail("node1.example", errors.New("no route to host"))
		s.until(t, "unknown", func() bool { return s.host(t, "node1").Trust == api.Unknown })
		// It is stale at once, and why is noted within a second.
		s.until(t, "unreachable", func() bool { return s.host(t, "node1").Reason == string(trust.Unreachable) })
		s.wantNot(t, trust.Unreachable, "node1.example", "node1")
	})
}

func TestANodeIsTrustedUnderTheNameOfItsEnrolmentOnly(t *testing.T) {
	t.Parallel()

	s := newSite(t, lasting())
	_, err := s.admin.UpdateNode(t.Context(), "node1", api.NodeSpec{Name: "renamed.example", Address: "node1.example:9443", Pool: "pool"}, s.revision(t, "node1"))
	wantProblem(t, err, http.StatusUnprocessableEntity)

	renamed := s.spec(t, s.soft, "renamed.example") // the record is that of node1.example
	_, err = s.admin.AddNode(t.Context(), renamed)
	wantProblem(t, err, http.StatusUnprocessableEntity)
	s.wantNot(t, trust.UnknownHost, "renamed.example")

	// Enrolled under its own name, another machine does not get in by the keys of the first.
	other, err := nodetest.NewSoft("other.example", "xen")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.AddNode(t.Context(), s.spec(t, other, "other.example")); err != nil {
		t.Fatal(err)
	}
	s.fleet.Answer("other.example", s.soft)
	s.heard(t, "other.example")
	s.wantNot(t, trust.OnHold, "other.example")
	s.wantTrusted(t, "node1.example", "node1")
}

func TestAnAliasIsWorthNothingToASecondNode(t *testing.T) {
	t.Parallel()

	s := newSite(t, lasting())
	other, err := nodetest.NewSoft("other.example", "something else")
	if err != nil {
		t.Fatal(err)
	}
	s.fleet.Answer("other.example", other)
	for _, taken := range []string{"node1", "NODE1.example"} {
		_, err = s.admin.AddNode(t.Context(), s.spec(t, other, "other.example", taken))
		wantProblem(t, err, http.StatusConflict)
		s.wantNot(t, trust.UnknownHost, "other.example")
	}
	if _, err := s.admin.AddNode(t.Context(), s.spec(t, other, "other.example")); err != nil {
		t.Fatal(err)
	}
	s.heard(t, "other.example")
	s.wantNot(t, trust.PCRMismatch, "other.example")
	s.wantTrusted(t, "node1.example", "node1")

	// The name goes to the second node once it is free, the verdict does not.
	if err := s.admin.RemoveNode(t.Context(), "node1.example", s.revision(t, "node1")); err != nil {
		t.Fatal(err)
	}
	s.wantNot(t, trust.UnknownHost, "node1")
	spec := s.spec(t, other, "", "node1")
	spec.Record = nil
	if _, err := s.admin.UpdateNode(t.Context(), "other.example", spec, s.revision(t, "other.example")); err != nil {
		t.Fatal(err)
	}
	s.wantNot(t, trust.PCRMismatch, "node1")
}

func TestValuesThatNoTPMHasAreNotTaken(t *testing.T) {
	t.Parallel()

	s := newSite(t, lasting())
	for name, bank := range map[string]eventlog.Alg{"unknown": 0x7777, "sha1": eventlog.AlgSHA1} {
		known := s.known
		known.PCRs = []verifier.KnownPCR{{Bank: bank, PCR: 17, Values: []verifier.Hex{make([]byte, 20)}}}
		if _, err := s.put(t, "of-"+name, known); err == nil {
			t.Errorf("a set of the bank %s is taken", name)
		}
	}
	s.attest(t, "node1.example")
	s.wantTrusted(t, "node1") // by the set that was there
}
