package publish_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/publish"
)

// What a cluster does when all is well is tested in packaging/kubernetestest. Here is what goes wrong between a sink and a cluster.

const label = "node-restriction.kubernetes.io/trustpool-trusted"

func TestKubernetesWriteTriesAgainWhereTheServerSaysSo(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		answers []int
		want    string
	}{
		"conflicts that end":           {[]int{409, 409, 409, 409, 200}, ""},
		"too many requests":            {[]int{429, 200}, ""},
		"conflicts without end":        {append(slices.Repeat([]int{409}, 10), 200), "409 Conflict"},
		"a refusal by a policy":        {[]int{422, 200}, "422 Unprocessable Entity"},
		"a server that is not well":    {[]int{500, 200}, "500 Internal Server Error"},
		"a redirect is not gone to":    {[]int{307, 200}, "307 Temporary Redirect"},
		"a 404 that speaks of no node": {[]int{404, 200}, "404 Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var asked atomic.Int64
			sink := kubernetesSink(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					fmt.Fprint(w, `{"kind":"Node","metadata":{"name":"node1","resourceVersion":"7"}}`)
					return
				}

				w.Header().Set("Location", "/elsewhere")
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(c.answers[asked.Add(1)-1])
			})

			err := sink.Write(t.Context(), "node1", publish.State{Marks: []string{label}})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}

			if errors.Is(err, publish.ErrNoHost) {
				t.Errorf("%v is ErrNoHost", err)
			}
		})
	}
}

func TestKubernetesReadRefusesWhatIsNoListOfNodes(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ body, want string }{
		"another object":        {`{"kind":"PodList","items":[]}`, "PodList"},
		"an empty object":       {`{}`, "kubernetes.url"},
		"no JSON":               {`<html>`, "reading the answer"},
		"a cut answer":          {`{"kind":"NodeList","items":[{"metadata":{"name":"no`, "reading the answer"},
		"a list without an end": {`{"kind":"NodeList","metadata":{"continue":"x"}}`, "more than 250000 nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			sink := kubernetesSink(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.body) })
			if _, err := sink.Read(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestKubernetesWritesNothingWhereTheAnswerIsNotTheNode(t *testing.T) {
	t.Parallel()

	for name, body := range map[string]string{
		"an empty object":   `{}`,
		"null":              `null`,
		"another node":      `{"kind":"Node","metadata":{"name":"node2","resourceVersion":"7"}}`,
		"one of no version": `{"kind":"Node","metadata":{"name":"node1"}}`,
		"one in capitals":   `{"kind":"Node","metadata":{"name":"NODE1","resourceVersion":"7"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			sink := kubernetesSink(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet {
					t.Error("it was written")
				}

				fmt.Fprint(w, body)
			})
			if err := sink.Write(t.Context(), "node1", publish.State{Marks: []string{label}, Bar: publish.NoGuests}); err == nil || !strings.Contains(err.Error(), "not this node") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestKubernetesReadBeginsAnewAtMostThreeTimes(t *testing.T) {
	t.Parallel()

	var lists atomic.Int64
	sink := kubernetesSink(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("continue") {
			w.WriteHeader(http.StatusGone)
			return
		}

		lists.Add(1)
		fmt.Fprint(w, `{"kind":"NodeList","metadata":{"continue":"x"},"items":[{"metadata":{"name":"a"}}]}`)
	})

	if states, err := sink.Read(t.Context()); err == nil || lists.Load() != 3 {
		t.Errorf("%v, error %v after %d lists, want an error after 3", states, err, lists.Load())
	}
}

func TestKubernetesEndsWithItsContext(t *testing.T) {
	t.Parallel()

	sink := kubernetesSink(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()

	if _, err := sink.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("reading: %v, want the context's end", err)
	}

	if err := sink.Write(ctx, "node1", publish.State{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("writing: %v, want the context's end", err)
	}
}

// Whoever sees a caller hang up ends his answer somehow, and Go's server ends it with 200 OK.
func TestKubernetesBelievesNoAnswerAfterItsContextsEnd(t *testing.T) {
	t.Parallel()

	for range 20 {
		ctx, hangUp := context.WithCancel(t.Context())
		sink := kubernetesSink(t, func(w http.ResponseWriter, _ *http.Request) {
			hangUp()
			fmt.Fprint(w, `{"kind":"NodeList"}`)
		})

		if states, err := sink.Read(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("%v, error %v, want the context's end", states, err)
		}
	}
}

func TestKubernetesWritesOnlyMarksThatArePublished(t *testing.T) {
	t.Parallel()

	sink := kubernetesSink(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") })
	if err := sink.Write(t.Context(), "node1", publish.State{Marks: []string{"node-restriction.kubernetes.io/other"}}); err == nil {
		t.Error("another label was written")
	}
}

func TestKubernetesTrustsOnlyItsCA(t *testing.T) {
	t.Parallel()

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token was sent to a stranger") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that is to fail
	server.StartTLS()
	t.Cleanup(server.Close)

	file := kubernetesFile(t, server)
	file.Kubernetes.CA = "" // the system's

	if _, err := openKubernetes(t, file).Read(t.Context()); err == nil {
		t.Error("a server with an unknown certificate was believed")
	}
}

func TestKubernetesConfigSaysWhatIsWrong(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		change func(*publish.KubernetesFile)
		want   string // empty: nothing is wrong
	}{
		"a pod": {func(*publish.KubernetesFile) {}, ""},
		"an address and a token": {func(c *publish.KubernetesFile) {
			c.Kubernetes.URL, c.Kubernetes.TokenFile = "https://k8s:6443", "/token"
		}, ""},
		"an address behind a path": {func(c *publish.KubernetesFile) {
			c.Kubernetes.URL, c.Kubernetes.TokenFile = "https://k8s/clusters/c-1", "/token"
		}, ""},
		"no TLS": {func(c *publish.KubernetesFile) { c.Kubernetes.URL, c.Kubernetes.TokenFile = "http://k8s", "/token" }, "kubernetes.url"},
		"an address with a password": {func(c *publish.KubernetesFile) {
			c.Kubernetes.URL, c.Kubernetes.TokenFile = "https://a:b@k8s", "/token"
		}, "kubernetes.url"},
		"an address without account": {func(c *publish.KubernetesFile) { c.Kubernetes.URL = "https://k8s" }, "kubernetes.token_file: missing"},
		"two accounts": {func(c *publish.KubernetesFile) {
			c.Kubernetes.TokenFile, c.Kubernetes.Certificate, c.Kubernetes.Key = "/t", "/c", "/k"
		}, "kubernetes.token_file"},
		"half an account":      {func(c *publish.KubernetesFile) { c.Kubernetes.Certificate = "/c" }, "kubernetes.certificate"},
		"a relative path":      {func(c *publish.KubernetesFile) { c.Kubernetes.CA = "ca.pem" }, "kubernetes.ca"},
		"no taint":             {func(c *publish.KubernetesFile) { c.Kubernetes.Taint = "" }, "kubernetes.taint"},
		"a taint with a value": {func(c *publish.KubernetesFile) { c.Kubernetes.Taint = "a/b=c" }, "kubernetes.taint"},
		"all nodes":            {func(c *publish.KubernetesFile) { c.Kubernetes.TaintNodes = "" }, ""},
		"several labels": {func(c *publish.KubernetesFile) {
			c.Kubernetes.TaintNodes = "!node-role.kubernetes.io/a, node-restriction.kubernetes.io/b=c,node-role.kubernetes.io/d!=e"
		}, ""},
		"a set":                        {func(c *publish.KubernetesFile) { c.Kubernetes.TaintNodes = "node-role.kubernetes.io/a in (b, c)" }, "kubernetes.taint_nodes"},
		"a label that a node can drop": {func(c *publish.KubernetesFile) { c.Kubernetes.TaintNodes = "pool=trusted" }, "could escape its taint"},
		"such a label, knowingly": {func(c *publish.KubernetesFile) {
			c.Kubernetes.TaintNodes, c.Kubernetes.AllowLabelsThatNodesCanSet = "pool=trusted", true
		}, ""},
		"a label without a key": {func(c *publish.KubernetesFile) { c.Kubernetes.TaintNodes = "=x" }, "kubernetes.taint_nodes"},
		"a comma too many":      {func(c *publish.KubernetesFile) { c.Kubernetes.TaintNodes = "node-role.kubernetes.io/a," }, "kubernetes.taint_nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			config := validKubernetesFile()
			c.change(config)

			err := config.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestKubernetesTakesAsMarksOnlyLabelsThatNodesCantSet(t *testing.T) {
	t.Parallel()

	for mark, want := range map[string][2]bool{ // as it comes, and with the weaker rule
		"node-restriction.kubernetes.io/trustpool-trusted":   {true, true},
		"example.com.node-restriction.kubernetes.io/trusted": {true, true},
		"evil-node-restriction.kubernetes.io/trusted":        {false, true},
		"trustpool/trusted":               {false, true},
		"trusted":                         {false, true},
		"node-restriction.kubernetes.io/": {false, false},
		"node-restriction.kubernetes.io/trusted=true": {false, false},
		"Node-Restriction.kubernetes.io/trusted":      {false, false},
		"a/b/c":                                       {false, false},
		"/a":                                          {false, false},
		"node-restriction.kubernetes.io/" + strings.Repeat("a", 64): {false, false},
		"": {false, false},
	} {
		for i, allow := range []bool{false, true} {
			file := validKubernetesFile()
			file.Marks[0].Name, file.Kubernetes.AllowLabelsThatNodesCanSet = mark, allow

			if err := file.Validate(); (err == nil) != want[i] {
				t.Errorf("%q, weaker rule %v: error %v, want accepted %v", mark, allow, err, want[i])
			}
		}
	}
}

func validKubernetesFile() *publish.KubernetesFile {
	file := publish.DefaultKubernetesFile()
	file.Server = publish.ServerConfig{URL: "https://attestation.example:8443", TokenFile: "/token"}

	return file
}

func kubernetesSink(t *testing.T, handler http.HandlerFunc) publish.Sink {
	t.Helper()

	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)

	return openKubernetes(t, kubernetesFile(t, server))
}

func openKubernetes(t *testing.T, file *publish.KubernetesFile) publish.Sink {
	t.Helper()

	sink, err := file.Open(publish.Env{Marks: file.MarkNames(), ReadFile: os.ReadFile, Conflict: func() {}})
	if err != nil {
		t.Fatal(err)
	}

	return sink
}

func kubernetesFile(t *testing.T, server *httptest.Server) *publish.KubernetesFile {
	t.Helper()

	dir := t.TempDir()
	file := validKubernetesFile()
	config := &file.Kubernetes
	config.URL, config.CA, config.TokenFile = server.URL, filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")

	for path, content := range map[string][]byte{config.CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), config.TokenFile: []byte("token")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	return file
}
