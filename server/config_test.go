package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server"
)

// validConfig is the least that a server needs beside the defaults.
func validConfig() server.Config {
	config := server.DefaultConfig()
	config.TLS.Certificate, config.TLS.Key = "/server.pem", "credential:server-key"
	config.Nodes.Certificate, config.Nodes.Key, config.Nodes.CA = "/client.pem", "/client-key.pem", "/ca.pem"
	return config
}

func TestTheDefaultsNeedOnlyTLSFiles(t *testing.T) {
	t.Parallel()

	if err := validConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestEachMistakeIsNamedByItsKey(t *testing.T) {
	t.Parallel()

	for key, change := range map[string]func(*server.Config){
		"database":                           func(c *server.Config) { c.Database = "db" },
		"listen":                             func(c *server.Config) { c.Listen.Address = "" },
		"listen.address":                     func(c *server.Config) { c.Listen.Address = "8443" },
		"listen.unix":                        func(c *server.Config) { c.Listen.Unix = "api.sock" },
		"listen.loopback":                    func(c *server.Config) { c.Listen.Loopback = "0.0.0.0:80" },
		"listen.max_connections":             func(c *server.Config) { c.Listen.MaxConnections = 0 },
		"listen.max_connections_per_address": func(c *server.Config) { c.Listen.MaxConnectionsPerAddress = 0 },
		"listen.request_timeout":             func(c *server.Config) { c.Listen.RequestTimeout = 0 },
		"listen.idle_timeout":                func(c *server.Config) { c.Listen.IdleTimeout = 0 },
		"tls.certificate":                    func(c *server.Config) { c.TLS.Certificate = "" },
		"tls.key":                            func(c *server.Config) { c.TLS.Key = "key.pem" },
		"tls.crl":                            func(c *server.Config) { c.TLS.CRL = "/crl.pem" }, // of nobody
		"tls.client_ca": func(c *server.Config) { // rules that would match nobody
			c.Clients = []server.ClientRule{{SAN: []string{"dns:a.example"}, Role: 1}}
		},
		"clients[0].san": func(c *server.Config) {
			c.TLS.ClientCA = "/ca.pem"
			c.Clients = []server.ClientRule{{SAN: []string{"a.example"}, Role: 1}}
		},
		"clients[0].role": func(c *server.Config) {
			c.TLS.ClientCA = "/ca.pem"
			c.Clients = []server.ClientRule{{SAN: []string{"dns:a.example"}}}
		},
		"nodes.certificate":       func(c *server.Config) { c.Nodes.Certificate = "" },
		"nodes.key":               func(c *server.Config) { c.Nodes.Key = "" },
		"nodes.ca":                func(c *server.Config) { c.Nodes.CA = "" },
		"nodes.ek_roots[1]":       func(c *server.Config) { c.Nodes.EKRoots = []string{"/a.pem", "b.pem"} },
		"nodes.ek_crls[0]":        func(c *server.Config) { c.Nodes.EKCRLs = []string{"a.crl"} },
		"nodes.interval":          func(c *server.Config) { c.Nodes.Interval = time.Millisecond },
		"nodes.validity":          func(c *server.Config) { c.Nodes.Validity = c.Nodes.Interval },
		"nodes.timeout":           func(c *server.Config) { c.Nodes.Timeout = 0 },
		"nodes.concurrency":       func(c *server.Config) { c.Nodes.Concurrency = 0 },
		"retention.history":       func(c *server.Config) { c.Retention.History = -1 },
		"retention.log_bytes":     func(c *server.Config) { c.Retention.LogBytes = -1 },
		"pollhosts.filter_cache":  func(c *server.Config) { c.PollHosts.FilterCache = -1 },
		"signing.issuer":          func(c *server.Config) { c.Signing.Issuer = "" },
		"signing.keys[1]":         func(c *server.Config) { c.Signing.Keys = []string{"credential:a", "b.pem"} },
		"signing.lifetime":        func(c *server.Config) { c.Signing.Lifetime = 0 },
		"webhooks[0].name":        hook(func(h *server.WebhookConfig) { h.Name = "a b" }),
		"webhooks[0].url":         hook(func(h *server.WebhookConfig) { h.URL = "ftp://a.example" }),
		"webhooks[0].pools[0]":    hook(func(h *server.WebhookConfig) { h.Pools = []string{"a b"} }),
		"webhooks[0].secret_file": hook(func(h *server.WebhookConfig) { h.SecretFile = "" }),
		"webhooks[0].ca":          hook(func(h *server.WebhookConfig) { h.CA = "ca.pem" }),
		"webhooks[0].max_age":     hook(func(h *server.WebhookConfig) { h.MaxAge = time.Second }),
		"webhooks[1].name": func(c *server.Config) { // twice
			c.Webhooks = []server.WebhookConfig{validHook(), validHook()}
		},
		"admin.address": func(c *server.Config) { c.Admin.Address = "nowhere" },
	} {
		config := validConfig()
		change(&config)
		err := config.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), key+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}

func validHook() server.WebhookConfig {
	return server.WebhookConfig{Name: "pager", URL: "https://pager.example/hook", SecretFile: "credential:pager"}
}

// hook spoils the one webhook of a config.
func hook(change func(*server.WebhookConfig)) func(*server.Config) {
	return func(c *server.Config) {
		h := validHook()
		change(&h)
		c.Webhooks = []server.WebhookConfig{h}
	}
}

func TestAWebhookIsToldWithoutTLSOnlyOnThisMachineAndIfSaidSo(t *testing.T) {
	t.Parallel()

	for url, good := range map[string][2]bool{ // without and with allow_plain_http_to_loopback
		"https://a.example":         {true, true},
		"http://127.0.0.1:8080/a":   {false, true},
		"http://[::1]/a":            {false, true},
		"http://localhost/a":        {false, false}, // what a name means may change
		"http://192.0.2.1/a":        {false, false},
		"http://0.0.0.0/a":          {false, false},
		"https://user:pw@a.example": {false, false},
		"https:///a":                {false, false},
		"https://a.example/#x":      {false, false},
		"a.example/a":               {false, false},
		"":                          {false, false},
	} {
		for i, allowed := range []bool{false, true} {
			config := validConfig()
			h := validHook()
			h.URL, h.AllowPlainHTTPToLoopback = url, allowed
			config.Webhooks = []server.WebhookConfig{h}
			err := config.Validate()
			if good[i] != (err == nil) {
				t.Errorf("%s, %t: %v", url, allowed, err)
			}
			if err != nil && strings.Contains(err.Error(), "pw") {
				t.Errorf("a secret is told: %v", err)
			}
		}
	}
}

func TestOnlyLoopbackAddressesAreServedWithoutTLS(t *testing.T) {
	t.Parallel()

	for address, good := range map[string]bool{
		"127.0.0.1:80": true, "127.9.9.9:80": true, "[::1]:80": true, "0.0.0.0:80": false, ":80": false, "localhost:80": false, "192.0.2.1:80": false, "[::]:80": false,
		"[::ffff:192.0.2.1]:80": false,
	} {
		config := validConfig()
		config.Listen.Loopback = address
		if err := config.Validate(); good != (err == nil) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestFilesThatAreNotThereAreTold(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.pem")
	if err := os.WriteFile(broken, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := validConfig()
	good.Database = filepath.Join(dir, "trustpool.db")
	if err := good.CheckFiles(); err != nil {
		t.Error(err)
	}
	for key, change := range map[string]func(*server.Config){
		"database":          func(c *server.Config) { c.Database = filepath.Join(dir, "nowhere", "trustpool.db") },
		"listen.unix":       func(c *server.Config) { c.Listen.Unix = filepath.Join(broken, "api.sock") },
		"nodes.ek_roots[0]": func(c *server.Config) { c.Nodes.EKRoots = []string{filepath.Join(dir, "missing.pem")} },
		"nodes.ek_roots":    func(c *server.Config) { c.Nodes.EKRoots = []string{broken} },
		"nodes.ek_crls[0]":  func(c *server.Config) { c.Nodes.EKCRLs = []string{broken} },
	} {
		config := good
		change(&config)
		if err := config.CheckFiles(); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}

func TestWithSPIFFEThereAreNoFilesAndNoOtherNames(t *testing.T) {
	t.Parallel()

	for want, change := range map[string]func(*server.Config){
		"":                           func(*server.Config) {},
		"tls.certificate":            func(c *server.Config) { c.TLS.Certificate = "/server.pem" },
		"tls.client_ca":              func(c *server.Config) { c.TLS.ClientCA = "/ca.pem" },
		"tls.spiffe.socket":          func(c *server.Config) { c.TLS.SPIFFE.Socket = "/run/api.sock" },
		"clients[0].san":             func(c *server.Config) { c.Clients[0].SAN = []string{"dns:a.example"} },
		"nodes.key":                  func(c *server.Config) { c.Nodes.Key = "/client-key.pem" },
		"nodes.spiffe.socket":        func(c *server.Config) { c.Nodes.SPIFFE.Socket = "" },
		"nodes.spiffe.trust_domains": func(c *server.Config) { c.Nodes.SPIFFE.TrustDomains = nil },
		"nodes.spiffe.node_ids":      func(c *server.Config) { c.Nodes.SPIFFE.NodeIDs = "spiffe://example.org/trustpool-agent" },
	} {
		config := server.DefaultConfig()
		source := server.SPIFFEConfig{Socket: "unix:///run/api.sock", TrustDomains: []string{"example.org"}}
		config.TLS.SPIFFE = source
		config.Nodes.SPIFFE = server.NodesSPIFFEConfig{SPIFFEConfig: source, NodeIDs: "spiffe://example.org/node/{name}"}
		config.Clients = []server.ClientRule{{SAN: []string{"uri:spiffe://example.org/dashboard"}}}
		if err := config.Clients[0].Role.UnmarshalText([]byte("reader")); err != nil {
			t.Fatal(err)
		}
		change(&config)

		err := config.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want+": ")) {
			t.Errorf("%q: got %v", want, err)
		}
	}
}
