//go:build fleet

package fleettest_test

import (
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/api"
)

// TestNoLieIsMissed: what holds the server's answers against the truth has to see it when they are wrong.
func TestNoLieIsMissed(t *testing.T) {
	t.Parallel()

	const within = 20 * time.Second

	begun := time.Now()
	good, bad, gone := fact{good: true, on: true, network: true}, fact{on: true, network: true}, fact{good: true, on: true}

	for name, c := range map[string]struct {
		is     fact
		trust  api.Trust
		quoted time.Duration // after it happened
		asked  time.Duration
		wrong  bool
	}{
		"trusted, by a quote after the bad boot":         {is: bad, trust: api.Trusted, quoted: time.Second, asked: 2 * time.Second, wrong: true},
		"still trusted, by a quote before the bad boot":  {is: bad, trust: api.Trusted, quoted: -time.Second, asked: 2 * time.Second},
		"trusted for too long after the bad boot":        {is: bad, trust: api.Trusted, quoted: -time.Second, asked: within + 1, wrong: true},
		"unknown for too long after the bad boot":        {is: bad, trust: api.Unknown, asked: within + 1, wrong: true},
		"untrusted after the bad boot":                   {is: bad, trust: api.Untrusted, asked: within + 1},
		"not trusted yet after a good boot":              {is: good, trust: api.Unknown, asked: within - 1},
		"not trusted for too long after a good boot":     {is: good, trust: api.Unknown, asked: within + 1, wrong: true},
		"trusted for too long after the network is gone": {is: gone, trust: api.Trusted, quoted: -time.Second, asked: within + 1, wrong: true},
		"unknown after the network is gone":              {is: gone, trust: api.Unknown, asked: within + 1},
		"asked before it had happened":                   {is: bad, trust: api.Trusted, quoted: -time.Second, asked: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			truth := newTruth([]string{"node"}, within)
			truth.served = begun.Add(-time.Hour)
			c.is.what, c.is.since = "something", begun
			truth.nodes["node"] = &c.is
			truth.hold(api.Host{Host: "node", Verdict: api.Verdict{Trust: c.trust, QuotedAt: begun.Add(c.quoted)}}, begun.Add(c.asked))

			if wrong := len(truth.wrong) > 0; wrong != c.wrong {
				t.Errorf("said to be wrong: %q", truth.wrong)
			}
		})
	}
}
