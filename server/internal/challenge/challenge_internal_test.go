package challenge

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// TestAnOutcomeThatCanNotBeStoredCostsNoOtherItsOwn: those that were answered at the same time are stored all the same.
func TestAnOutcomeThatCanNotBeStoredCostsNoOtherItsOwn(t *testing.T) {
	t.Parallel()

	s := storetest.New(t)
	now := time.Now()
	act := store.Act{By: "alice", At: now}
	if _, err := s.PutPool(t.Context(), act, trust.Pool{Name: "pool"}, 0); err != nil {
		t.Fatal(err)
	}
	nodes, err := s.AddNodes(t.Context(), act, []trust.Node{{Name: "node1", Address: "node1:9443", Pool: "pool", Binding: verifier.BindingFirstUse}})
	if err != nil {
		t.Fatal(err)
	}

	schedule := New(Config{}, Deps{Store: s, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	schedule.keep(t.Context(), []store.Outcome{
		{Node: trust.Node{ID: 999, Name: "nobody"}, At: now, Due: now},
		{Node: nodes[0], At: now, Due: now.Add(time.Minute), Problem: "it does not answer"},
	})
	contact, err := s.Contact(t.Context(), "node1")
	if err != nil || contact.Failures != 1 || contact.LastError != "it does not answer" {
		t.Errorf("%+v, %v", contact, err)
	}
}

// TestAnAgentHasItsNodeAskedOnceASecondAtTheMost: however many events it tells of.
func TestAnAgentHasItsNodeAskedOnceASecondAtTheMost(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		asked := 0
		agents := NewAgents(nil, func(context.Context, string) error { asked++; return nil }, slog.New(slog.DiscardHandler))
		liar := &agent{events: newEvents()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()

		for agents.hurryNode(ctx, "node1", liar) == nil {
		}
		if asked != 63 && asked != 62 { // at once, and then each second until the end of the minute
			t.Errorf("asked %d times in a minute", asked)
		}
	})
}
