package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// markValue is the value of every label and taint that Kubernetes writes; pods select by it.
const markValue = "true"

// reasonAnnotation tells people why a node is tainted. Nothing reads it back.
const reasonAnnotation = "trustpool/reason"

// A list of nodes is read in pages, and from the beginning where etcd has dropped the revision that it began with.
const (
	pageNodes = 250
	maxPages  = 1000
	maxLists  = 3
)

// Kubernetes is a cluster's nodes as a Sink. A mark is a label with the value "true"; the bar is a taint: NoNewGuests has the effect NoSchedule, NoGuests NoExecute. Of a node it changes these labels,
// the taints with its key and the annotation trustpool/reason, in one request; whether an operator has cordoned a node is his own affair and not looked at.
//
// Held are the nodes that KubernetesConfig.TaintNodes does not select, and all nodes if there are to be no bars: their taints are left alone.
type Kubernetes struct {
	api   *kubernetesAPI
	marks []string
	taint string
	// barred: nodes may have to be kept from guests. taintNodes selects them.
	barred     bool
	taintNodes []requirement
}

// Open implements File.
func (f *KubernetesFile) Open(env Env) (Sink, error) {
	nodes, err := parseSelector(f.Kubernetes.TaintNodes)
	if err != nil {
		return nil, err
	}

	api, err := newKubernetesAPI(f.Kubernetes, env)
	if err != nil {
		return nil, fmt.Errorf("preparing to call the Kubernetes API: %w", err)
	}

	return &Kubernetes{api: api, marks: env.Marks, taint: f.Kubernetes.Taint, barred: f.barred(), taintNodes: nodes}, nil
}

// kubernetesNode is what matters here of a Node (Kubernetes API reference, core/v1).
type kubernetesNode struct {
	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Taints []kubernetesTaint `json:"taints"`
	} `json:"spec"`
}

type kubernetesTaint struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Effect string `json:"effect"`
}

type kubernetesNodeList struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []kubernetesNode `json:"items"`
}

// Read implements Sink. A label of ours with another value than "true" is returned as the mark KEY=VALUE, which nobody wants: what differs is written.
func (k *Kubernetes) Read(ctx context.Context) (map[string]State, error) {
	var err error

	for range maxLists {
		var states map[string]State

		states, err = k.list(ctx)
		if err == nil {
			return states, nil
		}

		if !isStatus(err, http.StatusGone) {
			break
		}
	}

	return nil, fmt.Errorf("listing the nodes: %w", err)
}

func (k *Kubernetes) list(ctx context.Context) (map[string]State, error) {
	states := make(map[string]State)
	query := url.Values{"limit": {fmt.Sprint(pageNodes)}}

	for range maxPages {
		var page kubernetesNodeList
		if err := k.api.get(ctx, "api/v1/nodes", query, &page); err != nil {
			return nil, err
		}

		// Anything else that answers would look like a cluster without nodes.
		if page.Kind != "NodeList" {
			return nil, fmt.Errorf("the answer is a %q, not a NodeList: kubernetes.url leads to something else than a Kubernetes API server", clipped(page.Kind))
		}

		for _, n := range page.Items {
			states[n.Metadata.Name] = k.state(n)
		}

		if page.Metadata.Continue == "" {
			return states, nil
		}

		query.Set("continue", page.Metadata.Continue)
	}

	return nil, fmt.Errorf("more than %d nodes", maxPages*pageNodes)
}

// state is what a node shows.
func (k *Kubernetes) state(n kubernetesNode) State {
	var s State

	for _, mark := range k.marks {
		switch value, ok := n.Metadata.Labels[mark]; {
		case !ok:
		case value == markValue:
			s.Marks = append(s.Marks, mark)
		default:
			s.Marks = append(s.Marks, mark+"="+value)
		}
	}

	for _, t := range n.Spec.Taints {
		if t.Key == k.taint {
			s.Bar = max(s.Bar, barOfEffect(t.Effect))
		}
	}

	slices.Sort(s.Marks)
	s.Held = !k.barred || !selects(k.taintNodes, n.Metadata.Labels)

	return s
}

func barOfEffect(effect string) Bar {
	switch effect {
	case "NoSchedule":
		return NoNewGuests
	case "NoExecute":
		return NoGuests
	default: // PreferNoSchedule keeps nobody out
		return NoBar
	}
}

// Write implements Sink, by one strategic merge patch (Kubernetes, "Update API Objects in Place Using kubectl patch"): spec.taints is merged there by key, in the server, so that taints of others that
// come or go meanwhile are never lost, and there is no need to read first.
func (k *Kubernetes) Write(ctx context.Context, host string, want State) error {
	if !isNodeName(host) {
		return fmt.Errorf("%w: %q can't be a node's name", ErrNoHost, clipped(host))
	}

	patch, err := k.patch(want)
	if err != nil {
		return fmt.Errorf("writing node %s: %w", host, err)
	}

	err = k.api.patch(ctx, "api/v1/nodes/"+host, patch)
	if isNotFound(err) {
		return fmt.Errorf("writing node %s: %w", host, errors.Join(ErrNoHost, err))
	}

	if err != nil {
		return fmt.Errorf("writing node %s: %w", host, err)
	}

	return nil
}

// patch makes a node show a state, whatever it showed before.
func (k *Kubernetes) patch(want State) ([]byte, error) {
	labels := make(map[string]any, len(k.marks))
	for _, mark := range k.marks {
		labels[mark] = nil
	}

	for _, mark := range want.Marks {
		if !slices.Contains(k.marks, mark) {
			return nil, fmt.Errorf("%q is not a mark that is published", clipped(mark))
		}

		labels[mark] = markValue
	}

	if want.Held {
		return json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	}

	taints, reason := k.patchTaints(want)

	return json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": labels, "annotations": map[string]any{reasonAnnotation: reason}},
		"spec":     map[string]any{"taints": taints},
	})
}

// patchTaints returns the part of a patch that is about taints, and the reason for them, nil if there is none.
func (k *Kubernetes) patchTaints(want State) (taints []any, reason any) {
	// The directive takes all taints of the key away, whatever their effects: the same key with two effects would be merged into the first only.
	taints = []any{map[string]string{"$patch": "delete", "key": k.taint}}

	switch want.Bar {
	case NoNewGuests:
		return append(taints, kubernetesTaint{Key: k.taint, Value: markValue, Effect: "NoSchedule"}), want.Reason
	case NoGuests:
		return append(taints, kubernetesTaint{Key: k.taint, Value: markValue, Effect: "NoExecute"}), want.Reason
	default:
		return taints, nil
	}
}
