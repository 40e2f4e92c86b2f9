//go:build openstack

package openstacktest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trustpool/trustpool/server/publish"
)

// behind puts somebody between the publisher and Placement: tamper sees each request first, and answers it or returns false.
func (n noauth) behind(t testing.TB, tamper func(w http.ResponseWriter, r *http.Request) bool) *publish.PlacementFile {
	t.Helper()

	f := n.configure()
	f.Placement.Endpoint = between(t, n.URL, tamper)

	return f
}

// between starts a proxy before an API and returns its URL. The API gets what tamper has made of each request, unless tamper returns true: then it has answered.
func between(t testing.TB, api string, tamper func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()

	target, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}

	to := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !tamper(w, r) {
			to.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(proxy.Close)

	return proxy.URL
}

// isTraitWrite: does a request write the traits of that host?
func isTraitWrite(r *http.Request, host string) bool {
	return r.Method == http.MethodPut && r.URL.Path == "/resource_providers/"+uuidOf(host)+"/traits"
}

func TestConflictsAreResolved(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1", "COMPUTE_NODE")

	// Somebody else writes between the publisher's reading and its writing, and does so three times.
	others := []string{"HW_CPU_X86_VMX", "HW_CPU_X86_AVX", "HW_CPU_X86_SSE"}

	var met int

	s := openSink(t, p.behind(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if isTraitWrite(r, "compute1") && met < len(others) {
			p.setTraits(t, "compute1", append(p.traits(t, "compute1").Traits, others[met])...)
			met++
		}

		return false
	}))
	s.read(t)
	s.write(t, "compute1", trait)

	want := slices.Sorted(slices.Values(append(others, "COMPUTE_NODE", trait)))
	if got := p.traits(t, "compute1").Traits; !slices.Equal(got, want) {
		t.Errorf("traits are %v, want %v", got, want)
	}

	if got := s.conflicts.Load(); got != 3 {
		t.Errorf("%d conflicts were counted, want 3", got)
	}
}

func TestConflictsWithoutEndAreGivenUp(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1")
	p.addHost(t, "compute2")

	odd := false
	s := openSink(t, p.behind(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if isTraitWrite(r, "compute1") {
			odd = !odd
			p.setTraits(t, "compute1", map[bool]string{true: "HW_CPU_X86_VMX", false: "HW_CPU_X86_AVX"}[odd])
		}

		return false
	}))
	s.read(t)

	err := s.Write(t.Context(), "compute1", publish.State{Marks: []string{trait}})
	if err == nil || !strings.Contains(err.Error(), "in conflict with others 5 times") {
		t.Errorf("Write() = %v", err)
	}

	s.write(t, "compute2", trait)

	if got := p.candidates(t, trait); !slices.Equal(got, []string{"compute2"}) {
		t.Errorf("candidates are %v", got)
	}
}

// Placement answers 500 where its database is locked, or has ended a transaction that was in a deadlock.
func TestPlacementThatIsBusyForAMomentIsAskedAgain(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1", "COMPUTE_NODE")

	var tries, busy int

	s := openSink(t, p.behind(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !isTraitWrite(r, "compute1") {
			return false
		}

		tries++

		if tries <= busy {
			http.Error(w, "database is locked", http.StatusInternalServerError)
		}

		return tries <= busy
	}))
	s.read(t)

	busy = 3
	s.write(t, "compute1", trait)

	tries, busy = 0, 4
	s.write(t, "compute1")

	if got := p.traits(t, "compute1").Traits; !slices.Equal(got, []string{"COMPUTE_NODE"}) {
		t.Errorf("traits are %v", got)
	}

	tries, busy = 0, 100
	if err := s.Write(t.Context(), "compute1", publish.State{Marks: []string{trait}}); err == nil || !strings.Contains(err.Error(), "database is locked") || tries != 5 {
		t.Errorf("Write() = %v after %d tries", err, tries)
	}

	if got := s.conflicts.Load(); got != 0 {
		t.Errorf("%d conflicts were counted", got)
	}
}

func TestTwoPublishersAtOnce(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}

	var hosts []string

	for i := range 12 {
		hosts = append(hosts, fmt.Sprintf("compute%02d", i))
		p.addHost(t, hosts[i], "COMPUTE_NODE")
	}

	sinks := []sink{openSink(t, p.configure()), openSink(t, p.configure())}

	var conflicts int64

	for _, marks := range [][]string{{trait}, nil, {trait}} {
		var both errgroup.Group

		for _, s := range sinks {
			s.read(t)

			for _, host := range hosts {
				both.Go(func() error { return s.Write(t.Context(), host, publish.State{Marks: marks}) })
			}
		}

		if err := both.Wait(); err != nil {
			t.Fatal(err)
		}

		for _, host := range hosts {
			if got := p.traits(t, host).Traits; !slices.Equal(got, append([]string{"COMPUTE_NODE"}, marks...)) {
				t.Errorf("traits of %s are %v, want %v and its own", host, got, marks)
			}
		}
	}

	for _, s := range sinks {
		conflicts += s.conflicts.Load()
	}

	t.Logf("they met %d times", conflicts)
}

func TestHostThatPlacementRefusesStopsNoOther(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1")
	p.addHost(t, "compute2")

	s := openSink(t, p.behind(t, func(w http.ResponseWriter, r *http.Request) bool {
		bad := strings.Contains(r.URL.Path, uuidOf("compute1"))
		if bad {
			http.Error(w, "no", http.StatusInternalServerError)
		}

		return bad
	}))
	s.read(t)

	if err := s.Write(t.Context(), "compute1", publish.State{Marks: []string{trait}}); err == nil {
		t.Error("writing compute1: no error")
	}

	s.write(t, "compute2", trait)
}

func TestPlacementThatHangsIsNotWaitedFor(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}

	f := p.behind(t, func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()

		return true
	})
	f.Placement.Timeout = 100 * time.Millisecond

	var timeout interface{ Timeout() bool }

	_, err := openSink(t, f).Read(t.Context())
	if !errors.As(err, &timeout) || !timeout.Timeout() || t.Context().Err() != nil {
		t.Errorf("Read() = %v", err)
	}
}

func TestAnswerWithoutEndIsCutOff(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}

	var sent atomic.Int64

	f := p.behind(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}

		w.Header().Set("Content-Type", "application/json")

		for piece := []byte(`{"x": "` + strings.Repeat("x", 1<<20)); r.Context().Err() == nil; {
			n, err := w.Write(piece)
			sent.Add(int64(n))

			if err != nil {
				break
			}
		}

		return true
	})
	f.Placement.Timeout = time.Minute

	_, err := openSink(t, f).Read(t.Context())

	var tooLarge *http.MaxBytesError
	if !errors.As(err, &tooLarge) {
		t.Errorf("Read() = %v, after %d MiB", err, sent.Load()>>20)
	}
}

func TestTokenIsNotTakenElsewhere(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}

	var elsewhere atomic.Int64

	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)

	_, err := openSink(t, p.behind(t, func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)

		return true
	})).Read(t.Context())
	if err == nil || elsewhere.Load() > 0 {
		t.Errorf("Read() = %v, and the other place was called %d times", err, elsewhere.Load())
	}
}

func TestReadThatFailsIsNoReasonToKeepTraits(t *testing.T) {
	t.Parallel()

	p := noauth{startPlacement(t)}
	p.addHost(t, "compute1")

	var fails atomic.Bool

	s := openSink(t, p.behind(t, func(w http.ResponseWriter, r *http.Request) bool {
		listing := r.URL.Path == "/resource_providers" && fails.Load()
		if listing {
			http.Error(w, "no", http.StatusServiceUnavailable)
		}

		return listing
	}))
	s.read(t)
	s.write(t, "compute1", trait)

	fails.Store(true)

	if _, err := s.Read(context.Background()); err == nil {
		t.Error("reading: no error")
	}

	s.write(t, "compute1")

	if got := p.traits(t, "compute1").Traits; len(got) != 0 {
		t.Errorf("traits are %v", got)
	}
}
