package agent_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/agent"
)

// validConfig is the least that a host needs beside the defaults.
func validConfig() agent.Config {
	config := agent.DefaultConfig()
	config.TLS = agent.TLSConfig{Certificate: "/c.pem", Key: "/k.pem", ClientCA: "/ca.pem"}
	config.Clients = []agent.ClientRule{{SAN: []string{"dns:a.example"}, Roles: []agent.Role{agent.RoleQuote}}}

	return config
}

func TestTheDefaultsNeedOnlyTLSAndClients(t *testing.T) {
	t.Parallel()

	if err := validConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestEachMistakeIsNamedByItsKey(t *testing.T) {
	t.Parallel()

	for key, change := range map[string]func(*agent.Config){
		"tpm.device":           func(c *agent.Config) { c.TPM.Device = "tpmrm0" },
		"tpm.queue":            func(c *agent.Config) { c.TPM.Queue = 0 },
		"tpm.ak.algorithm":     func(c *agent.Config) { c.TPM.AK.Algorithm = "dsa" },
		"tpm.ak.handle":        func(c *agent.Config) { c.TPM.AK.Handle = 0x80000000 },
		"listen":               func(c *agent.Config) { c.Listen = agent.ListenConfig{} },
		"listen.address":       func(c *agent.Config) { c.Listen.Address = "9443" },
		"listen.unix":          func(c *agent.Config) { c.Listen.Unix = "agent.sock" },
		"tls.certificate":      func(c *agent.Config) { c.TLS.Certificate = "" },
		"tls.key":              func(c *agent.Config) { c.TLS.Key = "" },
		"tls.client_ca":        func(c *agent.Config) { c.TLS.ClientCA = "" },
		"tls.tpm_handle":       func(c *agent.Config) { c.TLS.TPMHandle = 0x81018300 }, // the key is in a file
		"clients":              func(c *agent.Config) { c.Clients = nil },
		"clients[0].san":       func(c *agent.Config) { c.Clients[0].SAN = []string{"a.example"} },
		"clients[0].roles":     func(c *agent.Config) { c.Clients[0].Roles = []agent.Role{"king"} },
		"logs.files[0].source": func(c *agent.Config) { c.Logs.Files = []agent.LogConfig{{Source: "../x", Path: "/x"}} },
		"logs.files[0].path":   func(c *agent.Config) { c.Logs.Files = []agent.LogConfig{{Source: "x", Path: "x"}} },
		"logs.files[1].source": func(c *agent.Config) {
			c.Logs.Files = []agent.LogConfig{{Source: "x", Path: "/x"}, {Source: "x", Path: "/y"}}
		},
		"logs.root":                    func(c *agent.Config) { c.Logs.Root = "host" },
		"logs.collected":               func(c *agent.Config) { c.Logs.Collected = "run" },
		"state_dir":                    func(c *agent.Config) { c.StateDir = "state" },
		"tpm.owner_auth_file":          func(c *agent.Config) { c.TPM.OwnerAuthFile = "owner" },
		"tpm.endorsement_auth_file":    func(c *agent.Config) { c.TPM.EndorsementAuthFile = "endorsement" },
		"tpm.ek_certificate":           func(c *agent.Config) { c.TPM.EKCertificate = "ek.pem" },
		"admin.address":                func(c *agent.Config) { c.Admin.Address = "nowhere" },
		"audit.file":                   func(c *agent.Config) { c.Audit.File = "audit.log" },
		"tls.crl":                      func(c *agent.Config) { c.TLS.CRL = "crl.pem" },
		"listen.max_connections":       func(c *agent.Config) { c.Listen.MaxConnections = -1 },
		"listen.handshake_timeout":     func(c *agent.Config) { c.Listen.HandshakeTimeout = 1 },
		"listen.unix_clients[0]":       func(c *agent.Config) { c.Listen.UnixClients = []agent.UnixRule{{Roles: agent.Roles()}} },
		"clients[0].pcrs":              func(c *agent.Config) { c.Clients[0].PCRs = "17" },
		"clients[0].rate":              func(c *agent.Config) { c.Clients[0].Rate = -1 },
		"clients[1].rate":              func(c *agent.Config) { c.Clients = append(c.Clients, c.Clients[0]); c.Clients[1].Rate = math.NaN() },
		"clients[0].burst":             func(c *agent.Config) { c.Clients[0].Burst = -1 },
		"clients[0].concurrent":        func(c *agent.Config) { c.Clients[0].Concurrent = -1 },
		"listen.unix_clients[0].roles": func(c *agent.Config) { c.Listen.UnixClients = []agent.UnixRule{{UID: new(uint32)}} },
		"clients[1].san": func(c *agent.Config) {
			c.Clients = append(c.Clients, agent.ClientRule{Roles: []agent.Role{agent.RoleRaw}})
		},
		"clients[1].roles": func(c *agent.Config) { c.Clients = append(c.Clients, agent.ClientRule{SAN: []string{"dns:b.example"}}) },
	} {
		config := validConfig()
		change(&config)

		err := config.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), key+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	t.Parallel()

	err := agent.Config{Listen: agent.ListenConfig{Address: ":1"}}.Validate()

	var keys []string
	for line := range strings.Lines(err.Error()) {
		key, _, _ := strings.Cut(line, ":")
		keys = append(keys, key)
	}

	want := []string{"tpm.device", "tpm.queue", "tpm.ak.algorithm", "tpm.ak.handle", "tls.certificate", "tls.key", "tls.client_ca", "clients"}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestTheTLSKeyStaysOutOfTheWayOfAKs(t *testing.T) {
	t.Parallel()

	for handle, good := range map[uint32]bool{
		0: true, 0x81018300: true, 0x81018200: true, 0x810180FF: true, 0x81018100: false, 0x810181FF: false, 0x80FFFFFF: false, 0x81800000: false,
	} {
		config := validConfig()
		config.TLS.Key, config.TLS.TPMHandle = agent.KeyInTPM, handle

		err := config.Validate()
		if good != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), "tls.tpm_handle: ") {
			t.Errorf("0x%08x: %v", handle, err)
		}
	}
}

func TestWithSPIFFEThereAreNoFilesAndNoOtherNames(t *testing.T) {
	t.Parallel()

	for want, change := range map[string]func(*agent.Config){
		"":                         func(*agent.Config) {},
		"tls.certificate":          func(c *agent.Config) { c.TLS.Certificate = "/c.pem" },
		"tls.key":                  func(c *agent.Config) { c.TLS.Key = agent.KeyInTPM },
		"tls.client_ca":            func(c *agent.Config) { c.TLS.ClientCA = "/ca.pem" },
		"tls.crl":                  func(c *agent.Config) { c.TLS.CRL = "/crl.pem" },
		"tls.tpm_handle":           func(c *agent.Config) { c.TLS.TPMHandle = 0x81018300 },
		"tls.spiffe.socket":        func(c *agent.Config) { c.TLS.SPIFFE.Socket = "" },
		"tls.spiffe.trust_domains": func(c *agent.Config) { c.TLS.SPIFFE.TrustDomains, c.Clients[0].SAN = nil, nil },
		"tls.spiffe.id":            func(c *agent.Config) { c.TLS.SPIFFE.ID = "agent" },
		"clients[0].san":           func(c *agent.Config) { c.Clients[0].SAN = []string{"dns:a.example"} },
		"clients":                  func(c *agent.Config) { c.Clients = nil },
		"tls.spiffe.trust_domains[0]": func(c *agent.Config) {
			c.TLS.SPIFFE.TrustDomains[0] = "Example.org"
		},
	} {
		config := validConfig()
		config.TLS = agent.TLSConfig{SPIFFE: agent.SPIFFEConfig{Socket: "unix:///run/api.sock", TrustDomains: []string{"example.org", "friends.example"}}}
		config.Clients[0].SAN = []string{"uri:spiffe://friends.example/server"}
		change(&config)

		err := config.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want+": ")) {
			t.Errorf("%q: got %v", want, err)
		}
	}
}
