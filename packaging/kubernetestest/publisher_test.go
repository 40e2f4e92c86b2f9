//go:build kubernetes

package kubernetestest_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/publish"
)

// TestFromNodesToPods has real agents on simulated nodes, an attestation server, two publishers, an API server and a scheduler.
func TestFromNodesToPods(t *testing.T) {
	t.Parallel()

	r := startCluster(t)
	r.install(t)
	r.account(t, "default")
	s := startSite(t, 3)

	// They register with the taint. Nobody attests the last one, and node3 is of the control plane.
	registered := func() object {
		return object{"taints": []any{object{"key": taintKey, "value": "true", "effect": "NoSchedule"}}}
	}
	for _, name := range []string{"node1", "node2", "stranger"} {
		r.hostNamed(t, name, registered())
	}
	r.create(t, object{"name": "node3", "labels": object{"node-role.kubernetes.io/control-plane": ""}}, nil)

	asks := recipe(t, "name: asks-by-selector")
	r.pod(t, "early", asks)
	r.pod(t, "early-plain", plain)
	first := s.publisher(t, r)
	s.publisher(t, r)
	r.unschedulable(t, "early")
	r.unschedulable(t, "early-plain")

	good := publish.State{Marks: []string{mark}}
	s.trust(t)
	took := r.shows(t, map[string]publish.State{
		"node1": good, "node2": good, "stranger": {Bar: publish.NoNewGuests}, "node3": {Marks: []string{mark}, Held: true},
	})
	t.Logf("from the approval of the known-good sets to all labels: %s", took)
	r.landsOn(t, "early", "")
	r.landsOn(t, "early-plain", "")

	began := time.Now()
	s.reboot(t, "node1", "other-hypervisor")
	r.shows(t, map[string]publish.State{"node1": {Bar: publish.NoGuests}, "node2": good})
	t.Logf("from the reboot into another hypervisor to no label and a taint NoExecute: %s", time.Since(began))

	for i := range 3 {
		name := fmt.Sprint("late-", i)
		r.pod(t, name, asks)
		r.landsOn(t, name, "node2")
	}

	first.Kill() // one of two: nobody notices

	began = time.Now()
	s.reboot(t, "node1", "trusted")
	r.shows(t, map[string]publish.State{"node1": good, "node2": good})
	t.Logf("from the reboot back to the label: %s", time.Since(began))

	r.apiserver.Kill()
	s.reboot(t, "node2", "other-hypervisor")
	until(t, "the verdict", func() error { return s.listed(t, " untrusted", 1) })
	r.startAPIServer(t)
	t.Logf("from an API server that is ready again to what has changed meanwhile: %s", r.shows(t, map[string]publish.State{"node1": good, "node2": {Bar: publish.NoGuests}}))

	// Slow: it answers nothing at all, and what comes is not lost.
	if err := r.apiserver.Cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.reboot(t, "node2", "trusted")
	until(t, "the verdict", func() error { return s.listed(t, " untrusted", 0) })
	if err := r.apiserver.Cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.shows(t, map[string]publish.State{"node1": good, "node2": good})

	s.server.Kill()
	took = r.shows(t, map[string]publish.State{"node1": {Bar: publish.NoNewGuests}, "node2": {Bar: publish.NoNewGuests}, "node3": {Held: true}})
	t.Logf("from the attestation server's end to no labels, with max_age 5s: %s", took)
	// The scheduler lost the API server for a while, and acts on what it saw last until it follows again. What it hears comes in its order: when it knows a new node, it knows of the labels, too.
	r.hostNamed(t, "newest", nil)
	r.pod(t, "newest", onNewest)
	r.landsOn(t, "newest", "newest")
	r.pod(t, "last", asks)
	r.unschedulable(t, "last")

	if took > 8*time.Second {
		t.Errorf("labels went after %s", took)
	}
}

// shows waits until the nodes show these states, and returns how long that took.
func (r *realCluster) shows(t *testing.T, want map[string]publish.State) time.Duration {
	t.Helper()

	began := time.Now()
	sink := r.sink(t, nil)

	until(t, "the nodes' states", func() error {
		states, err := sink.Read(t.Context())
		if err != nil {
			return err
		}

		got := make(map[string]publish.State)
		for name := range want {
			state := states[name]
			state.ID = "" // the node object's uid
			got[name] = state
		}

		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("-want +got\n%s", diff)
		}

		return nil
	})

	return time.Since(began).Round(time.Millisecond)
}

// verdicts says of all hosts the same. It tells of no changes.
type verdicts struct{ trust api.Trust }

func (v verdicts) QueryHosts(_ context.Context, names []string) ([]api.Host, error) {
	hosts := make([]api.Host, 0, len(names))
	for _, name := range names {
		hosts = append(hosts, api.Host{Host: name, Node: name, Pool: "p", Verdict: api.Verdict{Trust: v.trust, ExpiresAt: time.Now().Add(time.Hour)}})
	}

	return hosts, nil
}

func (verdicts) Events(ctx context.Context, _ int64) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		<-ctx.Done()
		yield(api.Event{}, ctx.Err())
	}
}

func TestThousandNodes(t *testing.T) {
	r := startCluster(t)
	r.install(t)

	images := make([]any, 0, 50)
	for i := range 50 {
		images = append(images, object{"names": []any{fmt.Sprintf("registry.example/team/application-%02d@sha256:%064d", i, i), fmt.Sprintf("registry.example/team/application-%02d:v1.%d", i, i)}, "sizeBytes": 100000000})
	}

	const nodes = 1000

	var name string
	for range nodes {
		name = r.host(t, nil)
		r.check(t, r.admin, []right{{"images", "PATCH", "/api/v1/nodes/" + name + "/status", "application/merge-patch+json", object{"status": object{"images": images}}, 200}})
	}

	t.Logf("a node is %d bytes of JSON", len(encode(r.call(t, http.MethodGet, "/api/v1/nodes/"+name, nil, http.StatusOK))))

	for _, step := range []struct {
		name   string
		trust  api.Trust
		change bool
	}{
		{"all become trusted", api.Trusted, true},
		{"nothing has changed", api.Trusted, false},
		{"all become untrusted", api.Untrusted, true},
	} {
		file := publish.DefaultKubernetesFile()
		file.Bars.NoNewGuests = publish.NotTrusted
		publisher := publish.New(file.Config, publish.Deps{
			Sink: r.sink(t, nil), Server: verdicts{step.trust}, Logger: slog.New(slog.DiscardHandler), Metrics: publish.NewMetrics(prometheus.NewRegistry()),
		})

		began := time.Now()
		report, err := publisher.Once(t.Context())
		took := time.Since(began)

		if err != nil || report.Hosts < nodes || step.change != (len(report.Changes) >= nodes) {
			t.Fatalf("%s: %d hosts, %d changes, error %v", step.name, report.Hosts, len(report.Changes), err)
		}

		t.Logf("%d nodes, %s: %d writes in %s", report.Hosts, step.name, len(report.Changes), took.Round(time.Millisecond))
	}
}
