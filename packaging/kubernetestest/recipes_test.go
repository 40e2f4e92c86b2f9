//go:build kubernetes

package kubernetestest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/server/publish"
)

func TestPodsThatAskGoOnlyToMarkedNodes(t *testing.T) {
	t.Parallel()

	r := startCluster(t)
	r.install(t)
	r.account(t, "default")
	r.host(t, nil)
	trusted := r.host(t, nil)
	sink := r.sink(t, nil)

	recipes := []string{recipe(t, "name: asks-by-selector"), recipe(t, "name: asks-by-affinity")}
	for i, manifest := range recipes {
		name := fmt.Sprint("before-", i)
		r.pod(t, name, manifest)
		r.unschedulable(t, name)
	}

	r.write(t, sink, trusted, publish.State{Marks: []string{mark}})
	for i, manifest := range recipes {
		r.landsOn(t, fmt.Sprint("before-", i), trusted)
		name := fmt.Sprint("after-", i)
		r.pod(t, name, manifest)
		r.landsOn(t, name, trusted)
	}

	// The mark goes: what is there stays, what comes is not let in, and who does not ask does not notice.
	r.write(t, sink, trusted, publish.State{})
	for i, manifest := range recipes {
		name := fmt.Sprint("late-", i)
		r.pod(t, name, manifest)
		r.unschedulable(t, name)
		r.landsOn(t, fmt.Sprint("after-", i), trusted)
	}

	r.pod(t, "plain", plain)
	r.landsOn(t, "plain", "")
}

func TestBarsKeepPodsAway(t *testing.T) {
	t.Parallel()

	r := startCluster(t)
	r.install(t)
	r.account(t, "default")
	node := r.host(t, nil)
	sink := r.sink(t, nil)

	for i, bar := range []publish.Bar{publish.NoNewGuests, publish.NoGuests} {
		r.write(t, sink, node, publish.State{Marks: []string{mark}, Bar: bar})

		for _, manifest := range []string{plain, recipe(t, "name: asks-by-selector")} {
			name := fmt.Sprint("barred-", i, "-", len(manifest))
			r.pod(t, name, manifest)
			r.unschedulable(t, name)
		}
	}

	r.write(t, sink, node, publish.State{})
	r.landsOn(t, fmt.Sprint("barred-0-", len(plain)), node)
}

func TestNamespacesThatDemandTrustRefusePodsThatDoNotAsk(t *testing.T) {
	t.Parallel()

	r := startCluster(t)
	r.apply(t, readManifest(t, "require.yaml"))
	r.account(t, "default")
	r.call(t, http.MethodPost, "/api/v1/namespaces", object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": "strict", "labels": object{"trustpool/required": "true"}}}, http.StatusCreated)
	r.account(t, "strict")

	asks := recipe(t, "name: asks-by-selector")
	try := func(namespace, name string, change func(spec object)) (int, string) {
		pod := objects(t, asks)[0]
		child(pod, "metadata")["name"], child(pod, "metadata")["namespace"] = name, namespace
		change(child(pod, "spec"))
		code, answer := r.try(t, r.admin, http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods", "application/json", pod)

		return code, fmt.Sprint(answer["message"])
	}

	until(t, "the policy", func() error {
		if code, said := try("strict", "first", func(spec object) { delete(spec, "nodeSelector") }); code != http.StatusUnprocessableEntity {
			r.try(t, r.admin, http.MethodDelete, "/api/v1/namespaces/strict/pods/first?gracePeriodSeconds=0", "application/json", nil)
			return fmt.Errorf("%d %s", code, said)
		}

		return nil
	})

	for name, c := range map[string]struct {
		change func(spec object)
		want   string // in the refusal; empty: none
	}{
		"asks":               {func(object) {}, ""},
		"another-selector":   {func(spec object) { spec["nodeSelector"] = object{"disk": "fast"} }, "need spec.nodeSelector"},
		"asks-for-untrust":   {func(spec object) { spec["nodeSelector"] = object{mark: "false"} }, "need spec.nodeSelector"},
		"names-its-node":     {func(spec object) { spec["nodeName"] = "n0001" }, "may not name their node"},
		"tolerates-all":      {func(spec object) { spec["tolerations"] = []any{object{"operator": "Exists"}} }, "may not tolerate"},
		"tolerates-distrust": {func(spec object) { spec["tolerations"] = []any{object{"key": taintKey, "operator": "Exists"}} }, "may not tolerate"},
		"tolerates-others":   {func(spec object) { spec["tolerations"] = []any{object{"key": "other/one", "operator": "Exists"}} }, ""},
	} {
		code, said := try("strict", name, c.change)
		if c.want == "" && code != http.StatusCreated || c.want != "" && (code != http.StatusUnprocessableEntity || !strings.Contains(said, c.want)) {
			t.Errorf("%s: %d %s, want %q", name, code, said, c.want)
		}

		if code, said := try("default", name, c.change); code != http.StatusCreated {
			t.Errorf("%s, in another namespace: %d %s", name, code, said)
		}
	}

	// A pod that is there can add tolerations, but not this one; and can be changed otherwise.
	path := "/api/v1/namespaces/strict/pods/asks"
	added := func(toleration object) object {
		pod := r.call(t, http.MethodGet, path, nil, http.StatusOK)
		tolerations, _ := pod["spec"].(object)["tolerations"].([]any)

		return object{"spec": object{"tolerations": append(slices.Clone(tolerations), toleration)}}
	}

	r.check(t, r.admin, []right{
		{"to tolerate later", "PATCH", path, "application/merge-patch+json", added(object{"key": taintKey, "operator": "Exists"}), 422},
		{"to tolerate something else later", "PATCH", path, "application/merge-patch+json", added(object{"key": "other/one", "operator": "Exists"}), 200},
		{"a label", "PATCH", path, "application/merge-patch+json", labels("a", "b"), 200},
		{"to drop the selector", "PATCH", path, "application/merge-patch+json", object{"spec": object{"nodeSelector": nil}}, 422},
	})
}

func TestRecipesAreTaken(t *testing.T) {
	t.Parallel()

	r := startCluster(t)
	r.apply(t, readManifest(t, "rbac.yaml"))
	r.apply(t, recipe(t, "kind: Deployment"))
}

// plain is a pod that does not ask for trust.
const plain = `{apiVersion: v1, kind: Pod, metadata: {name: plain}, spec: {containers: [{name: main, image: registry.example/app:1}]}}`

// onNewest is a pod for the node newest, whatever taints that has.
const onNewest = `{apiVersion: v1, kind: Pod, metadata: {name: newest}, spec: {containers: [{name: main, image: registry.example/app:1}], tolerations: [{operator: Exists}],
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [newest]}]}]}}}}}`

// account makes the service account that a namespace's pods have, as a controller does that is not there.
func (c *cluster) account(t *testing.T, namespace string) {
	t.Helper()

	c.call(t, http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts", object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": object{"name": "default"}}, http.StatusCreated)
}

// host makes a node that has room for pods.
func (c *cluster) host(t *testing.T, spec object) string {
	t.Helper()

	return c.hostNamed(t, "", spec)
}

// hostNamed is host with a name; empty: one of its own.
func (c *cluster) hostNamed(t *testing.T, name string, spec object) string {
	t.Helper()

	var metadata object
	if name != "" {
		metadata = object{"name": name}
	}

	name = c.create(t, metadata, spec)
	room := object{"pods": "110", "cpu": "64", "memory": "256Gi"}
	c.check(t, c.admin, []right{{"to give a node room", "PATCH", "/api/v1/nodes/" + name + "/status", "application/merge-patch+json", object{"status": object{"capacity": room, "allocatable": room}}, 200}})

	return name
}

// pod makes one by a manifest, with another name.
func (c *cluster) pod(t *testing.T, name, manifest string) {
	t.Helper()

	pod := objects(t, manifest)[0]
	child(pod, "metadata")["name"] = name
	c.call(t, http.MethodPost, "/api/v1/namespaces/default/pods", pod, http.StatusCreated)
}

// landsOn waits until a pod is bound to a node; empty: to any.
func (c *cluster) landsOn(t *testing.T, pod, node string) {
	t.Helper()

	until(t, pod+" on "+node, func() error {
		switch got := child(c.call(t, http.MethodGet, "/api/v1/namespaces/default/pods/"+pod, nil, http.StatusOK), "spec")["nodeName"]; {
		case got == nil:
			return fmt.Errorf("it is not scheduled")
		case node != "" && got != node:
			t.Fatalf("%s is on %v, want %s", pod, got, node)
		}

		return nil
	})
}

// unschedulable waits until the scheduler has found no node for a pod.
func (c *cluster) unschedulable(t *testing.T, pod string) {
	t.Helper()

	until(t, "a refusal of "+pod, func() error {
		answer := c.call(t, http.MethodGet, "/api/v1/namespaces/default/pods/"+pod, nil, http.StatusOK)
		if node := child(answer, "spec")["nodeName"]; node != nil {
			t.Fatalf("%s is on %v, want it nowhere", pod, node)
		}

		if said := fmt.Sprint(child(answer, "status")["conditions"]); !strings.Contains(said, "reason:Unschedulable") {
			return fmt.Errorf("conditions %s", said)
		}

		return nil
	})
}
