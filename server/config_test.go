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
		"nodes.certificate":      func(c *server.Config) { c.Nodes.Certificate = "" },
		"nodes.key":              func(c *server.Config) { c.Nodes.Key = "" },
		"nodes.ca":               func(c *server.Config) { c.Nodes.CA = "" },
		"nodes.ek_roots[1]":      func(c *server.Config) { c.Nodes.EKRoots = []string{"/a.pem", "b.pem"} },
		"nodes.ek_crls[0]":       func(c *server.Config) { c.Nodes.EKCRLs = []string{"a.crl"} },
		"nodes.interval":         func(c *server.Config) { c.Nodes.Interval = time.Millisecond },
		"nodes.validity":         func(c *server.Config) { c.Nodes.Validity = c.Nodes.Interval },
		"nodes.timeout":          func(c *server.Config) { c.Nodes.Timeout = 0 },
		"nodes.concurrency":      func(c *server.Config) { c.Nodes.Concurrency = 0 },
		"retention.history":      func(c *server.Config) { c.Retention.History = -1 },
		"retention.log_bytes":    func(c *server.Config) { c.Retention.LogBytes = -1 },
		"pollhosts.filter_cache": func(c *server.Config) { c.PollHosts.FilterCache = -1 },
		"admin.address":          func(c *server.Config) { c.Admin.Address = "nowhere" },
	} {
		config := validConfig()
		change(&config)
		err := config.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), key+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", key, err)
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
