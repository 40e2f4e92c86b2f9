package kubernetestest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/trustpool/trustpool/server/publish"
)

func other(effect string) object { return object{"key": "other/one", "value": "x", "effect": effect} }

// withoutTimes takes off what the server may note about a taint.
func withoutTimes(taints any) any {
	for _, each := range taints.([]any) {
		delete(each.(object), "timeAdded")
	}

	return taints
}

func (c *cluster) read(t *testing.T, sink publish.Sink) map[string]publish.State {
	t.Helper()

	states, err := sink.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	for node, state := range states {
		state.ID = "" // the node object's uid
		states[node] = state
	}

	return states
}

func (c *cluster) write(t *testing.T, sink publish.Sink, node string, want publish.State) {
	t.Helper()

	if err := sink.Write(t.Context(), node, want); err != nil {
		t.Fatal(err)
	}
}

// sink returns one with the publisher's token. change may change its configuration, and the file of its token.
func (c *cluster) sink(t *testing.T, change func(*publish.KubernetesFile)) publish.Sink {
	t.Helper()

	dir := t.TempDir()
	file := publish.DefaultKubernetesFile()
	file.Marks = []publish.MarkConfig{{Name: mark}, {Name: goldMark}}
	file.Bars = publish.BarsConfig{NoNewGuests: publish.NotTrusted, NoGuests: publish.Untrusted}
	config := &file.Kubernetes
	config.URL = c.url
	config.CA = filepath.Join(dir, "ca.pem")
	config.TokenFile = filepath.Join(dir, "token")
	writeFile(t, config.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ca}))
	writeFile(t, config.TokenFile, []byte(c.publisher))

	if change != nil {
		change(file)
	}

	sink, err := file.Open(publish.Env{Marks: file.MarkNames(), ReadFile: os.ReadFile, Conflict: func() {}})
	if err != nil {
		t.Fatal(err)
	}

	return sink
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()

	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// create makes a node, with a name of its own unless it has one, as if its kubelet were well.
func (c *cluster) create(t *testing.T, metadata, spec object) string {
	t.Helper()

	if metadata == nil {
		metadata = object{}
	}

	name, ok := metadata["name"].(string)
	if !ok {
		name = fmt.Sprintf("n%04d", c.nodes.Add(1))
		metadata["name"] = name
	}

	c.call(t, http.MethodPost, "/api/v1/nodes", object{"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}, http.StatusCreated)
	c.update(t, name, func(n object) {
		taints, _ := n["spec"].(object)["taints"].([]any)
		n["spec"].(object)["taints"] = slices.DeleteFunc(taints, func(each any) bool { return each.(object)["key"] == notReady })
	})

	return name
}

// get returns a node without what changes with each write.
func (c *cluster) get(t *testing.T, node string) object {
	t.Helper()

	n := c.call(t, http.MethodGet, "/api/v1/nodes/"+node, nil, http.StatusOK)
	delete(n["metadata"].(object), "resourceVersion")
	delete(n["metadata"].(object), "managedFields")

	return n
}

func (c *cluster) revision(t *testing.T, node string) string {
	t.Helper()

	return c.call(t, http.MethodGet, "/api/v1/nodes/"+node, nil, http.StatusOK)["metadata"].(object)["resourceVersion"].(string)
}

// update changes a node as controllers do: read, change, write, and again on a conflict.
func (c *cluster) update(t *testing.T, node string, change func(object)) {
	t.Helper()

	for {
		n := c.call(t, http.MethodGet, "/api/v1/nodes/"+node, nil, http.StatusOK)
		change(n)

		code, _ := c.try(t, c.admin, http.MethodPut, "/api/v1/nodes/"+node, "application/json", n)
		if code == http.StatusOK {
			return
		}

		if code != http.StatusConflict {
			t.Errorf("updating %s: %d", node, code)
			return
		}
	}
}

// call is an administrator's request, whose answer has to have the code.
func (c *cluster) call(t *testing.T, method, path string, body object, want int) object {
	t.Helper()

	code, answer := c.try(t, c.admin, method, path, "application/json", body)
	if code != want {
		t.Fatalf("%s %s: %d, want %d: %v", method, path, code, want, answer["message"])
	}

	return answer
}

// try is anybody's request.
func (c *cluster) try(t *testing.T, token, method, path, contentType string, body any) (int, object) {
	t.Helper()

	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}

	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, c.url+path, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}

	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}

	request.Header.Set("Content-Type", contentType)

	response, err := c.client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()

	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}

	var answer object
	if err := json.Unmarshal(text, &answer); err != nil {
		answer = object{"message": string(text)}
	}

	return response.StatusCode, answer
}

func (c *cluster) client() *http.Client {
	c.once.Do(func() {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ca}))
		c.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 16}}
	})

	return c.http
}
