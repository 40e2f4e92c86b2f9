package kubernetestest_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/trustpool/trustpool/server/publish"
)

const (
	mark     = "node-restriction.kubernetes.io/trustpool-trusted"
	goldMark = "node-restriction.kubernetes.io/trustpool-gold"
	taintKey = "trustpool/untrusted"
	// notReady is the key of a taint that every node is born with, and that a controller takes away once its kubelet is well.
	notReady = "node.kubernetes.io/not-ready"
)

// cluster is an API server and who may call it, each by a token: an administrator, the publisher with no more rights than its manifest gives, and an account without any.
type cluster struct {
	url                        string
	ca                         []byte // DER
	admin, publisher, stranger string
	// compact makes the server forget the revisions that are older than now: lists that began with one can't be continued.
	compact func(*testing.T)

	nodes atomic.Int64 // that were created
	once  sync.Once
	http  *http.Client
}

// TestSinkOnStandIn runs the suite without a cluster.
func TestSinkOnStandIn(t *testing.T) {
	t.Parallel()
	suite(t, newStandIn(t))
}

// suite is what a sink does on a cluster, in the order given: its tests share the cluster's nodes by different names.
func suite(t *testing.T, c *cluster) {
	for name, test := range map[string]func(*testing.T, *cluster){
		"a state is written, read back and taken away, and nothing else changes": writesOnlyItsOwn,
		"taints of others survive, also those that come meanwhile":               keepsOthersTaints,
		"what shows the state already is not written again":                      writesNothingTwice,
		"the key with two effects becomes one taint":                             mendsTwoEffects,
		"a label with another value is no mark, and is mended":                   mendsOtherValues,
		"a node that is gone is no host":                                         findsNoHost,
		"many nodes are read in pages, and again when the list has expired":      readsPages,
		"two publishers at once agree":                                           agreesWithItself,
		"callers without rights are told what to do":                             explainsRefusals,
		"nodes outside the selector are held":                                    holdsOthersNodes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

func writesOnlyItsOwn(t *testing.T, c *cluster) {
	node := c.create(t, object{"labels": object{"team": "blue"}, "annotations": object{"note": "kept"}}, object{"providerID": "test://machine", "taints": []any{other("NoSchedule")}})
	before := c.get(t, node)
	sink := c.sink(t, nil)

	if diff := cmp.Diff(publish.State{}, c.read(t, sink)[node]); diff != "" {
		t.Errorf("a fresh node: -want +got\n%s", diff)
	}

	for _, want := range []publish.State{
		{Marks: []string{goldMark, mark}},
		{Bar: publish.NoNewGuests, Reason: "pcr_mismatch"},
		{Bar: publish.NoGuests, Reason: "quote_invalid"},
		{Marks: []string{mark}, Bar: publish.NoNewGuests, Reason: "because"},
		{Marks: []string{mark}},
		{},
	} {
		c.write(t, sink, node, want)
		annotations, _ := c.get(t, node)["metadata"].(object)["annotations"].(object)

		if got, _ := annotations["trustpool/reason"].(string); got != want.Reason {
			t.Errorf("the reason is %q, want %q", got, want.Reason)
		}

		want.Reason = "" // not read back
		if diff := cmp.Diff(want, c.read(t, sink)[node]); diff != "" {
			t.Errorf("-written +read\n%s", diff)
		}
	}

	if diff := cmp.Diff(before, c.get(t, node)); diff != "" {
		t.Errorf("-before +after\n%s", diff)
	}
}

func keepsOthersTaints(t *testing.T, c *cluster) {
	node := c.create(t, nil, object{"taints": []any{other("NoSchedule"), other("NoExecute")}})
	sink := c.sink(t, nil)

	// Somebody else adds taints while ours comes and goes. All of his have to be there at the end. He writes less often than a write of ours has tries, so that none can lose to him each time.
	const rounds = 9

	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range rounds {
			c.update(t, node, func(n object) {
				spec := child(n, "spec")
				taints, _ := spec["taints"].([]any)
				spec["taints"] = append(taints, object{"key": fmt.Sprint("another/", i), "value": "x", "effect": "PreferNoSchedule"})
			})
		}
	})

	for i := range rounds {
		c.write(t, sink, node, publish.State{Bar: publish.Bar(i % 3)})
	}
	wg.Wait()

	c.write(t, sink, node, publish.State{Bar: publish.NoNewGuests})

	seen := make(map[string]bool)
	for _, each := range c.get(t, node)["spec"].(object)["taints"].([]any) {
		seen[fmt.Sprint(each.(object)["key"], " ", each.(object)["effect"])] = true
	}

	want := map[string]bool{"other/one NoSchedule": true, "other/one NoExecute": true, taintKey + " NoSchedule": true}
	for i := range rounds {
		want[fmt.Sprint("another/", i, " PreferNoSchedule")] = true
	}

	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func writesNothingTwice(t *testing.T, c *cluster) {
	node := c.create(t, nil, nil)
	sink := c.sink(t, nil)

	for _, want := range []publish.State{{}, {Marks: []string{mark}}, {Bar: publish.NoGuests, Reason: "x"}, {}} {
		c.write(t, sink, node, want)
		before := c.revision(t, node)
		c.write(t, sink, node, want)

		if after := c.revision(t, node); after != before {
			t.Errorf("%+v written twice: revision %s became %s", want, before, after)
		}
	}
}

func mendsTwoEffects(t *testing.T, c *cluster) {
	ours := func(effect string) object { return object{"key": taintKey, "value": "true", "effect": effect} }
	sink := c.sink(t, nil)

	for _, want := range []publish.State{{}, {Bar: publish.NoNewGuests}, {Bar: publish.NoGuests}} {
		node := c.create(t, nil, object{"taints": []any{ours("NoSchedule"), other("NoSchedule"), ours("NoExecute"), ours("PreferNoSchedule")}})

		if got := c.read(t, sink)[node].Bar; got != publish.NoGuests {
			t.Errorf("both effects are read as %d, want the stronger", got)
		}

		c.write(t, sink, node, want)

		left := []any{other("NoSchedule")}
		if want.Bar != publish.NoBar {
			left = append(left, ours(map[publish.Bar]string{publish.NoNewGuests: "NoSchedule", publish.NoGuests: "NoExecute"}[want.Bar]))
		}

		if diff := cmp.Diff(left, withoutTimes(c.get(t, node)["spec"].(object)["taints"]), cmpopts.SortSlices(func(a, b any) bool { return fmt.Sprint(a) < fmt.Sprint(b) })); diff != "" {
			t.Errorf("%+v: -want +got\n%s", want, diff)
		}
	}
}

func mendsOtherValues(t *testing.T, c *cluster) {
	sink := c.sink(t, nil)

	for _, want := range []publish.State{{}, {Marks: []string{mark}}} {
		node := c.create(t, object{"labels": object{mark: "yes"}}, nil)

		if diff := cmp.Diff(publish.State{Marks: []string{mark + "=yes"}}, c.read(t, sink)[node]); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}

		c.write(t, sink, node, want)

		if diff := cmp.Diff(want, c.read(t, sink)[node]); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
}

func findsNoHost(t *testing.T, c *cluster) {
	node := c.create(t, nil, nil)
	sink := c.sink(t, nil)
	c.call(t, http.MethodDelete, "/api/v1/nodes/"+node, nil, http.StatusOK)

	for _, host := range []string{node, "", "..", "a/b", "Upper", "x?y"} {
		if err := sink.Write(t.Context(), host, publish.State{}); !errors.Is(err, publish.ErrNoHost) {
			t.Errorf("%q: error %v, want ErrNoHost", host, err)
		}
	}

	// A path that leads nowhere must not look like a node that is gone.
	lost := c.sink(t, func(file *publish.KubernetesFile) { file.Kubernetes.URL += "/nowhere" })
	if err := lost.Write(t.Context(), node, publish.State{}); err == nil || errors.Is(err, publish.ErrNoHost) {
		t.Errorf("with a wrong path: error %v, want another than ErrNoHost", err)
	}

	if _, err := lost.Read(t.Context()); err == nil {
		t.Error("with a wrong path, nodes are read")
	}
}

func readsPages(t *testing.T, c *cluster) {
	var names []string
	for range 510 {
		names = append(names, c.create(t, nil, nil))
	}

	contains(t, c.read(t, c.sink(t, nil)), names)

	// The first list expires after its first page; the second one is whole.
	var newer string
	front := c.front(t, func(lists, pages int) {
		if lists == 1 && pages == 1 {
			newer = c.create(t, nil, nil) // or else there is nothing that the list lacks
			c.compact(t)
		}
	})

	expired := c.sink(t, func(file *publish.KubernetesFile) {
		file.Kubernetes.URL = front.url
		writeFile(t, file.Kubernetes.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.ca}))
	})
	states := c.read(t, expired)
	contains(t, states, append(names, newer))

	if gone := front.gone.Load(); gone != 1 {
		t.Errorf("%d lists expired, want one", gone)
	}
}

// contains: other tests' nodes come and go meanwhile, so that their number says nothing.
func contains(t *testing.T, states map[string]publish.State, names []string) {
	t.Helper()

	for _, name := range names {
		if _, ok := states[name]; !ok {
			t.Errorf("%s is missing in %d nodes", name, len(states))
		}
	}
}

// Each write has as many tries as there are writes of the others, and one more, so that none can lose to them each time.
func agreesWithItself(t *testing.T, c *cluster) {
	node := c.create(t, nil, nil)
	want := publish.State{Marks: []string{mark}, Bar: publish.NoNewGuests}

	var wg sync.WaitGroup
	for range 4 {
		sink := c.sink(t, nil)

		wg.Go(func() {
			for _, bar := range []publish.Bar{publish.NoGuests, publish.NoBar} {
				if err := sink.Write(t.Context(), node, publish.State{Bar: bar}); err != nil {
					t.Error(err)
				}
			}

			if err := sink.Write(t.Context(), node, want); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()

	if diff := cmp.Diff(want, c.read(t, c.sink(t, nil))[node]); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	if taints := c.get(t, node)["spec"].(object)["taints"].([]any); len(taints) != 1 {
		t.Errorf("taints %v, want one", taints)
	}
}

func explainsRefusals(t *testing.T, c *cluster) {
	node := c.create(t, nil, nil)

	for token, hint := range map[string]string{"wrong": "401 Unauthorized", c.stranger: "403 Forbidden"} {
		sink := c.sink(t, func(file *publish.KubernetesFile) { writeFile(t, file.Kubernetes.TokenFile, []byte(token)) })

		_, readErr := sink.Read(t.Context())
		for _, err := range []error{readErr, sink.Write(t.Context(), node, publish.State{})} {
			if err == nil || !strings.Contains(err.Error(), hint) {
				t.Errorf("error %v, want one with %q", err, hint)
			}
		}
	}

	// Tokens are replaced while the publisher runs.
	var tokenFile string
	sink := c.sink(t, func(file *publish.KubernetesFile) { tokenFile = file.Kubernetes.TokenFile })
	writeFile(t, tokenFile, []byte("wrong"))

	if _, err := sink.Read(t.Context()); err == nil {
		t.Error("nodes are read with a token that is not in the file any more")
	}

	writeFile(t, tokenFile, []byte(c.publisher+"\n"))
	c.read(t, sink)
}

func holdsOthersNodes(t *testing.T, c *cluster) {
	registered := object{"taints": []any{object{"key": taintKey, "value": "true", "effect": "NoSchedule"}}}
	plane := c.create(t, object{"labels": object{"node-role.kubernetes.io/control-plane": ""}}, registered)
	worker := c.create(t, nil, registered)
	barring := c.sink(t, nil)
	labelling := c.sink(t, func(file *publish.KubernetesFile) {
		file.Bars = publish.BarsConfig{NoNewGuests: publish.Never, NoGuests: publish.Never}
	})

	for name, want := range map[string]struct {
		sink publish.Sink
		node string
		held bool
	}{
		"a worker":        {barring, worker, false},
		"a control plane": {barring, plane, true},
		"without bars":    {labelling, worker, true},
	} {
		state := c.read(t, want.sink)[want.node]
		if diff := cmp.Diff(publish.State{Bar: publish.NoNewGuests, Held: want.held}, state); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}

	// Labels are written on a held node, and whatever becomes of its taints meanwhile stays.
	c.write(t, barring, plane, publish.State{Marks: []string{mark}, Held: true})

	if diff := cmp.Diff(publish.State{Marks: []string{mark}, Bar: publish.NoNewGuests, Held: true}, c.read(t, barring)[plane]); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
