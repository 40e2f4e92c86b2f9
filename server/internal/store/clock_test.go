package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/store/storetest"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// TestAVerdictFromLaterThanNowDoesNotHold: the clock was a day ahead when the node was asked, and was set back. Nobody would ask it again for a day.
func TestAVerdictFromLaterThanNowDoesNotHold(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		tomorrow := noon.Add(24 * time.Hour)
		b.attest(t, tomorrow)
		wantVerdict(t, b.verdict(t, "node1", tomorrow), trust.Trusted, trust.OK)
		wantVerdict(t, b.verdict(t, "node1", tomorrow.Add(-trust.ClockSkew)), trust.Trusted, trust.OK)

		wantVerdict(t, b.verdict(t, "node1", noon), trust.Unknown, trust.Stale)
		level := trust.Trusted
		hosts, err := b.Hosts(t.Context(), store.HostFilter{Level: &level, Limit: 10}, noon)
		if err != nil || len(hosts) != 0 {
			t.Errorf("listed as trusted: %+v, %v", hosts, err)
		}
		counts, err := b.Counts(t.Context(), noon)
		if err != nil || !slices.Equal(counts, []store.Count{{Pool: "pool", Level: trust.Unknown, Nodes: 1}}) {
			t.Errorf("%+v, %v", counts, err)
		}
	})
}

func TestANodeThatIsDueTooLateIsAskedAtOnce(t *testing.T) {
	t.Parallel()

	storetest.OnBoth(t, func(t *testing.T, on storetest.Engine) {
		b := newBase(t, on)
		tomorrow, latest := noon.Add(24*time.Hour), noon.Add(10*time.Minute)
		if n, err := b.Recall(t.Context(), noon, latest); err != nil || n != 0 {
			t.Errorf("%d of none, %v", n, err)
		}
		b.claim(t, tomorrow) // and the clock is set back while it is asked
		if n, err := b.Recall(t.Context(), noon, latest); err != nil || n != 1 {
			t.Errorf("%d, %v, want 1", n, err)
		}
		b.attest(t, noon)

		if _, err := b.HoldNode(t.Context(), act(), "node1", 0, "looks odd"); err != nil {
			t.Fatal(err)
		}
		if n, err := b.Recall(t.Context(), noon, latest); err != nil || n != 0 {
			t.Errorf("a node on hold is asked: %d, %v", n, err)
		}
	})
}
