//go:build kubernetes

package kubernetestest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// page is what an operator goes by.
const page = "../../docs/kubernetes.md"

// collections are where objects of a kind live.
func collections() map[string]string {
	const (
		rbac      = "/apis/rbac.authorization.k8s.io/v1/"
		admission = "/apis/admissionregistration.k8s.io/v1/"
	)

	return map[string]string{
		"Namespace": "/api/v1/namespaces", "ServiceAccount": "/api/v1/namespaces/%s/serviceaccounts", "Pod": "/api/v1/namespaces/%s/pods",
		"Secret": "/api/v1/namespaces/%s/secrets", "ConfigMap": "/api/v1/namespaces/%s/configmaps", "Deployment": "/apis/apps/v1/namespaces/%s/deployments",
		"ClusterRole": rbac + "clusterroles", "ClusterRoleBinding": rbac + "clusterrolebindings",
		"ValidatingAdmissionPolicy": admission + "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": admission + "validatingadmissionpolicybindings",
	}
}

// apply is kubectl apply --server-side, of all objects in a text.
func (c *cluster) apply(t *testing.T, manifest string) {
	t.Helper()

	for _, o := range objects(t, manifest) {
		code, answer := c.applyAs(t, c.admin, o)
		if code != http.StatusOK && code != http.StatusCreated {
			t.Fatalf("applying %v %v: %d: %v", o["kind"], child(o, "metadata")["name"], code, answer["message"])
		}
	}
}

func (c *cluster) applyAs(t *testing.T, token string, o object) (int, object) {
	t.Helper()

	metadata := child(o, "metadata")
	path, ok := collections()[fmt.Sprint(o["kind"])]

	if !ok {
		t.Fatalf("where do objects of kind %v live?", o["kind"])
	}

	if strings.Contains(path, "%s") {
		namespace, ok := metadata["namespace"].(string)
		if !ok {
			namespace = "default"
		}

		path = fmt.Sprintf(path, namespace)
	}

	return c.try(t, token, http.MethodPatch, fmt.Sprintf("%s/%s?fieldManager=test&force=true&fieldValidation=Strict", path, metadata["name"]), "application/apply-patch+yaml", o)
}

func objects(t *testing.T, manifest string) []object {
	t.Helper()

	var all []object

	for decoder := yaml.NewDecoder(bytes.NewReader([]byte(manifest))); ; {
		var o object

		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}

		if err != nil {
			t.Fatalf("%v in\n%s", err, manifest)
		}

		all = append(all, o)
	}
}

func readManifest(t *testing.T, name string) string {
	t.Helper()

	content, err := os.ReadFile("../kubernetes/" + name)
	if err != nil {
		t.Fatal(err)
	}

	return string(content)
}

// recipe returns the page's block of YAML in which something is written.
func recipe(t *testing.T, with string) string {
	t.Helper()

	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}

	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(content), -1) {
		if strings.Contains(block[1], with) {
			return block[1]
		}
	}

	t.Fatalf("%s has no block of YAML with %q", page, with)

	return ""
}
