//go:build kubernetes

package kubernetestest_test

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trustpool/trustpool/packaging/internal/program"
)

// bin is where the programs are that .ci/kubernetes-test has built.
func bin(name string) string { return filepath.Join(os.Getenv("KUBERNETES_BIN"), name) }

// realCluster is an etcd, a kube-apiserver and a kube-scheduler.
type realCluster struct {
	*cluster

	ca        *authority
	etcd      string // its address
	apiserver *program.Process
}

// startCluster starts one of its own for a test. The administrator's and the stranger's tokens are from a file; publisher is set once its account is there.
func startCluster(t *testing.T) *realCluster {
	t.Helper()

	if os.Getenv("KUBERNETES_BIN") == "" {
		t.Fatal("KUBERNETES_BIN is not set: run make kubernetes-test")
	}

	dir := t.TempDir()
	r := &realCluster{ca: newAuthority(t, dir), etcd: "http://" + freeAddress(t)}
	r.cluster = &cluster{url: "https://" + freeAddress(t), ca: r.ca.cert.Raw, admin: "admin-token", stranger: "stranger-token", compact: r.compactEtcd}
	r.ca.issue(t, "apiserver", pkix.Name{CommonName: "apiserver"})
	r.ca.issue(t, "scheduler", pkix.Name{CommonName: "system:kube-scheduler"})
	r.ca.keep(t, "accounts-key.pem", newKey(t))
	writeFile(t, r.ca.path("tokens.csv"), []byte("admin-token,admin,1,system:masters\nstranger-token,stranger,2\n"))

	peer := "http://" + freeAddress(t)
	program.Start(t, bin("server"), "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", r.etcd, "--advertise-client-urls", r.etcd,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--unsafe-no-fsync", "--log-level", "warn")
	until(t, "etcd", func() error { return answers(http.DefaultClient, r.etcd+"/health", "") })

	r.startAPIServer(t)

	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority":%q}}],"users":[{"name":"u","user":{"client-certificate":%q,"client-key":%q}}]}`,
		r.url, r.ca.path("ca.pem"), r.ca.path("scheduler.pem"), r.ca.path("scheduler-key.pem"))
	writeFile(t, r.ca.path("scheduler.json"), []byte(config))
	program.Start(t, bin("kube-scheduler"), "--kubeconfig", r.ca.path("scheduler.json"), "--authentication-kubeconfig", r.ca.path("scheduler.json"),
		"--authorization-kubeconfig", r.ca.path("scheduler.json"), "--leader-elect=false", "--secure-port=0")

	return r
}

// startAPIServer starts it, also again after it was killed, and waits until it is ready.
func (r *realCluster) startAPIServer(t *testing.T) {
	t.Helper()

	_, port, _ := net.SplitHostPort(strings.TrimPrefix(r.url, "https://"))
	r.apiserver = program.Start(t, bin("kube-apiserver"), "--etcd-servers", r.etcd, "--bind-address", "127.0.0.1", "--secure-port", port,
		"--tls-cert-file", r.ca.path("apiserver.pem"), "--tls-private-key-file", r.ca.path("apiserver-key.pem"), "--client-ca-file", r.ca.path("ca.pem"),
		"--token-auth-file", r.ca.path("tokens.csv"), "--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", r.ca.path("accounts-key.pem"),
		"--service-account-signing-key-file", r.ca.path("accounts-key.pem"), "--service-cluster-ip-range", "10.0.0.0/24", "--endpoint-reconciler-type", "none",
		"--feature-gates", "ListFromCacheSnapshot=false", // lists are continued from etcd, so that they expire by what this test has etcd forget
		"--cert-dir", r.ca.dir)
	until(t, "kube-apiserver", func() error {
		if err := r.apiserver.Saying(""); err != nil {
			t.Fatal(err)
		}

		return answers(r.client(), r.url+"/readyz", r.admin)
	})
}

// compactEtcd has etcd forget old revisions, as kube-apiserver has it do every five minutes.
func (r *realCluster) compactEtcd(t *testing.T) {
	t.Helper()

	until(t, "a compaction", func() error {
		response, err := http.Post(r.etcd+"/v3/kv/range", "application/json", strings.NewReader(`{"key":"YQ==","limit":1}`))
		if err != nil {
			return err
		}
		defer response.Body.Close()

		var answer struct{ Header struct{ Revision string } }
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return err
		}

		compacted, err := http.Post(r.etcd+"/v3/kv/compaction", "application/json", strings.NewReader(`{"physical":true,"revision":"`+answer.Header.Revision+`"}`))
		if err != nil {
			return err
		}
		defer compacted.Body.Close()

		if compacted.StatusCode != http.StatusOK {
			return fmt.Errorf("etcd answers %s", compacted.Status)
		}

		return nil
	})
}

// ports are those that were given out. They are below those that the kernel gives to callers (ip_local_port_range), one of whom would otherwise have it before the program does that it is for.
var ports atomic.Int32

func freeAddress(t *testing.T) string {
	t.Helper()

	const first, most = 20000, 8000

	for range most {
		address := fmt.Sprintf("127.0.0.1:%d", first+(os.Getpid()*31+int(ports.Add(1)))%most)

		listener, err := net.Listen("tcp", address)
		if err == nil {
			_ = listener.Close()

			return address
		}
	}

	t.Fatal("no port is free")

	return ""
}

// until waits for something to become so.
func until(t *testing.T, what string, so func() error) {
	t.Helper()
	program.Until(t, 2*time.Minute, 20*time.Millisecond, what, so)
}

func answers(client *http.Client, url, token string) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}

	request.Header.Set("Authorization", "Bearer "+token)

	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()

	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}

	return nil
}

// as returns the cluster as the holder of a certificate sees it.
func (r *realCluster) as(t *testing.T, subject pkix.Name) *cluster {
	t.Helper()

	name := strings.NewReplacer(":", "_", "/", "_").Replace(subject.CommonName)
	r.ca.issue(t, name, subject)

	pair, err := tls.LoadX509KeyPair(r.ca.path(name+".pem"), r.ca.path(name+"-key.pem"))
	if err != nil {
		t.Fatal(err)
	}

	c := &cluster{url: r.url, ca: r.cluster.ca}
	c.client().Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}

	return c
}
