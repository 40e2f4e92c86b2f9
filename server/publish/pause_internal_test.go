package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gophercloud/gophercloud/v2"
)

// answers is a transport on which each write gets the next of these statuses, and each reading an object without anything in it.
type answers struct {
	reading string
	writes  []int

	written []time.Time
}

// RoundTrip is http.RoundTripper's.
func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := &http.Response{Request: r, StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(a.reading))}
	if r.Method != http.MethodGet {
		answer.StatusCode = a.writes[len(a.written)]
		a.written = append(a.written, time.Now())
		answer.Body = io.NopCloser(strings.NewReader(`{"errors": [{"code": "placement.concurrent_update"}]}`))
	}
	return answer, r.Context().Err()
}

// pauses are those between the writes.
func (a *answers) pauses() []time.Duration {
	var all []time.Duration
	for i := range a.written[1:] {
		all = append(all, a.written[i+1].Sub(a.written[i]))
	}
	return all
}

func (a *answers) placement() *Placement {
	client := &gophercloud.ProviderClient{HTTPClient: http.Client{Transport: a}, TokenID: "admin"}
	found := &cloud{client: client, placement: &gophercloud.ServiceClient{ProviderClient: client, Endpoint: "http://placement/", Type: "placement"}}
	return &Placement{cloud: found, env: Env{Marks: []string{"T"}, Conflict: func() {}}, providers: map[string]provider{"a": {uuid: "a", root: true}}}
}

// node is what is read: a node of Kubernetes, and to Placement the traits of a provider that has none.
const node = `{"kind": "Node", "metadata": {"name": "a", "resourceVersion": "7"}, "resource_provider_generation": 0, "traits": []}`

func (a *answers) kubernetes() *Kubernetes {
	return &Kubernetes{api: &kubernetesAPI{base: &url.URL{Scheme: "https", Host: "kubernetes"}, client: &http.Client{Transport: a}}, marks: []string{"T"}, conflict: func() {}}
}

// The least that a pause takes is half of the longest; the longest doubles from 20 ms up to half a second.
func TestAWriteIsTriedAgainAfterPausesThatGrow(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sink   func(*answers) Sink
		writes []int
		want   string // in the error; empty: there is none
	}{
		"Placement is busy":            {func(a *answers) Sink { return a.placement() }, []int{500, 503, 409, 500, 200}, ""},
		"Placement is busy for long":   {func(a *answers) Sink { return a.placement() }, []int{409, 500, 500, 500, 500}, "500"},
		"others write to Placement":    {func(a *answers) Sink { return a.placement() }, []int{409, 409, 500, 409, 409}, "in conflict with others 4 times"},
		"others write to Kubernetes":   {func(a *answers) Sink { return a.kubernetes() }, []int{409, 409, 409, 409, 409, 409, 409, 409, 409, 409}, "409"},
		"others wrote to Kubernetes":   {func(a *answers) Sink { return a.kubernetes() }, []int{409, 409, 200}, ""},
		"what is refused stays so":     {func(a *answers) Sink { return a.placement() }, []int{403}, "403"},
		"Kubernetes is not well":       {func(a *answers) Sink { return a.kubernetes() }, []int{500}, "500"},
		"what is not there stays away": {func(a *answers) Sink { return a.placement() }, []int{404}, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := &answers{reading: node, writes: test.writes}
				err := test.sink(a).Write(t.Context(), "a", State{Marks: []string{"T"}})
				if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("error %v, want %q", err, test.want)
				}
				if len(a.written) != len(test.writes) {
					t.Fatalf("%d tries, want %d", len(a.written), len(test.writes))
				}
				longest := 20 * time.Millisecond
				for i, pause := range a.pauses() {
					if pause < longest/2 || pause > longest {
						t.Errorf("pause %d took %s, want %s to %s", i, pause, longest/2, longest)
					}
					longest = min(2*longest, 500*time.Millisecond)
				}
			})
		})
	}
}

func TestAPauseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, sink := range map[string]func(*answers) Sink{
		"Placement": func(a *answers) Sink { return a.placement() }, "Kubernetes": func(a *answers) Sink { return a.kubernetes() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				defer cancel()
				a := &answers{reading: node, writes: []int{409, 200}}
				began := time.Now()
				err := sink(a).Write(ctx, "a", State{Marks: []string{"T"}})
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), "409") {
					t.Errorf("error %v, want the context's end, and what was met before", err)
				}
				if took := time.Since(began); took != 5*time.Millisecond || len(a.written) != 1 {
					t.Errorf("%d tries, and it took %s", len(a.written), took)
				}
			})
		})
	}
}

func TestOpenStacksAnswersWithoutTheListAreNotBelieved(t *testing.T) {
	t.Parallel()

	for body, good := range map[string]bool{
		`{"resource_provider_generation": 7, "traits": ["T"]}`: true,
		`{}`:                                  false,
		`null`:                                false,
		`{"traits": ["T"]}`:                   false,
		`{"resource_provider_generation": 7}`: false,
		`{"resource_provider_generation": 7, "traits": null}`:     false,
		`{"resource_provider_generation": null, "traits": ["T"]}`: false,
	} {
		a := &answers{reading: body, writes: []int{200}}
		if err := a.placement().Write(t.Context(), "a", State{}); (err == nil) != good || (len(a.written) == 1) != good {
			t.Errorf("traits %s: error %v, written %d times", body, err, len(a.written))
		}
	}
	for body, good := range map[string]bool{`{"hypervisors": [{"id": "a", "hypervisor_version": 1, "service": {"id": "b"}}]}`: true, `{"hypervisors": []}`: false, `{}`: false, `{"hypervisors": null}`: false} {
		p := (&answers{reading: body}).placement()
		p.cloud.compute = p.cloud.placement
		if nodes, err := p.listNodes(t.Context()); (err == nil) != good || (len(nodes) == 1) != good {
			t.Errorf("hypervisors %s: %d, error %v", body, len(nodes), err)
		}
	}
}
