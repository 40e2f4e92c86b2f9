package trust_test

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// noon is when the tests take place.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// bench is a node and a policy by which it is trusted.
type bench struct {
	soft   *nodetest.Soft
	node   trust.Node
	policy trust.Policy
}

func newBench(t *testing.T) *bench {
	t.Helper()
	soft, err := nodetest.NewSoft("node1.example", "xen")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		soft: soft,
		node: trust.Node{Name: "node1.example", Address: "node1.example:9443", Pool: "pool", State: trust.Active, Record: soft.Record(), Binding: verifier.BindingInventory},
		policy: trust.Policy{
			Pool:     trust.Pool{Name: "pool", Requires: []trust.Requirement{{Part: trust.Hypervisor, Match: trust.AnyOf}}},
			Validity: 3 * time.Minute,
		},
	}
	b.policy.Sets = []trust.Set{b.learned(t, "xen")}
	return b
}

// learned is a set in force of what the node booted.
func (b *bench) learned(t *testing.T, name string) trust.Set {
	t.Helper()
	known, err := b.soft.KnownGood()
	if err != nil {
		t.Fatal(err)
	}
	return trust.Set{Name: name, Part: trust.Hypervisor, Pools: []string{"pool"}, State: trust.InForce, KnownGood: known}
}

// only keeps the entries of those PCRs.
func only(set trust.Set, name string, part trust.Part, pcrs ...int) trust.Set {
	set.Name, set.Part = name, part
	set.KnownGood.PCRs = slices.DeleteFunc(slices.Clone(set.KnownGood.PCRs), func(e verifier.KnownPCR) bool { return !slices.Contains(pcrs, e.PCR) })
	return set
}

func (b *bench) answer(t *testing.T) trust.Answer {
	t.Helper()
	nonce := make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		t.Fatal(err)
	}
	selection := b.policy.Selection(&b.node, noon)
	if len(selection) == 0 {
		selection = verifier.DefaultSelection()
	}
	ev, err := b.soft.Evidence(nonce, selection)
	if err != nil {
		t.Fatal(err)
	}
	return trust.Answer{Evidence: ev, Nonce: nonce, QuotedAt: noon}
}

func (b *bench) judge(t *testing.T) trust.Verdict {
	t.Helper()
	return b.policy.Judge(&b.node, b.answer(t), nil, noon).Verdict
}

func TestAGoodNodeIsTrustedForAsLongAsItsVerdictHolds(t *testing.T) {
	t.Parallel()

	b := newBench(t)
	v := b.judge(t)
	if v.Level != trust.Trusted || v.Reason != trust.OK || !slices.Equal(v.Sets, []string{"xen"}) || v.EKBinding != verifier.BindingInventory || v.Boot == nil {
		t.Fatalf("%+v", v)
	}
	if !v.QuotedAt.Equal(noon) || !v.ExpiresAt.Equal(noon.Add(3*time.Minute)) {
		t.Errorf("%s to %s", v.QuotedAt, v.ExpiresAt)
	}
	if before := v.At(v.ExpiresAt.Add(-time.Millisecond)); before.Level != trust.Trusted {
		t.Errorf("before its end: %+v", before)
	}
	if after := v.At(v.ExpiresAt); after.Level != trust.Unknown || after.Reason != trust.Stale {
		t.Errorf("at its end: %+v", after)
	}

	b.policy.Sets[0].ValidUntil = noon.Add(time.Minute)
	if v := b.judge(t); !v.ExpiresAt.Equal(noon.Add(time.Minute)) {
		t.Errorf("a set that ends earlier: the verdict ends %s", v.ExpiresAt)
	}
}

// TestNeverTrusted has one reason not to trust in each case.
func TestNeverTrusted(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		spoil func(*testing.T, *bench)
		want  trust.Reason
	}{
		"a pool that demands nothing":             {func(_ *testing.T, b *bench) { b.policy.Pool.Requires = nil }, trust.NoPolicy},
		"no set":                                  {func(_ *testing.T, b *bench) { b.policy.Sets = nil }, trust.NoPolicy},
		"a set without values":                    {func(_ *testing.T, b *bench) { b.policy.Sets[0].KnownGood = verifier.KnownGood{} }, trust.NoPolicy},
		"a draft":                                 {func(_ *testing.T, b *bench) { b.policy.Sets[0].State = trust.Draft }, trust.NoPolicy},
		"a retired set":                           {func(_ *testing.T, b *bench) { b.policy.Sets[0].State = trust.Retired }, trust.NoPolicy},
		"a set whose time has not come":           {func(_ *testing.T, b *bench) { b.policy.Sets[0].ValidFrom = noon.Add(time.Second) }, trust.NoPolicy},
		"a set whose time is over":                {func(_ *testing.T, b *bench) { b.policy.Sets[0].ValidUntil = noon }, trust.NoPolicy},
		"a set of another pool":                   {func(_ *testing.T, b *bench) { b.policy.Sets[0].Pools = []string{"other"} }, trust.NoPolicy},
		"a set of another part":                   {func(_ *testing.T, b *bench) { b.policy.Sets[0].Part = trust.Platform }, trust.NoPolicy},
		"a set for another node":                  {func(_ *testing.T, b *bench) { hostSpecific(b, "node2.example") }, trust.NoPolicy},
		"one of two parts is missing":             {func(_ *testing.T, b *bench) { b.require(trust.Platform) }, trust.NoPolicy},
		"two parts that speak of the same PCR":    {func(_ *testing.T, b *bench) { twice(b) }, trust.NoPolicy},
		"a requirement without a match":           {func(_ *testing.T, b *bench) { b.policy.Pool.Requires[0].Match = "" }, trust.NoPolicy},
		"the policy of another pool":              {func(_ *testing.T, b *bench) { b.node.Pool = "other" }, trust.NoPolicy},
		"a bank that the node has not":            {func(_ *testing.T, b *bench) { b.policy.Sets[0].KnownGood.PCRs[0].Bank = eventlog.AlgSHA384 }, trust.PCRMissing},
		"a bank that is none":                     {func(_ *testing.T, b *bench) { b.policy.Sets[0].KnownGood.PCRs[0].Bank = 0x7777 }, trust.QuoteInvalid},
		"a SHA-1 bank":                            {func(_ *testing.T, b *bench) { b.policy.Sets[0].KnownGood.PCRs[0].Bank = eventlog.AlgSHA1 }, trust.QuoteInvalid},
		"another hypervisor":                      {func(_ *testing.T, b *bench) { b.soft.Reboot("other") }, trust.PCRMismatch},
		"no launch":                               {func(_ *testing.T, b *bench) { b.soft.Reboot("") }, trust.NoLaunch},
		"a node that is not enrolled":             {func(_ *testing.T, b *bench) { b.node.State, b.node.Record = trust.Pending, nil }, trust.NotEnrolled},
		"an active node without a record":         {func(_ *testing.T, b *bench) { b.node.Record = nil }, trust.NotEnrolled},
		"a node in no state":                      {func(_ *testing.T, b *bench) { b.node.State = "" }, trust.NotEnrolled},
		"a node that was decommissioned":          {func(_ *testing.T, b *bench) { b.node.State = trust.Decommissioned }, trust.NotEnrolled},
		"a node on hold":                          {func(_ *testing.T, b *bench) { b.node.State = trust.Held }, trust.OnHold},
		"a node that was renamed":                 {func(_ *testing.T, b *bench) { b.node.Name = "node2.example" }, trust.NotEnrolled},
		"a node that was enrolled on first use":   {func(_ *testing.T, b *bench) { b.node.Record.Binding = verifier.BindingFirstUse }, trust.WeakBinding},
		"a node whose enrolment does not say how": {func(_ *testing.T, b *bench) { b.node.Record.Binding = "" }, trust.WeakBinding},
		"a node that says that it is simulated":   {func(_ *testing.T, b *bench) { b.tamper(func(ev *verifier.Evidence) { ev.Hints["simulated"] = "true" }) }, trust.Simulated},
		"a refused AK":                            {func(_ *testing.T, b *bench) { b.policy.RefusedAKs = []verifier.Hex{b.node.Record.AKs[0].Name} }, trust.UnknownAK},
		"another AK":                              {func(t *testing.T, b *bench) { rekey(t, b) }, trust.UnknownAK},
		"a signature that is wrong":               {func(_ *testing.T, b *bench) { b.tamper(func(ev *verifier.Evidence) { ev.Signature[20] ^= 1 }) }, trust.QuoteInvalid},
		"a PCR value that is not the quoted one": {func(_ *testing.T, b *bench) {
			b.tamper(func(ev *verifier.Evidence) { ev.PCRs[0].Values[0].Value[0] ^= 1 })
		}, trust.QuoteInvalid},
		"a log that is missing":                       {func(_ *testing.T, b *bench) { b.tamper(func(ev *verifier.Evidence) { ev.Logs = nil }) }, trust.QuoteInvalid},
		"a quote over another connection":             {func(_ *testing.T, b *bench) { b.tamper(func(ev *verifier.Evidence) { ev.Binding.Exporter[0] ^= 1 }) }, trust.Replayed},
		"a quote that is bound to no connection":      {func(_ *testing.T, b *bench) { b.tamper(func(ev *verifier.Evidence) { ev.Binding = nil }) }, trust.Replayed},
		"a launch that only the node's log speaks of": {func(_ *testing.T, b *bench) { b.policy.Sets[0] = only(b.policy.Sets[0], "xen", trust.Hypervisor, 18) }, trust.NoLaunch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := newBench(t)
			test.spoil(t, b)
			if v := b.judge(t); v.Level == trust.Trusted || v.Reason != test.want {
				t.Errorf("%s, %s (%s), want %s", v.Level, v.Reason, v.Detail, test.want)
			}
		})
	}
}

func (b *bench) require(part trust.Part) {
	b.policy.Pool.Requires = append(b.policy.Pool.Requires, trust.Requirement{Part: part, Match: trust.AnyOf})
}

func (b *bench) tamper(change func(*verifier.Evidence)) { b.soft.Tamper(change) }

func hostSpecific(b *bench, node string) {
	b.policy.Pool.Requires[0].Part, b.policy.Sets[0].Part, b.policy.Sets[0].Node = trust.HostSpecific, trust.HostSpecific, node
}

func twice(b *bench) {
	second := b.policy.Sets[0]
	second.Name, second.Part = "second", trust.Platform
	b.policy.Sets = append(b.policy.Sets, second)
	b.require(trust.Platform)
}

func rekey(t *testing.T, b *bench) {
	t.Helper()
	if err := b.soft.Rekey(); err != nil {
		t.Fatal(err)
	}
}

func TestAnAnswerToAnotherNonceIsAReplay(t *testing.T) {
	t.Parallel()

	b := newBench(t)
	old, fresh := b.answer(t), b.answer(t)
	old.Nonce = fresh.Nonce
	if v := b.policy.Judge(&b.node, old, nil, noon).Verdict; v.Level == trust.Trusted || v.Reason != trust.Replayed {
		t.Errorf("%+v", v)
	}
	fresh.Nonce = nil
	if v := b.policy.Judge(&b.node, fresh, nil, noon).Verdict; v.Level == trust.Trusted {
		t.Errorf("without a nonce: %+v", v)
	}
}

func TestAnyOfTheSetsOfEachPartIsEnough(t *testing.T) {
	t.Parallel()

	b := newBench(t)
	var all []trust.Set
	for _, hypervisor := range []string{"a", "b", "xen", "d"} {
		b.soft.Reboot(hypervisor)
		whole := b.learned(t, hypervisor)
		all = append(all, only(whole, hypervisor, trust.Hypervisor, 17), only(whole, "platform-"+hypervisor, trust.Platform, 18, 19))
	}
	b.policy.Sets = all
	b.require(trust.Platform)
	for _, hypervisor := range []string{"d", "a", "b"} {
		b.soft.Reboot(hypervisor)
		for _, previous := range [][]string{nil, {"a", "platform-a"}, {hypervisor}, {"gone"}} {
			v := b.policy.Judge(&b.node, b.answer(t), previous, noon).Verdict
			if v.Level != trust.Trusted || !slices.Contains(v.Sets, hypervisor) || len(v.Sets) != 2 {
				t.Errorf("%s after %v: %+v", hypervisor, previous, v)
			}
		}
	}
	b.soft.Reboot("none of them")
	if v := b.judge(t); v.Level == trust.Trusted || v.Reason != trust.PCRMismatch {
		t.Errorf("%+v", v)
	}
}

func TestAllOfTheSetsHaveToHold(t *testing.T) {
	t.Parallel()

	b := newBench(t)
	whole := b.policy.Sets[0]
	b.policy.Pool.Requires[0].Match = trust.AllOf
	b.policy.Sets = []trust.Set{only(whole, "launch", trust.Hypervisor, 17), only(whole, "rest", trust.Hypervisor, 18, 19)}
	if v := b.judge(t); v.Level != trust.Trusted || len(v.Sets) != 2 {
		t.Fatalf("%+v", v)
	}
	b.policy.Sets[1].KnownGood.PCRs = []verifier.KnownPCR{{Bank: eventlog.AlgSHA256, PCR: 18, Values: []verifier.Hex{make([]byte, 32)}}}
	if v := b.judge(t); v.Level == trust.Trusted || v.Reason != trust.PCRMismatch {
		t.Errorf("%+v", v)
	}
}

func TestASetThatNeedsMorePCRsDoesNotSpoilTheOthers(t *testing.T) {
	t.Parallel()

	b := newBench(t)
	other := b.policy.Sets[0]
	other.Name = "a-needs-sha384"
	other.KnownGood.PCRs = append(slices.Clone(other.KnownGood.PCRs), verifier.KnownPCR{Bank: eventlog.AlgSHA384, PCR: 17, Values: []verifier.Hex{make([]byte, 48)}})
	b.policy.Sets = []trust.Set{other, b.policy.Sets[0]}
	if got := b.policy.Selection(&b.node, noon); len(got) != 2 {
		t.Errorf("selection %v", got)
	}
	if v := b.judge(t); v.Level != trust.Trusted || !slices.Equal(v.Sets, []string{"xen"}) {
		t.Errorf("%+v", v)
	}
}

func TestAWordForEveryLevel(t *testing.T) {
	t.Parallel()

	var zero trust.Verdict
	if zero.Level != trust.Unknown || zero.At(noon).Level != trust.Unknown {
		t.Error("the zero verdict is not unknown")
	}
	for _, l := range []trust.Level{trust.Unknown, trust.Untrusted, trust.Trusted} {
		if got, ok := trust.ParseLevel(l.String()); got != l || !ok {
			t.Errorf("%s: %v, %v", l, got, ok)
		}
	}
	if got, ok := trust.ParseLevel("Trusted"); got != trust.Unknown || ok {
		t.Error("a word of another case is taken")
	}
	if trust.Level(7).String() != "unknown" {
		t.Error("a level that is none has a word")
	}
}
