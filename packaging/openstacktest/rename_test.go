//go:build openstack

package openstacktest_test

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	serverapi "github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/publish"
)

// attested answers as an attestation server that knows this one node, and trusts it.
type attested struct {
	verdicts
	node string
}

func (a *attested) QueryHosts(ctx context.Context, names []string) ([]serverapi.Host, error) {
	answers, err := a.verdicts.QueryHosts(ctx, names)
	for i, name := range names {
		if name != a.node {
			answers[i] = serverapi.Host{Host: name, Verdict: serverapi.Verdict{Reason: "unknown_host"}}
		}
	}

	return answers, err
}

// TestWhoTakesTheNameOfATrustedNodeIsNotTrusted: whoever holds Nova's credential for Placement can rename providers.
func TestWhoTakesTheNameOfATrustedNodeIsNotTrusted(t *testing.T) {
	t.Parallel()

	const good, evil = "node7.example", "evil.example"

	for name, c := range map[string]struct {
		take func(t *testing.T, p noauth)
		says string
	}{
		"by swapping two names": {func(t *testing.T, p noauth) {
			p.rename(t, evil, good)
			p.setTraits(t, evil, trait)
		}, "alarm=identity_changed"},
		"for a provider inside itself": {func(t *testing.T, p noauth) {
			p.addProvider(t, "inside", evil)
			p.rename(t, "inside", good)
			p.setTraits(t, "inside", trait)
		}, "a host bears marks that it should not"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			p := noauth{startPlacement(t)}
			p.addHost(t, good)
			p.addHost(t, evil)

			said := &output{}
			publisher := publish.New(p.configure().Config, publish.Deps{
				Sink: openSink(t, p.configure()), Server: &attested{node: good}, Logger: slog.New(slog.NewTextHandler(said, nil)), Metrics: publish.NewMetrics(prometheus.NewRegistry()),
			})
			p.round(t, publisher, good)

			p.rename(t, good, "retired.example")
			c.take(t, p)
			p.round(t, publisher)

			if !strings.Contains(said.String(), c.says) {
				t.Errorf("it does not say %q:\n%s", c.says, said)
			}
		})
	}
}

// rename gives the provider that was added by a name another one.
func (n noauth) rename(t testing.TB, added, name string) {
	t.Helper()
	must(t, http.StatusOK, http.MethodPut, n.of(added), asAdmin, map[string]string{"name": name}, nil)
}

// round has a publisher reconcile once, after which exactly these providers have to bear the trait.
func (n noauth) round(t testing.TB, publisher *publish.Publisher, want ...string) {
	t.Helper()

	if _, err := publisher.Once(t.Context()); err != nil {
		t.Fatal(err)
	}

	var got []string
	for _, p := range n.bearers(t) {
		got = append(got, p.Name)
	}

	if !slices.Equal(got, want) {
		t.Errorf("the trait is on %v, not on %v", got, want)
	}
}
