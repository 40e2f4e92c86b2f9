package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

func TestAClaimedNodeIsNobodyElses(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		b.claim(t, noon)
		if again, err := b.Claim(t.Context(), noon.Add(59*time.Second), 10, time.Minute); err != nil || len(again) != 0 {
			t.Fatalf("claimed twice: %+v, %v", again, err)
		}
		b.claim(t, noon.Add(time.Minute)) // the lease has ended: whoever had it is gone

		// A server claims it, and is gone.
		gone := storetest.Open(t, b.path)
		if claimed, err := gone.Claim(t.Context(), noon.Add(2*time.Minute), 10, time.Hour); err != nil || len(claimed) != 1 {
			t.Fatalf("%+v, %v", claimed, err)
		}
		if n, err := b.EndLeases(t.Context(), noon.Add(time.Minute)); err != nil || n != 1 {
			t.Fatalf("%d, %v", n, err)
		}
		node := b.claim(t, noon.Add(time.Minute))
		if err := b.Hurry(t.Context(), "node1", noon.Add(61*time.Second)); err != nil {
			t.Fatal(err)
		}
		if again, err := b.Claim(t.Context(), noon.Add(61*time.Second), 10, time.Minute); err != nil || len(again) != 0 {
			t.Fatalf("asked twice at a time: %+v, %v", again, err)
		}
		o := b.outcome(t, node, noon.Add(62*time.Second))
		o.Lease = noon.Add(2 * time.Minute)
		b.record(t, o)
		b.claim(t, noon.Add(62*time.Second)) // and at once, since somebody hurried it in the meantime
	})
}

func TestTheNodeThatWaitsTheLongestTellsTheLag(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		for _, test := range []struct {
			after time.Duration // of noon, when the node is due
			lag   time.Duration
			nodes int64
		}{{-time.Second, 0, 0}, {0, 0, 1}, {90 * time.Second, 90 * time.Second, 1}} {
			if lag, nodes, err := b.Overdue(t.Context(), noon.Add(test.after)); err != nil || lag != test.lag || nodes != test.nodes {
				t.Errorf("%s after: %s, %d, %v", test.after, lag, nodes, err)
			}
		}
		b.claim(t, noon.Add(90*time.Second))
		if lag, nodes, err := b.Overdue(t.Context(), noon.Add(90*time.Second)); err != nil || lag != 0 || nodes != 0 {
			t.Errorf("a node that is being asked is late: %s, %d, %v", lag, nodes, err)
		}
	})
}

func TestANodeOnHoldWaitsForAnAdministrator(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		b.attest(t, noon)
		if err := b.soft.Rekey(); err != nil {
			t.Fatal(err)
		}
		o := b.outcome(t, b.claim(t, noon.Add(time.Minute)), noon.Add(time.Minute))
		o.Hold, o.Alarm = "another AK signed", store.AlarmKeyChanged
		b.record(t, o)

		later := noon.Add(24 * time.Hour)
		wantVerdict(t, b.verdict(t, "node1", later), trust.Untrusted, trust.OnHold)
		if claimed, err := b.Claim(t.Context(), later, 10, time.Minute); err != nil || len(claimed) != 0 {
			t.Errorf("it is asked: %+v, %v", claimed, err)
		}
		if err := b.Hurry(t.Context(), "node1", later); !errors.Is(err, store.ErrConflict) {
			t.Errorf("it is hurried: %v", err)
		}
		if alarms, err := b.Alarms(t.Context(), true, 0, 10); err != nil || len(alarms) != 1 || alarms[0].Kind != store.AlarmKeyChanged {
			t.Errorf("%+v, %v", alarms, err)
		}

		node, err := b.ReenrollNode(t.Context(), act(), "node1", 0)
		if err != nil || node.State != trust.Pending || node.Record != nil {
			t.Fatalf("%+v, %v", node, err)
		}
		wantVerdict(t, b.verdict(t, "node1", later), trust.Unknown, trust.PolicyChanged)
		before := node
		before.Revision--
		if _, err := b.Enrolled(t.Context(), act(), &before, *b.soft.Record(), trust.Suggestions{}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("an enrolment of before counts: %v", err)
		}
		if node, err = b.Enrolled(t.Context(), act(), &node, *b.soft.Record(), trust.Suggestions{HostNames: []string{"n1"}}); err != nil || node.State != trust.Active {
			t.Fatalf("%+v, %v", node, err)
		}
		b.attest(t, noon.Add(2*time.Minute))
		wantVerdict(t, b.verdict(t, "node1", noon.Add(2*time.Minute)), trust.Trusted, trust.OK)
	})
}

func TestAReleasedNodeKeepsItsKeys(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		if _, err := b.HoldNode(t.Context(), act(), "node1", 1, "looks odd"); err != nil {
			t.Fatal(err)
		}
		node, err := b.ReleaseNode(t.Context(), act(), "node1", 2)
		if err != nil || node.State != trust.Active || node.Record == nil {
			t.Fatalf("%+v, %v", node, err)
		}
		if _, err := b.ReleaseNode(t.Context(), act(), "node1", 3); !errors.Is(err, store.ErrConflict) {
			t.Errorf("released twice: %v", err)
		}
		wantVerdict(t, b.verdict(t, "node1", noon.Add(24*time.Hour)), trust.Unknown, trust.PolicyChanged) // also if it never answers again
		b.attest(t, noon)
		wantVerdict(t, b.verdict(t, "node1", noon), trust.Trusted, trust.OK)
	})
}

func TestAnEnrolmentIsThatOfTheNodeWhichWasAsked(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		pending := trust.Node{Name: "node2.example", Address: "10.0.0.2:9443", Pool: "pool", Binding: verifier.BindingFirstUse}
		asked, err := b.AddNodes(t.Context(), act(), []trust.Node{pending})
		if err != nil {
			t.Fatal(err)
		}
		// While it is asked, an administrator replaces it by another machine of the same name. Both are of revision 1.
		if err := b.RemoveNode(t.Context(), act(), "node2.example", 0); err != nil {
			t.Fatal(err)
		}
		pending.Binding, pending.EK.Name = verifier.BindingInventory, b.soft.Record().EK.Name
		if _, err := b.AddNodes(t.Context(), act(), []trust.Node{pending}); err != nil {
			t.Fatal(err)
		}
		record := *b.soft.Record()
		record.Name = "node2.example"
		if _, err := b.Enrolled(t.Context(), act(), &asked[0], record, trust.Suggestions{}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("the enrolment of the node before counts: %v", err)
		}
		if now, err := b.Node(t.Context(), "node2.example"); err != nil || now.State != trust.Pending || now.Record != nil {
			t.Errorf("%+v, %v", now, err)
		}
	})
}

func TestOneTPMVouchesForOneNode(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		other := trust.Node{Name: "node2.example", Address: "10.0.0.2:9443", Pool: "pool", Binding: verifier.BindingFirstUse}
		asked, err := b.AddNodes(t.Context(), act(), []trust.Node{other})
		if err != nil {
			t.Fatal(err)
		}
		record := *b.soft.Record()
		record.Name = "node2.example"
		node, err := b.Enrolled(t.Context(), act(), &asked[0], record, trust.Suggestions{})
		if err != nil || node.State != trust.Held || node.Record != nil {
			t.Errorf("%+v, %v", node, err)
		}
		alarms, err := b.Alarms(t.Context(), true, 0, 10)
		if err != nil || len(alarms) != 1 || alarms[0].Kind != store.AlarmKeyShared || alarms[0].Node != "node2.example" {
			t.Errorf("%+v, %v", alarms, err)
		}

		other.Name, other.Binding, other.Record = "node3.example", record.Binding, &record
		record.Name = other.Name
		if _, err := b.AddNodes(t.Context(), act(), []trust.Node{other}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a second record of one TPM is taken: %v", err)
		}

		// Once the first is gone, the TPM is free.
		if err := b.RemoveNode(t.Context(), act(), "node1.example", 0); err != nil {
			t.Fatal(err)
		}
		if _, err := b.AddNodes(t.Context(), act(), []trust.Node{other}); err != nil {
			t.Error(err)
		}
	})
}

func TestASetGoesForwardOnly(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		if _, err := b.PutSet(t.Context(), act(), b.set, b.set.Revision); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a set in force was changed: %v", err)
		}
		if _, err := b.PutSet(t.Context(), act(), b.set, 0); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a set in force was replaced: %v", err)
		}
		if _, err := b.RetireSet(t.Context(), act(), "xen", 1); !errors.Is(err, store.ErrConflict) {
			t.Errorf("retired by an old revision: %v", err)
		}
		set, err := b.RetireSet(t.Context(), act(), "xen", b.set.Revision)
		if err != nil || set.State != trust.Retired || set.RetiredBy != "alice" {
			t.Fatalf("%+v, %v", set, err)
		}
		if _, err := b.ApproveSet(t.Context(), act(), "xen", set.Revision); !errors.Is(err, store.ErrConflict) {
			t.Errorf("a retired set came back: %v", err)
		}
		policy, err := b.Policy(t.Context(), "pool")
		if err != nil || len(policy.Sets) != 0 {
			t.Errorf("%+v, %v", policy, err)
		}

		draft := b.set
		draft.Name = "draft"
		if draft, err = b.PutSet(t.Context(), act(), draft, 0); err != nil || draft.State != trust.Draft || draft.ApprovedBy != "" {
			t.Fatalf("%+v, %v", draft, err)
		}
		draft.KnownGood = verifier.KnownGood{}
		if _, err := b.PutSet(t.Context(), act(), draft, draft.Revision); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("an empty set was taken: %v", err)
		}
	})
}

func TestEachActIsInTheAdminLogAndTheLogCantBeAltered(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		last, hash, err := b.CheckAdminLog(t.Context())
		if err != nil || last != 4 || len(hash) != 32 {
			t.Fatalf("%d, %x, %v", last, hash, err)
		}
		entries, err := b.AdminLog(t.Context(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"pool.put pool", "set.put xen", "set.approve xen", "node.add node1.example"} {
			if got := entries[i].Action + " " + entries[i].Subject; got != want || entries[i].By != "alice" || !entries[i].At.Equal(noon) {
				t.Errorf("entry %d: %q by %s", i, got, entries[i].By)
			}
		}
		if err := b.AddToken(t.Context(), store.Act{}, store.Token{Name: "t"}); err == nil {
			t.Error("nobody did something")
		}

		for name, statement := range map[string]string{
			"an entry is changed": "UPDATE admin_log SET actor = 'bob' WHERE seq = 2",
			"an entry is removed": "DELETE FROM admin_log WHERE seq = 2",
			"the first is gone":   "DELETE FROM admin_log WHERE seq = 1",
			"two change places":   "UPDATE admin_log SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE seq IN (2, 3); UPDATE admin_log SET seq = -seq WHERE seq < 0",
		} {
			altered := newBase(t, on)
			storetest.Alter(t, altered.path, statement)
			if _, _, err := altered.CheckAdminLog(t.Context()); err == nil {
				t.Errorf("%s, and nobody notices", name)
			}
		}
	})
}

func TestATokenIsKeptByItsDigest(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		s, _ := newStore(t, on)
		token := store.Token{Name: "nova", ID: "abc", Role: "reader", SHA256: bytes.Repeat([]byte{1}, 32), ExpiresAt: noon.Add(time.Hour)}
		if err := s.AddToken(t.Context(), act(), token); err != nil {
			t.Fatal(err)
		}
		if err := s.AddToken(t.Context(), act(), token); !errors.Is(err, store.ErrExists) {
			t.Errorf("twice: %v", err)
		}
		got, err := s.TokenByID(t.Context(), "abc")
		if err != nil || got.Name != "nova" || got.CreatedBy != "alice" || !bytes.Equal(got.SHA256, token.SHA256) || !got.ExpiresAt.Equal(token.ExpiresAt) {
			t.Errorf("%+v, %v", got, err)
		}
		if err := s.RemoveToken(t.Context(), act(), "nova"); err != nil {
			t.Error(err)
		}
		if _, err := s.TokenByID(t.Context(), "abc"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestPagesFollowEachOther(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		var nodes []trust.Node
		for i := range 25 {
			nodes = append(nodes, trust.Node{Name: fmt.Sprintf("host%02d", i), Address: "h:1", Pool: "pool", Binding: verifier.BindingFirstUse})
		}
		if _, err := b.AddNodes(t.Context(), act(), nodes); err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for after := ""; ; {
			page, err := b.Hosts(t.Context(), store.HostFilter{Pool: "pool", After: after, Limit: 7}, noon)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, h := range page {
				if seen[h.Node] {
					t.Errorf("%s is there twice", h.Node)
				}
				seen[h.Node] = true
			}
			after = page[len(page)-1].Node
		}
		if len(seen) != 26 {
			t.Errorf("%d nodes", len(seen))
		}
	})
}

func TestManyNamesAreLookedUpAtOnce(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		names := make([]string, 10_000)
		for i := range names {
			names[i] = fmt.Sprint("nobody", i)
		}
		names[9_999], names[3] = "node1", "node1.example"
		b.attest(t, noon)
		hosts, err := b.Lookup(t.Context(), names, noon)
		if err != nil || len(hosts) != len(names) {
			t.Fatalf("%d, %v", len(hosts), err)
		}
		for i, h := range hosts {
			if want := i == 9_999 || i == 3; h.Asked != names[i] || (h.Verdict.Level == trust.Trusted) != want {
				t.Errorf("%d: %+v", i, h)
			}
		}
	})
}
