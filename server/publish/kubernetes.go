package publish

import (
	"bytes"
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

// The effects of taints that are bars.
const (
	noSchedule = "NoSchedule"
	noExecute  = "NoExecute"
)

// maxTries is how often a node is written that others write at the same time.
const maxTries = 10

// A list of nodes is read in pages, and from the beginning where etcd has dropped the revision that it began with.
const (
	pageNodes = 250
	maxPages  = 1000
	maxLists  = 3
)

// Kubernetes is a cluster's nodes as a Sink. A mark is a label with the value "true"; the bar is a taint: NoNewGuests has the effect NoSchedule, NoGuests NoExecute. Of a node it changes these labels,
// the taints with its key and the annotation trustpool/reason, all at once; whether an operator has cordoned a node is his own affair and not looked at.
//
// Held are the nodes that KubernetesConfig.TaintNodes does not select, and all nodes if there are to be no bars: their taints are left alone.
type Kubernetes struct {
	api      *kubernetesAPI
	marks    []string
	taint    string
	conflict func()
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

	return &Kubernetes{api: api, marks: env.Marks, taint: f.Kubernetes.Taint, conflict: env.Conflict, barred: f.barred(), taintNodes: nodes}, nil
}

// kubernetesNode is what matters here of a Node (Kubernetes API reference, core/v1).
type kubernetesNode struct {
	Metadata struct {
		Name            string            `json:"name"`
		UID             string            `json:"uid"`
		ResourceVersion string            `json:"resourceVersion"`
		Labels          map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Taints []kubernetesTaint `json:"taints"`
	} `json:"spec"`
}

// kubernetesTaint is a taint. One of somebody else's is written back as it was read, with all that it has.
type kubernetesTaint struct {
	key, value, effect string
	raw                json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *kubernetesTaint) UnmarshalJSON(raw []byte) error {
	var known struct{ Key, Value, Effect string }
	if err := json.Unmarshal(raw, &known); err != nil {
		return err
	}

	*t = kubernetesTaint{key: known.Key, value: known.Value, effect: known.Effect, raw: slices.Clone(raw)}

	return nil
}

// MarshalJSON implements json.Marshaler.
func (t kubernetesTaint) MarshalJSON() ([]byte, error) {
	if t.raw != nil {
		return t.raw, nil
	}

	return json.Marshal(map[string]string{"key": t.key, "value": t.value, "effect": t.effect})
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
	s := State{ID: n.Metadata.UID}

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
		if t.key == k.taint {
			s.Bar = max(s.Bar, barOfEffect(t.effect))
		}
	}

	slices.Sort(s.Marks)
	s.Held = !k.barred || !selects(k.taintNodes, n.Metadata.Labels)

	return s
}

func barOfEffect(effect string) Bar {
	switch effect {
	case noSchedule:
		return NoNewGuests
	case noExecute:
		return NoGuests
	default: // PreferNoSchedule keeps nobody out
		return NoBar
	}
}

// Write implements Sink, by a JSON merge patch (RFC 7386) of the labels and, where they have to change, the taints. These are one list for the server, also in a strategic merge patch: whoever writes it writes
// the taints of others too. So the patch names the version of the node that it was made of, and if that is not the latest, the server refuses it (409) and it is made anew.
func (k *Kubernetes) Write(ctx context.Context, host string, want State) error {
	if !isNodeName(host) {
		return fmt.Errorf("%w: %q can't be a node's name", ErrNoHost, clipped(host))
	}

	err := k.writeAgain(ctx, host, want)
	if isNotFound(err) {
		err = errors.Join(ErrNoHost, err)
	}

	if err != nil {
		return fmt.Errorf("writing node %s: %w", host, err)
	}

	return nil
}

// writeAgain writes until nobody else does at the same time.
func (k *Kubernetes) writeAgain(ctx context.Context, host string, want State) error {
	for try := 1; ; try++ {
		err := k.write(ctx, host, want)
		if !isStatus(err, http.StatusConflict) {
			return err
		}

		k.conflict()

		if try == maxTries {
			return err
		}

		if ended := pause(ctx, try); ended != nil {
			return errors.Join(err, ended)
		}
	}
}

func (k *Kubernetes) write(ctx context.Context, host string, want State) error {
	metadata, err := k.metadata(want)
	if err != nil {
		return err
	}

	path := "api/v1/nodes/" + host
	patch := map[string]any{"metadata": metadata}

	if !want.Held {
		var n kubernetesNode
		if err := k.api.get(ctx, path, nil, &n); err != nil {
			return err
		}

		// Of something else the taints are not this node's, and a patch without a version overwrites whatever there is.
		if n.Metadata.Name != host || n.Metadata.ResourceVersion == "" {
			return errors.New("the answer is not this node: kubernetes.url leads to something else than a Kubernetes API server")
		}

		if taints := k.taints(n.Spec.Taints, want.Bar); !sameTaints(taints, n.Spec.Taints) {
			metadata["resourceVersion"] = n.Metadata.ResourceVersion
			patch["spec"] = map[string]any{"taints": taints}
		}
	}

	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}

	return k.api.patch(ctx, path, body)
}

// metadata returns what a patch has to say of a node's labels, and of the reason for its taint.
func (k *Kubernetes) metadata(want State) (map[string]any, error) {
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

	metadata := map[string]any{"labels": labels}

	switch {
	case want.Held:
	case want.Bar == NoBar:
		metadata["annotations"] = map[string]any{reasonAnnotation: nil}
	default:
		metadata["annotations"] = map[string]any{reasonAnnotation: want.Reason}
	}

	return metadata, nil
}

// taints returns those that a node should have: of ours exactly one, or none, and all of others as they are.
func (k *Kubernetes) taints(present []kubernetesTaint, bar Bar) []kubernetesTaint {
	ours := kubernetesTaint{key: k.taint, value: markValue}

	switch bar {
	case NoNewGuests:
		ours.effect = noSchedule
	case NoGuests:
		ours.effect = noExecute
	}

	taints := make([]kubernetesTaint, 0, len(present)+1)
	found := bar == NoBar

	for _, t := range present {
		right := t.value == ours.value && t.effect == ours.effect
		if t.key == k.taint && (found || !right) {
			continue
		}

		found = found || t.key == k.taint
		taints = append(taints, t)
	}

	if !found {
		taints = append(taints, ours)
	}

	return taints
}

func sameTaints(a, b []kubernetesTaint) bool {
	return slices.EqualFunc(a, b, func(a, b kubernetesTaint) bool { return bytes.Equal(a.raw, b.raw) })
}
