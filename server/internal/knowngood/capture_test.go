package knowngood_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/internal/knowngood"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	formats "github.com/trustpool/trustpool/verifier/knowngood"
)

func TestWhatANodeMeasuredIsLearnedPartByPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	captured, err := w.tools.Capture(t.Context(), act(), knowngood.Request{Node: "NODE2.example", Prefix: "kvm", Parts: map[int]trust.Part{19: trust.HostSpecific}})
	if err != nil {
		t.Fatal(err)
	}
	type piece struct {
		name, node string
		part       trust.Part
		pcrs       []int
	}
	var got []piece
	for _, set := range captured.Sets {
		p := piece{name: set.Name, node: set.Node, part: set.Part}
		for _, entry := range set.KnownGood.PCRs {
			p.pcrs = append(p.pcrs, entry.PCR)
		}
		got = append(got, p)
		if set.State != trust.Draft || set.Author != "token:test" || len(set.KnownGood.AKs) > 0 || !cmp.Equal(set.Pools, []string{"pool"}) ||
			set.Source != "captured from node2.example, quoted at 2026-11-23T12:00:00Z" {
			t.Errorf("%s is %+v", set.Name, set)
		}
	}
	want := []piece{
		{"kvm-platform", "", trust.Platform, []int{18}},
		{"kvm-hypervisor", "", trust.Hypervisor, []int{17}},
		{"kvm-host", "node2.example", trust.HostSpecific, []int{19}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(piece{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if text := strings.Join(captured.Notes, "\n"); !strings.Contains(text, "sha256 PCR 17: holds the platform's events too") || !strings.Contains(text, "sha256 PCR 19: nothing was measured") {
		t.Errorf("notes are %s", text)
	}
}

func TestOnlyGoodEvidenceOfAnEnrolledNodeIsLearned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tampered := func(name string, change func(*verifier.Evidence)) {
		w.add(t, "xen", name).Tamper(change)
	}
	tampered("unsigned.example", func(ev *verifier.Evidence) { ev.Signature[20] ^= 1 })
	tampered("unbound.example", func(ev *verifier.Evidence) { ev.Binding.Exporter = []byte(strings.Repeat("x", 32)) })
	tampered("unexplained.example", func(ev *verifier.Evidence) { ev.Logs = nil })
	tampered("simulated.example", func(ev *verifier.Evidence) { ev.Hints["simulated"] = "true" })
	w.add(t, "", "unlaunched.example")
	w.attest(t)
	w.add(t, "xen", "silent.example")
	if _, err := w.Store.AddNodes(t.Context(), act(), []trust.Node{{Name: "pending.example", Address: "pending.example:9443", Pool: "pool", Binding: verifier.BindingChain}}); err != nil {
		t.Fatal(err)
	}

	for node, want := range map[string]string{
		"unsigned.example": "signature:", "unbound.example": "nonce:", "unexplained.example": "log", "simulated.example": "simulated", "unlaunched.example": "launch:",
		"silent.example": "no evidence", "pending.example": "no evidence", "none.example": "none of this name",
	} {
		_, err := w.tools.Capture(t.Context(), act(), knowngood.Request{Node: node, Prefix: "x"})
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", node, err)
		}
	}
	sets, err := w.Store.Sets(t.Context(), store.SetFilter{})
	if err != nil || len(sets) != 1 {
		t.Errorf("there are %d sets, want the first one alone: %v", len(sets), err)
	}
}

func TestANameThatIsTakenStopsACaptureBeforeItsFirstSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.capture(t, "node1.example", "x")
	if _, err := w.tools.Capture(t.Context(), act(), knowngood.Request{Node: "node1.example", Prefix: "x"}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the second capture: %v", err)
	}
	sets, err := w.Store.Sets(t.Context(), store.SetFilter{})
	if err != nil || len(sets) != 2 {
		t.Errorf("there are %d sets: %v", len(sets), err)
	}
}

func TestASetGoesOutAndComesInAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	raw, err := w.tools.Export(t.Context(), "xen", formats.Trustpool)
	if err != nil {
		t.Fatal(err)
	}
	done, err := w.tools.Import(t.Context(), act(), knowngood.Import{Format: formats.Trustpool, Raw: raw, Name: "xen-2", Pools: []string{"pool"}})
	if err != nil {
		t.Fatal(err)
	}
	if done.Set.State != trust.Draft || done.Set.Part != trust.Hypervisor || len(done.Notes) != 0 {
		t.Errorf("imported as %+v", done)
	}
	if all, err := w.tools.Compare(t.Context(), "xen", "xen-2"); err != nil || len(all) != 0 {
		t.Errorf("they differ: %+v, %v", all, err)
	}
	if _, err := w.tools.Import(t.Context(), act(), knowngood.Import{Format: formats.Trustpool, Raw: raw}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the name of the file is taken: %v", err)
	}
	if _, err := w.tools.Export(t.Context(), "none", formats.Trustpool); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("exporting what there is not: %v", err)
	}
}

// TestValuesWithoutEventsJudgeTheSameNodes: what Keylime's format keeps of a set still tells the good node from the bad one.
func TestValuesWithoutEventsJudgeTheSameNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	raw, err := w.tools.Export(t.Context(), "xen", formats.KeylimePolicy)
	if err != nil {
		t.Fatal(err)
	}
	done, err := w.tools.Import(t.Context(), act(), knowngood.Import{Format: formats.KeylimePolicy, Raw: raw, Name: "values", Part: trust.Hypervisor, Pools: []string{"pool"}})
	if err != nil {
		t.Fatal(err)
	}
	effect := w.dryRun(t, knowngood.Change{Approve: []string{done.Set.Name}, Retire: []string{"xen"}})
	if effect.Trusted != 1 || effect.Untrusted != 1 || effect.Judged != 2 {
		t.Errorf("%+v", effect)
	}
}

func TestSHA1ValuesMakeNoSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mle := func(values ...string) []byte {
		var manifests []map[string]string
		for i, v := range values {
			manifests = append(manifests, map[string]string{"Name": []string{"17", "18"}[i], "Value": v})
		}
		raw, err := json.Marshal(map[string]any{"Name": "Xen", "Version": "4.1", "MLE_Type": "VMM", "MLE_Manifests": manifests})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	sha1 := strings.Repeat("11", 20)
	_, err := w.tools.Import(t.Context(), act(), knowngood.Import{Format: formats.OpenAttestationMLE, Raw: mle(sha1)})
	if !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), "learn the set anew") {
		t.Errorf("SHA-1 alone: %v", err)
	}
	done, err := w.tools.Import(t.Context(), act(), knowngood.Import{Format: formats.OpenAttestationMLE, Raw: mle(sha1, strings.Repeat("22", 32))})
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Set.KnownGood.PCRs) != 1 || len(done.Untrusted) != 1 || len(done.Notes) != 1 {
		t.Errorf("imported as %+v", done)
	}
}
