//go:build kubernetes

package kubernetestest_test

import (
	"crypto/x509/pkix"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/server/publish"
)

// TestSinkOnKubernetes runs the suite against a real API server, with the account, the rights and the guard that the manifests give.
func TestSinkOnKubernetes(t *testing.T) {
	t.Parallel()

	r := startCluster(t)
	r.install(t)
	suite(t, r.cluster)
}

// install sets the publisher's account up as the page tells, and waits until the guard is on.
func (r *realCluster) install(t *testing.T) {
	t.Helper()

	r.apply(t, readManifest(t, "rbac.yaml"))
	r.apply(t, readManifest(t, "guard.yaml"))

	token := r.call(t, http.MethodPost, "/api/v1/namespaces/trustpool/serviceaccounts/trustpool-publisher/token",
		object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": object{"expirationSeconds": 3600}}, http.StatusCreated)
	r.publisher = token["status"].(object)["token"].(string)

	node, tries := r.create(t, nil, nil), 0
	until(t, "the guard", func() error {
		tries++ // what changes nothing is allowed
		code, _ := r.patchNode(t, r.publisher, node, labels("try", fmt.Sprint(tries)))
		if code == http.StatusUnprocessableEntity {
			return nil
		}

		return fmt.Errorf("another label is answered %d", code)
	})
}

// patchNode changes a node by a JSON merge patch.
func (c *cluster) patchNode(t *testing.T, token, node string, change object) (int, object) {
	t.Helper()

	return c.try(t, token, http.MethodPatch, "/api/v1/nodes/"+node, "application/merge-patch+json", change)
}

// rights are what a caller may do: the code of each request.
type right struct {
	name, method, path, contentType string
	body                            any
	want                            int
}

func (c *cluster) check(t *testing.T, token string, rights []right) {
	t.Helper()

	for _, r := range rights {
		if code, answer := c.try(t, token, r.method, r.path, r.contentType, r.body); code != r.want {
			t.Errorf("%s: %d, want %d: %v", r.name, code, r.want, answer["message"])
		}
	}
}

func labels(key string, value any) object {
	return object{"metadata": object{"labels": object{key: value}}}
}

func taints(all ...any) object { return object{"spec": object{"taints": all}} }

func TestNodesCannotTrustThemselves(t *testing.T) {
	t.Parallel()

	const merge = "application/merge-patch+json"

	r := startCluster(t)
	registered := []any{object{"key": taintKey, "value": "true", "effect": "NoSchedule"}}
	own := r.create(t, nil, object{"taints": registered})
	others := r.create(t, nil, nil)
	kubelet := r.as(t, pkix.Name{CommonName: "system:node:" + own, Organization: []string{"system:nodes"}})

	node := func(name string, metadata, spec object) object {
		metadata["name"] = name

		return object{"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}
	}

	kubelet.check(t, "", []right{
		{"its own free label", "PATCH", "/api/v1/nodes/" + own, merge, labels("free", "x"), 200},
		{"the mark", "PATCH", "/api/v1/nodes/" + own, merge, labels(mark, "true"), 403},
		{"the mark, by its status", "PATCH", "/api/v1/nodes/" + own + "/status", merge, labels(mark, "true"), 403},
		{"a mark of a domain", "PATCH", "/api/v1/nodes/" + own, merge, labels("example.com."+mark, "true"), 403},
		{"a role", "PATCH", "/api/v1/nodes/" + own, merge, labels("node-role.kubernetes.io/control-plane", ""), 403},
		{"no taint", "PATCH", "/api/v1/nodes/" + own, merge, taints(), 403},
		{"a weaker taint", "PATCH", "/api/v1/nodes/" + own, merge, taints(object{"key": taintKey, "value": "true", "effect": "PreferNoSchedule"}), 403},
		{"another node", "PATCH", "/api/v1/nodes/" + others, merge, labels("free", "x"), 403},
		{"to be deleted, and to come back", "DELETE", "/api/v1/nodes/" + own, merge, nil, 403},
	})

	// So is who only looks like the node: that is how an operator can try it.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, r.url+"/api/v1/nodes/"+own, strings.NewReader(`{"metadata":{"labels":{"node-restriction.kubernetes.io/trustpool-test":"true"}}}`))
	if err != nil {
		t.Fatal(err)
	}

	request.Header = http.Header{
		"Authorization": {"Bearer " + r.admin}, "Content-Type": {merge}, "Impersonate-User": {"system:node:" + own}, "Impersonate-Group": {"system:nodes"},
	}

	response, err := r.client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()

	if response.StatusCode != http.StatusForbidden {
		t.Errorf("by impersonation: %s, want 403", response.Status)
	}

	// What a node may say of itself when it registers: taints, but no mark.
	fresh := r.as(t, pkix.Name{CommonName: "system:node:fresh", Organization: []string{"system:nodes"}})
	fresh.check(t, "", []right{
		{"to register with the mark", "POST", "/api/v1/nodes", "application/json", node("fresh", labels(mark, "true")["metadata"].(object), object{}), 403},
		{"to register with a role", "POST", "/api/v1/nodes", "application/json", node("fresh", labels("node-role.kubernetes.io/control-plane", "")["metadata"].(object), object{}), 403},
		{"to register with a taint", "POST", "/api/v1/nodes", "application/json", node("fresh", object{}, object{"taints": registered}), 201},
	})
}

func TestPublisherCanDoNoMore(t *testing.T) {
	t.Parallel()

	const merge = "application/merge-patch+json"

	r := startCluster(t)
	r.install(t)

	node := r.create(t, object{"labels": object{"team": "blue"}, "annotations": object{"note": "kept"}, "finalizers": []any{"example.com/kept"}},
		object{"taints": []any{other("NoSchedule")}, "providerID": "test://machine", "podCIDR": "10.1.0.0/24"})
	path := "/api/v1/nodes/" + node
	ours := object{"key": taintKey, "value": "true", "effect": "NoExecute"}

	r.check(t, r.publisher, []right{
		{"to list nodes", "GET", "/api/v1/nodes", "", nil, 200},
		{"to mark a node", "PATCH", path, merge, labels(mark, "true"), 200},
		{"to taint a node", "PATCH", path, merge, taints(other("NoSchedule"), ours), 200},

		// By RBAC.
		{"secrets", "GET", "/api/v1/secrets", "", nil, 403},
		{"secrets of its namespace", "GET", "/api/v1/namespaces/trustpool/secrets", "", nil, 403},
		{"pods", "GET", "/api/v1/pods", "", nil, 403},
		{"to make a pod", "POST", "/api/v1/namespaces/trustpool/pods", "application/json", object{}, 403},
		{"to make a node", "POST", "/api/v1/nodes", "application/json", object{}, 403},
		{"to delete a node", "DELETE", path, "", nil, 403},
		{"to replace a node", "PUT", path, "application/json", object{}, 403},
		{"a node's status", "PATCH", path + "/status", merge, labels(mark, "true"), 403},
		{"a node's kubelet", "GET", path + "/proxy/pods", "", nil, 403},
		{"to widen its rights", "PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterroles/trustpool-publisher", merge, object{}, 403},
		{"to lift the guard", "DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/trustpool-publisher", "", nil, 403},
		{"a token of another account", "POST", "/api/v1/namespaces/default/serviceaccounts/default/token", "application/json", object{}, 403},

		// By the guard.
		{"another label", "PATCH", path, merge, labels("team", "red"), 422},
		{"to drop another label", "PATCH", path, merge, labels("team", nil), 422},
		{"a restricted label of others", "PATCH", path, merge, labels("node-restriction.kubernetes.io/other", "true"), 422},
		{"another value", "PATCH", path, merge, labels(mark, "yes"), 422},
		{"another annotation", "PATCH", path, merge, object{"metadata": object{"annotations": object{"note": "gone"}}}, 422},
		{"to drop an annotation", "PATCH", path, merge, object{"metadata": object{"annotations": nil}}, 422},
		{"to drop another taint", "PATCH", path, merge, taints(ours), 422},
		{"to change another taint", "PATCH", path, merge, taints(other("NoExecute"), ours), 422},
		{"to add another taint", "PATCH", path, merge, taints(other("NoSchedule"), ours, other("NoExecute")), 422},
		{"to cordon", "PATCH", path, merge, object{"spec": object{"unschedulable": true}}, 422},
		{"finalizers", "PATCH", path, merge, object{"metadata": object{"finalizers": nil}}, 422},
		{"an owner", "PATCH", path, merge, object{"metadata": object{"ownerReferences": []any{object{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}}}}, 422},
	})

	// What is left when all that was refused.
	after := r.get(t, node)
	if got := fmt.Sprint(after["metadata"].(object)["labels"], after["spec"]); !strings.Contains(got, "team:blue") || !strings.Contains(got, "other/one") {
		t.Errorf("the node is now %s", got)
	}

	// The guard is for one account: others go on.
	r.call(t, http.MethodGet, path, nil, http.StatusOK)
	if code, answer := r.patchNode(t, r.admin, node, object{"metadata": object{"finalizers": nil}, "spec": object{"unschedulable": true}}); code != http.StatusOK {
		t.Errorf("an administrator is answered %d: %v", code, answer["message"])
	}
}

func TestSelectorsMeanWhatKubernetesMeans(t *testing.T) {
	t.Parallel()

	r := startCluster(t)
	r.install(t)

	const a, b = "node-restriction.kubernetes.io/a", "node-role.kubernetes.io/b"
	for _, set := range []object{{}, {a: "1"}, {a: ""}, {b: ""}, {a: "1", b: "2"}, {a: "2", b: ""}} {
		r.create(t, object{"labels": set}, nil)
	}

	for _, selector := range []string{"", a, "!" + a, a + "=1", a + "==1", a + "!=1", a + "=", a + "!=", a + "," + b, "!" + a + ",!" + b, a + "!=1," + b + "=", " " + a + " = 1 , ! " + b} {
		want := make(map[string]bool)
		list := r.call(t, http.MethodGet, "/api/v1/nodes?labelSelector="+strings.NewReplacer(" ", "%20", "=", "%3D", "!", "%21").Replace(selector), nil, http.StatusOK)

		for _, each := range list["items"].([]any) {
			want[each.(object)["metadata"].(object)["name"].(string)] = true
		}

		for name, state := range r.read(t, r.sink(t, func(file *publish.KubernetesFile) { file.Kubernetes.TaintNodes = selector })) {
			if state.Held == want[name] {
				t.Errorf("%q, node %s: held %v, but Kubernetes selects it: %v", selector, name, state.Held, want[name])
			}
		}
	}
}
