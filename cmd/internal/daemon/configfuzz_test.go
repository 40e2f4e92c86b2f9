package daemon_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/server"
	"github.com/trustpool/trustpool/server/publish"
)

// FuzzAgentConfig: a config that is taken is taken again as it is written out; one that is refused is so for reasons that name the line or the key, each on a line of its own.
func FuzzAgentConfig(f *testing.F) {
	fuzzConfig(f, "trustpool-agent/agent.yaml", `
tpm: {device: auto, queue: 4, owner_auth_file: "credential:owner", ak: {algorithm: rsa-2048, handle: 0x81018000}}
listen: {address: "[::1]:1", unix: /a, unix_clients: [{uid: 0, gid: 7, roles: [quote], pcrs: "sha256:17,18+sha1:0", rate: 0.5, burst: 3}], reflection: yes, idle_timeout: 15m}
tls: {key: tpm, tpm_handle: 0x81018300, certificate: /c, client_ca: /d, crl: /e}
clients: [{san: ["dns:a.example", "uri:spiffe://a/*/b", "subject:CN=a,O=b"], roles: [quote, raw, enroll, admin, observe, attestz], concurrent: 1}]
logs: {root: "", files: [{source: a-1, path: /b}]}
attestz: {enabled: true, iak_certificate: /f}
audit: {file: /g}
`, func() daemon.Config { config := agent.DefaultConfig(); return &config })
}

// FuzzServerConfig: as FuzzAgentConfig.
func FuzzServerConfig(f *testing.F) {
	fuzzConfig(f, "trustpool-server/server.yaml", `
database: postgres://a@b/c?sslmode=verify-full&passfile=/d
listen: {address: ":1", unix: /a, loopback: "127.0.0.1:2", max_connections: 3, request_timeout: 30s}
tls: {certificate: "credential:a", key: /b, client_ca: /c, crl: /d}
clients: [{san: ["dns:a.example"], role: reader}, {san: ["uri:spiffe://a/b"], role: admin}]
nodes: {certificate: /a, key: /b, ca: /c, ek_roots: [/d], ek_crls: [/e], interval: 1s, validity: 1h, timeout: 5s, concurrency: 1}
retention: {history: 0s, log_bytes: 0}
signing: {issuer: "https://a", keys: [/k], lifetime: 1m}
webhooks: [{name: a, url: "http://127.0.0.1:1/b", allow_plain_http_to_loopback: true, pools: [c], secret_file: /s, max_age: 1m}]
page: {enabled: false}
`, func() daemon.Config { config := server.DefaultConfig(); return &config })
}

// FuzzPlacementConfig: as FuzzAgentConfig, for the publisher of OpenStack.
func FuzzPlacementConfig(f *testing.F) {
	fuzzConfig(f, "trustpool-server/publish-placement.yaml", `
server: {url: "https://a:1", ca: /a, server_name: b, certificate: /c, key: /d}
interval: 1s
marks: [{name: CUSTOM_A}, {name: CUSTOM_B, pools: [c, d]}]
bars: {no_new_guests: untrusted}
placement: {endpoint: "http://127.0.0.1", compute_endpoint: "http://a/v2.1", timeout: 1s, allow_plaintext: true, allow_no_authentication: true}
`, func() daemon.Config { return publish.DefaultPlacementFile() })
}

// FuzzKubernetesConfig: as FuzzAgentConfig, for the publisher of Kubernetes.
func FuzzKubernetesConfig(f *testing.F) {
	fuzzConfig(f, "trustpool-server/publish-kubernetes.yaml", `
server: {url: "https://a:1", token_file: "credential:a"}
marks: [{name: a.example/b}]
bars: {no_new_guests: not_trusted, no_guests: untrusted}
kubernetes: {url: "https://a:6443", token_file: /b, taint: c, taint_nodes: "a,!b,c=d,e!=f", allow_labels_that_nodes_can_set: true}
`, func() daemon.Config { return publish.DefaultKubernetesFile() })
}

// fuzzConfig begins with the sample in packaging, with the same without its comments' signs, and with good, which has to be taken.
func fuzzConfig(f *testing.F, sample, good string, defaults func() daemon.Config) {
	f.Helper()

	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "packaging", sample))
	if err != nil {
		f.Fatal(err)
	}

	path := filepath.Join(f.TempDir(), "config.yaml")
	load := func(text []byte) (daemon.Config, error) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, err
		}

		config := defaults()

		return config, daemon.LoadConfig(path, config)
	}

	if _, err := load([]byte(good)); err != nil {
		f.Fatal(err)
	}

	f.Add([]byte(good))
	f.Add(raw)
	f.Add(regexp.MustCompile(`(?m)^( *)# (?: *)((?:- )?[a-z_]+:.*)$`).ReplaceAll(raw, []byte("$1$2")))
	f.Add([]byte("a: &a [1]\nb: *a\n<<: *a\n"))
	f.Add([]byte("clients: [{rate: .nan, burst: -.inf, roles: [\"\\n\"]}]"))
	f.Add([]byte("nodes: {interval: \"a\\nb: c\"}\n---\n"))

	complaint := regexp.MustCompile(`^  (line \d+: |yaml: |more than one YAML document|[a-z_]+(\[\d+\])?(\.[a-z_]+(\[\d+\])?)*: ).`)

	f.Fuzz(func(t *testing.T, text []byte) {
		config, err := load(text)
		if err != nil {
			if !errors.As(err, new(daemon.UsageError)) {
				t.Fatalf("no mistake of whoever wrote it: %v", err)
			}

			for _, line := range strings.Split(err.Error(), "\n")[1:] {
				if !complaint.MatchString(line) {
					t.Errorf("it names neither line nor key: %q", line)
				}
			}

			return
		}

		written, err := yaml.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}

		again, err := load(written)
		if err != nil {
			t.Fatalf("what was taken is refused: %v\n%s", err, written)
		}

		if diff := cmp.Diff(config, again, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(agent.UnixRule{})); diff != "" {
			t.Errorf("read (-) and read again (+)\n%s", diff)
		}
	})
}
