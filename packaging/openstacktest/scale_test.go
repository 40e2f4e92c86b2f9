//go:build openstack

package openstacktest_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	serverapi "github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/publish"
)

// manyHosts is how many hosts the figures are for.
const manyHosts = 500

// mostRounds is how many rounds all may take.
const mostRounds = 20

// verdicts answers as an attestation server that trusts all hosts but one, and has no news.
type verdicts struct{ untrusted string }

func (v *verdicts) QueryHosts(_ context.Context, names []string) ([]serverapi.Host, error) {
	answers := make([]serverapi.Host, 0, len(names))

	for i, name := range names {
		verdict := serverapi.Verdict{Trust: serverapi.Trusted, Reason: "ok", ExpiresAt: time.Now().Add(time.Hour), Generation: int64(i) + 1}
		if name == v.untrusted {
			verdict = serverapi.Verdict{Trust: serverapi.Untrusted, Reason: "pcr_mismatch", Generation: manyHosts + 1}
		}

		answers = append(answers, serverapi.Host{Host: name, Node: name, Pool: "gold", Verdict: verdict})
	}

	return answers, nil
}

func (v *verdicts) Events(ctx context.Context, _ int64) iter.Seq2[serverapi.Event, error] {
	return func(yield func(serverapi.Event, error) bool) {
		<-ctx.Done()
		yield(serverapi.Event{}, ctx.Err())
	}
}

// TestFiveHundredHosts runs alone, for its figures are of an otherwise idle Placement.
func TestFiveHundredHosts(t *testing.T) {
	p := noauth{startPlacement(t)}

	var adding errgroup.Group

	adding.SetLimit(8)

	for i := range manyHosts {
		adding.Go(func() error {
			name := fmt.Sprintf("compute%03d.example", i)
			status, said, err := exchange(t.Context(), http.MethodPost, p.URL+"/resource_providers", asAdmin, map[string]string{"name": name, "uuid": uuidOf(name)})

			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("adding %s: status %d: %s", name, status, said)
			}

			return err
		})
	}

	if err := adding.Wait(); err != nil {
		t.Fatal(err)
	}

	config := p.configure().Config
	config.MaxAge = time.Hour // a round is not to be broken off
	server := &verdicts{}
	publisher := publish.New(config, publish.Deps{
		Sink: openSink(t, p.configure()), Server: server, Logger: slog.New(slog.DiscardHandler), Metrics: publish.NewMetrics(prometheus.NewRegistry()),
	})

	// A round writes what it can: on a busy machine, a write may fail that the next round makes up for.
	reconcile := func(what string, changes int) {
		t.Helper()

		began, took, rounds := time.Now(), time.Duration(0), 0

		for {
			report, err := publisher.Once(t.Context())
			took, rounds = time.Since(began), rounds+1

			if report.Hosts != manyHosts || rounds == mostRounds || changes == 0 && len(report.Changes) > 0 {
				t.Fatalf("%s: %d hosts, %d changes after %d rounds, %v", what, report.Hosts, len(report.Changes), rounds, err)
			}

			if err == nil && len(p.bearers(t)) == manyHosts-changed(server) {
				break
			}
		}

		t.Logf("figure: %s: %d hosts in %.2f s, in %d rounds", what, manyHosts, took.Seconds(), rounds)
	}

	reconcile("first publish", manyHosts)
	reconcile("nothing changed", 0)

	server.untrusted = "compute250.example"
	reconcile("one host lost its trust", 1)
}

// changed is how many hosts are not trusted.
func changed(v *verdicts) int {
	if v.untrusted == "" {
		return 0
	}

	return 1
}

// bearers returns the hosts that bear the trait.
func (n noauth) bearers(t testing.TB) []provider {
	t.Helper()

	var got struct {
		Providers []provider `json:"resource_providers"`
	}

	must(t, http.StatusOK, http.MethodGet, n.URL+"/resource_providers?required="+trait, asAdmin, nil, &got)

	return got.Providers
}
