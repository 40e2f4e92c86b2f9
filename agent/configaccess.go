package agent

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	"github.com/trustpool/trustpool/internal/certname"
	"github.com/trustpool/trustpool/internal/spiffe"
)

// ListenConfig says where callers come in, and how many.
type ListenConfig struct {
	// Address is host:port for mutual TLS. Default: :9443. Empty: none.
	Address string `yaml:"address"`
	// Unix is the path of a socket for local tools. Default: none.
	Unix string `yaml:"unix"`
	// UnixClients say who may call what on that socket. Default: root and the agent's own user have all roles, others who may open it have quote, raw and observe.
	UnixClients []UnixRule `yaml:"unix_clients"`
	// Reflection tells every caller who is let in what services, calls and messages there are (gRPC server reflection), as grpcurl asks. It tells no secret. Default: false.
	Reflection bool `yaml:"reflection"`
	// MaxConnections is how many connections there may be on each listener, MaxConnectionsPerAddress how many from one IPv4 address or IPv6 /64 network. More are
	// closed before a word is said. Defaults: 1024 and 64.
	MaxConnections           int `yaml:"max_connections"`
	MaxConnectionsPerAddress int `yaml:"max_connections_per_address"`
	// HandshakeTimeout is how long a new connection may take until it can carry calls. Of 128 that are not there yet, the oldest makes way for the next one.
	// Default: 5s.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	// SendTimeout is how long a caller may leave what it asked for unread; its connection is closed then. Default: 30s.
	SendTimeout time.Duration `yaml:"send_timeout"`
	// IdleTimeout is how long a connection without calls is kept. Default: 15m.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
}

// TLSConfig names the files for mutual TLS 1.3, or the SPIFFE Workload API that takes their place. All files but the CRL are needed if listen.address is set. Instead of a path, credential:NAME means what systemd's
// LoadCredential=NAME:... gave to the unit. The files are read again whenever they change, and on SIGHUP; what can't be used replaces nothing. Connections
// of callers that may not come in any more are closed.
type TLSConfig struct {
	// Certificate is this node's certificate chain (PEM), with extended key usage serverAuth; Key its private key (PEM), or the word tpm: then the key is one on ECDSA P-256 that
	// the TPM makes and never gives away, and trustpool-agent identity tls-csr prints the certificate request for it. A handshake then costs a signature of the TPM, which
	// one that resumes a session does not.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// TPMHandle is the persistent handle of that key. An object of somebody else there is never overwritten. Default: 0x200 above tpm.ak.handle.
	TPMHandle uint32 `yaml:"tpm_handle"`
	// ClientCA holds the certificates (PEM) of the authorities that sign callers' certificates. Those need the extended key usage clientAuth.
	ClientCA string `yaml:"client_ca"`
	// CRL holds these authorities' certificate revocation lists (PEM, or one in DER). An outdated list counts on, with a warning in the log. Default: none, nobody is
	// revoked.
	CRL string `yaml:"crl"`
	// SPIFFE takes the X.509-SVID and the bundles from a SPIFFE Workload API, in place of all of the above. Clients are then known by their SPIFFE IDs alone. Default: none.
	SPIFFE SPIFFEConfig `yaml:"spiffe"`
}

// SPIFFEConfig says where X.509-SVIDs and bundles come from: socket (unix:///PATH), id (default: the first one that the Workload API gives) and trust_domains.
type SPIFFEConfig = spiffe.Config

// ClientRule gives roles to the callers whose certificate has one of the names. A caller that several rules match has the roles of all of them, and the most
// generous limits; the PCRs of a rule go with the roles of that rule. Callers whom no rule matches are not let in at all. Rules are read again on SIGHUP.
type ClientRule struct {
	// SAN lists names as they stand in the certificate: dns:NAME or uri:URI. In the path of a URI, a * stands for one whole segment, as in
	// uri:spiffe://example.org/ns/*/sa/quoter; nothing else is a pattern. subject:NAME means the whole subject as RFC 2253 writes it, as in
	// subject:CN=quoter,O=Example.
	SAN []string `yaml:"san"`
	// Roles are quote (ask for quotes, logs and capabilities), raw (have the bare nonce signed), enroll (read the identity, activate credentials), admin (install
	// and request certificates, rotate and replace the AK), observe (watch the status) and attestz (have the bare nonce signed through OpenConfig attestz, if it is served). All of
	// them let a caller ask for the agent's health.
	Roles  []Role `yaml:"roles"`
	Limits `yaml:",inline"`
}

// UnixRule gives roles to local users. A user that several rules match has the roles of all of them, as with ClientRule.
type UnixRule struct {
	// UID and GID are the numbers of the calling process's user and group (its effective ones; further groups of the user do not count). At least one is
	// needed; if both are there, both have to match.
	UID *uint32 `yaml:"uid"`
	GID *uint32 `yaml:"gid"`
	// Roles are those of ClientRule.
	Roles  []Role `yaml:"roles"`
	Limits `yaml:",inline"`

	builtin func(peerCredentials) bool // of the default rules
}

// Limits bound what the callers of a rule may ask for. They count for each identity: all connections that come with the same name.
type Limits struct {
	// PCRs are those that may be quoted, as in sha256:17,18,19+sha384:17. Default: any.
	PCRs string `yaml:"pcrs"`
	// Rate is how many calls a second are answered in the long run, Burst how many at once after a pause. Defaults: 100, and twice the rate.
	Rate  float64 `yaml:"rate"`
	Burst int     `yaml:"burst"`
	// Concurrent is how many calls may be under way at a time; those that watch the status count. Default: 16.
	Concurrent int `yaml:"concurrent"`
}

// AuditConfig says where, beside the log, is written who had what signed.
type AuditConfig struct {
	// File gets one JSON line for each quote, enrolment and denial. It is only ever appended to, and opened again on SIGHUP, for logrotate. Default: none.
	File string `yaml:"file"`
}

// bounded returns the config with the defaults in place of bounds that are not there.
func (c ListenConfig) bounded() ListenConfig {
	c.MaxConnections = cmp.Or(c.MaxConnections, 1024)
	c.MaxConnectionsPerAddress = cmp.Or(c.MaxConnectionsPerAddress, 64)
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, 5*time.Second)
	c.SendTimeout = cmp.Or(c.SendTimeout, 30*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 15*time.Minute)

	return c
}

// unixRules are those of the config or, without any, the default ones.
func (c ListenConfig) unixRules() []UnixRule {
	if len(c.UnixClients) > 0 {
		return c.UnixClients
	}

	return []UnixRule{
		{Roles: Roles(), builtin: peerCredentials.isOwn},
		{Roles: []Role{RoleQuote, RoleRaw, RoleObserve}, builtin: func(peerCredentials) bool { return true }},
	}
}

// matches says whether the rule is for this user.
func (r UnixRule) matches(peer peerCredentials) bool {
	if r.builtin != nil {
		return r.builtin(peer)
	}

	return (r.UID != nil || r.GID != nil) && (r.UID == nil || *r.UID == peer.uid) && (r.GID == nil || *r.GID == peer.gid)
}

func (c Config) validateListen(p *problems) {
	if c.Listen.Address == "" && c.Listen.Unix == "" {
		p.add("listen", "nobody could call; write an address, or a path for unix")
	}

	if c.Listen.Unix != "" && !filepath.IsAbs(c.Listen.Unix) {
		p.add("listen.unix", "%q is not an absolute path; write one", c.Listen.Unix)
	}

	c.Listen.bounded().validateBounds(p)

	if c.Listen.Address == "" {
		return
	}

	checkAddress(p, "listen.address", c.Listen.Address)
	c.TLS.validate(p)
	c.validateTLSHandle(p)

	if len(c.Clients) == 0 {
		p.add("clients", "empty, so that every caller would be refused; write at least one rule {san: [dns:NAME], roles: [quote]}")
	}
}

func (c ListenConfig) validateBounds(p *problems) {
	for _, bound := range []struct {
		key   string
		value int
	}{{"max_connections", c.MaxConnections}, {"max_connections_per_address", c.MaxConnectionsPerAddress}} {
		if bound.value < 1 || bound.value > 1<<16 {
			p.add("listen."+bound.key, "%d is out of range; write a number from 1 to 65536", bound.value)
		}
	}

	for _, timeout := range []struct {
		key   string
		value time.Duration
	}{{"handshake_timeout", c.HandshakeTimeout}, {"send_timeout", c.SendTimeout}, {"idle_timeout", c.IdleTimeout}} {
		if timeout.value < 100*time.Millisecond || timeout.value > 24*time.Hour {
			p.add("listen."+timeout.key, "%v is out of range; write a time from 100ms to 24h", timeout.value)
		}
	}
}

func (c TLSConfig) validate(p *problems) {
	if c.SPIFFE.Enabled() {
		c.validateSPIFFE(p)

		return
	}

	for _, file := range []struct{ key, path string }{{"certificate", c.Certificate}, {"key", c.Key}, {"client_ca", c.ClientCA}} {
		if file.path == "" {
			p.add("tls."+file.key, "missing; mutual TLS needs it, write the path of a PEM file, or credential:NAME")
		}
	}

	for _, file := range []struct{ key, path string }{{"certificate", c.Certificate}, {"key", c.Key}, {"client_ca", c.ClientCA}, {"crl", c.CRL}} {
		if file.path != "" && !isFile(file.path) && (file.key != "key" || file.path != KeyInTPM) {
			p.add("tls."+file.key, "%q is neither an absolute path nor credential:NAME; write one of them", file.path)
		}
	}
}

// validateSPIFFE leaves one place where certificates come from.
func (c TLSConfig) validateSPIFFE(p *problems) {
	for _, file := range []struct{ key, path string }{{"certificate", c.Certificate}, {"key", c.Key}, {"client_ca", c.ClientCA}, {"crl", c.CRL}} {
		if file.path != "" {
			p.add("tls."+file.key, "it says nothing with tls.spiffe, where all of it comes from the Workload API; remove one of them")
		}
	}

	c.SPIFFE.Check(func(key, text string) { p.add("tls.spiffe."+key, "%s", text) })
}

// validateTLSHandle keeps the TLS key out of the way of the AKs. TPM 2.0 Part 2, 7.4: persistent objects of the owner have handles 0x81000000 to 0x817FFFFF.
func (c Config) validateTLSHandle(p *problems) {
	handle, first := uint32(c.tlsHandle()), c.TPM.AK.Handle

	switch {
	case c.TLS.TPMHandle != 0 && c.TLS.Key != KeyInTPM:
		p.add("tls.tpm_handle", "it says nothing while the key is in a file; remove it, or write tls.key: tpm")
	case handle != 0 && (handle < 0x81000000 || handle > 0x817FFFFF):
		p.add("tls.tpm_handle", "0x%08x is not an owner's persistent handle; write one from 0x81000000 to 0x817FFFFF", handle)
	case handle != 0 && handle >= first && handle-first < tpm.MaxGenerations:
		p.add("tls.tpm_handle", "0x%08x is one of the handles that AKs take; write one below tpm.ak.handle, or at least 0x100 above it", handle)
	}
}

func (c Config) validateClients(p *problems) {
	for i, rule := range c.Clients {
		key := fmt.Sprintf("clients[%d]", i)

		if len(rule.SAN) == 0 {
			p.add(key+".san", "empty; write names as dns:NAME or uri:URI")
		}

		for _, san := range rule.SAN {
			_, problem := certname.Parse(san)
			if problem == "" && c.TLS.SPIFFE.Enabled() {
				problem = c.TLS.SPIFFE.CheckRule(san)
			}

			if problem != "" {
				p.add(key+".san", "%q %s", san, problem)
			}
		}

		validateGrant(p, key, rule.Roles, rule.Limits)
	}

	for i, rule := range c.Listen.UnixClients {
		key := fmt.Sprintf("listen.unix_clients[%d]", i)

		if rule.UID == nil && rule.GID == nil {
			p.add(key, "it is for nobody; write uid, gid, or both")
		}

		validateGrant(p, key, rule.Roles, rule.Limits)
	}
}

func validateGrant(p *problems, key string, roles []Role, l Limits) {
	if len(roles) == 0 {
		p.add(key+".roles", "empty; write one or more of %v", Roles())
	}

	for _, role := range roles {
		if !slices.Contains(Roles(), role) {
			p.add(key+".roles", "%q is not known; write one or more of %v", role, Roles())
		}
	}

	if _, err := parsePCRSet(l.PCRs); err != nil {
		p.add(key+".pcrs", "%v; write e.g. sha256:17,18,19+sha384:17", err)
	}

	if l.PCRs != "" && !slices.Contains(roles, RoleQuote) && !slices.Contains(roles, RoleRaw) && !slices.Contains(roles, RoleAttestz) {
		p.add(key+".pcrs", "it says nothing without the role quote, raw or attestz; remove it, or add the role")
	}

	if math.IsNaN(l.Rate) || l.Rate < 0 || l.Rate > 1e6 {
		p.add(key+".rate", "%v is out of range; write calls a second, from 0.001 to 1000000", l.Rate)
	}

	if l.Burst < 0 || l.Burst > 1e6 {
		p.add(key+".burst", "%d is out of range; write a number from 1 to 1000000", l.Burst)
	}

	if l.Concurrent < 0 || l.Concurrent > 1e4 {
		p.add(key+".concurrent", "%d is out of range; write a number from 1 to 10000", l.Concurrent)
	}
}

// parsePCRSet reads PCRs as tpm2-tools write them. Nothing written means any.
func parsePCRSet(text string) (pcrSet, error) {
	if text == "" {
		return pcrSet{any: true}, nil
	}

	set := pcrSet{banks: make(map[tpm2.TPMAlgID]tpm.Selection)}

	for part := range strings.SplitSeq(text, "+") {
		name, list, _ := strings.Cut(part, ":")

		bank, ok := bankNamed(name)
		if !ok {
			return pcrSet{}, fmt.Errorf("%q is no bank", name)
		}

		if _, twice := set.banks[bank]; twice {
			return pcrSet{}, fmt.Errorf("%s is there twice", name)
		}

		selection := tpm.Selection{Bank: bank}

		for number := range strings.SplitSeq(list, ",") {
			pcr, err := strconv.Atoi(number)
			if err != nil || pcr < 0 || pcr >= tpm.PCRs {
				return pcrSet{}, fmt.Errorf("%q is no PCR", number)
			}

			selection.Add(pcr)
		}

		set.banks[bank] = selection
	}

	return set, nil
}

func bankNamed(name string) (tpm2.TPMAlgID, bool) {
	for _, bank := range []tpm2.TPMAlgID{tpm2.TPMAlgSHA1, tpm2.TPMAlgSHA256, tpm2.TPMAlgSHA384, tpm2.TPMAlgSHA512} {
		if tpm.BankName(bank) == name {
			return bank, true
		}
	}

	return 0, false
}
