package server

import (
	"time"

	"github.com/trustpool/trustpool/internal/spiffe"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/pollhosts"
)

// Config is the server's configuration file, /etc/trustpool-server/server.yaml. Keys that are not named here are refused.
type Config struct {
	// Database is the file of a SQLite database, in a folder of the server's own; it is made if it is not there. Or it is the URL of a PostgreSQL database that several servers share, replicas of each
	// other: postgres://USER@HOST/DATABASE?sslmode=verify-full&passfile=/PATH, with the parameters of libpq (PostgreSQL, 34.1.2). A password is never in the URL: passfile names a file with lines
	// HOST:PORT:DATABASE:USER:PASSWORD, in each of which * stands for all; service and servicefile work, too. Where the URL names a file, credential:NAME means what systemd's LoadCredential=NAME:...
	// gave to the unit. Over the network, only sslmode=verify-full and verify-ca are taken. Default: /var/lib/trustpool-server/trustpool.db.
	Database string       `yaml:"database"`
	Listen   ListenConfig `yaml:"listen"`
	TLS      TLSConfig    `yaml:"tls"`
	// Clients give roles to callers by their certificates. Default: none, callers need tokens.
	Clients   []ClientRule    `yaml:"clients"`
	Nodes     NodesConfig     `yaml:"nodes"`
	Retention RetentionConfig `yaml:"retention"`
	PollHosts PollHostsConfig `yaml:"pollhosts"`
	Signing   SigningConfig   `yaml:"signing"`
	// Webhooks are told of changes of verdicts. Default: none.
	Webhooks []WebhookConfig `yaml:"webhooks"`
	Page     PageConfig      `yaml:"page"`
	Admin    AdminConfig     `yaml:"admin"`
}

// ClientRule gives a role (reader, operator or admin) to the callers whose certificate has one of the names; of several rules, the highest role counts.
type ClientRule = access.Rule

// ListenConfig says where callers come in, and how many.
type ListenConfig struct {
	// Address is host:port for TLS. Default: :8443, which is where OpenStack's TrustedFilter asks unless told otherwise. Empty: none.
	Address string `yaml:"address"`
	// Unix is the path of a socket without TLS, for callers on this machine; the group of the socket may open it. They need tokens like all others. Default: none.
	Unix string `yaml:"unix"`
	// Loopback is host:port without TLS, on a loopback address: for a proxy on this machine, or for trying things out. Callers need tokens. Default: none.
	Loopback string `yaml:"loopback"`
	// MaxConnections is how many connections there may be on each listener, MaxConnectionsPerAddress how many from one IPv4 address or IPv6 /64 network. More are closed before a word is said.
	// Defaults: 4096 and 256.
	MaxConnections           int `yaml:"max_connections"`
	MaxConnectionsPerAddress int `yaml:"max_connections_per_address"`
	// RequestTimeout is how long a caller may take to send a request, and again to take the answer; streams of events have no end. Default: 30s.
	RequestTimeout time.Duration `yaml:"request_timeout"`
	// IdleTimeout is how long a connection without requests is kept. Default: 2m.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
}

// TLSConfig names the files of the server's own side of TLS 1.3. Instead of a path, credential:NAME means what systemd's LoadCredential=NAME:... gave to the unit. The files are read again whenever they
// change, and on SIGHUP; what can't be used replaces nothing.
type TLSConfig struct {
	// Certificate is the server's certificate chain (PEM), with extended key usage serverAuth; Key its private key (PEM). Both are needed if listen.address is set.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// ClientCA holds the certificates (PEM) of the authorities that sign callers' certificates, which need the extended key usage clientAuth. Default: none, callers need tokens.
	ClientCA string `yaml:"client_ca"`
	// CRL holds these authorities' certificate revocation lists (PEM, or one in DER). Default: none, nobody is revoked.
	CRL string `yaml:"crl"`
	// SPIFFE takes the X.509-SVID and the bundles from a SPIFFE Workload API, in place of all of the above. Callers with certificates are then known by their SPIFFE IDs alone. Default: none.
	SPIFFE SPIFFEConfig `yaml:"spiffe"`
}

// SPIFFEConfig says where X.509-SVIDs and bundles come from: socket (unix:///PATH), id (default: the first one that the Workload API gives) and trust_domains.
type SPIFFEConfig = spiffe.Config

// NodesSPIFFEConfig is SPIFFEConfig for calling nodes.
type NodesSPIFFEConfig struct {
	SPIFFEConfig `yaml:",inline"`
	// NodeIDs is the pattern of the agents' SPIFFE IDs, in which {name} stands for the node's name or, if an administrator gave one, its server_name: spiffe://example.org/node/{name}/trustpool-agent. A server_name
	// that is a whole SPIFFE ID takes the place of the pattern. It is needed.
	NodeIDs string `yaml:"node_ids"`
}

// NodesConfig says how nodes are asked.
type NodesConfig struct {
	// Certificate is the chain (PEM) by which the nodes' agents know this server, with extended key usage clientAuth; Key its private key (PEM). The agents' configuration has to give the name in it
	// the roles quote, enroll and observe. Both are needed without spiffe. They are read again when they change.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// CA holds the certificates (PEM) of the authorities that sign the agents' server certificates. It is needed.
	CA string `yaml:"ca"`
	// SPIFFE takes the X.509-SVID and the bundles from a SPIFFE Workload API, in place of the files above. Nodes are then known by their SPIFFE IDs. Default: none.
	SPIFFE NodesSPIFFEConfig `yaml:"spiffe"`
	// EKRoots are PEM files with the CAs of TPM makers: whoever is enrolled by the chain of its EK certificate has to lead to one. They are read at each enrolment. Default: none.
	EKRoots []string `yaml:"ek_roots"`
	// EKCRLs are files with revocation lists of TPM makers. Default: none.
	EKCRLs []string `yaml:"ek_crls"`
	// Interval is the time between two challenges of a node, give or take a tenth. Default: 1m.
	Interval time.Duration `yaml:"interval"`
	// Validity is how long a verdict holds after its nonce was made. Default: 3m.
	Validity time.Duration `yaml:"validity"`
	// Timeout bounds one challenge, from dialing to the last log. Default: 20s.
	Timeout time.Duration `yaml:"timeout"`
	// Concurrency is how many nodes are asked at a time. Default: 64.
	Concurrency int `yaml:"concurrency"`
}

// RetentionConfig bounds what is kept. Verdicts, the last good and the last bad evidence of each node and the admin log are always kept.
type RetentionConfig struct {
	// History is how long changes of verdicts are kept, with their evidence; the last one of each node stays. Default: 2160h (90 days). 0s: for ever.
	History time.Duration `yaml:"history"`
	// LogBytes bounds the event logs together, each of which is stored once. Where they exceed it, those go that were stored first, and last those that the last good evidence of a node
	// names: evidence whose log is gone can't be judged again. Default: 1073741824 (1 GiB). 0: no bound.
	LogBytes int64 `yaml:"log_bytes"`
}

// PollHostsConfig is for OpenStack's TrustedFilter.
type PollHostsConfig struct {
	// FilterCache is how long the filter keeps an answer, which is a constant in it. No answer is dated so that it would be kept longer than its verdict holds. Default: 60s.
	FilterCache time.Duration `yaml:"filter_cache"`
}

// SigningConfig is for signed verdicts (JWT).
type SigningConfig struct {
	// Issuer is the claim iss of signed verdicts: their verifiers are told which to expect. Default: trustpool-server.
	Issuer string `yaml:"issuer"`
	// Keys are files (PEM, or credential:NAME) with private keys without a passphrase: ECDSA over P-256 or P-384, or Ed25519. The first one signs, all are published; they are read again when they
	// change. Default: none, the server makes a key of its own in the folder signing-keys beside the database.
	Keys []string `yaml:"keys"`
	// Lifetime is how long a signed verdict holds at most. It never holds longer than its verdict; no signed verdict can be taken back. Default: 1h.
	Lifetime time.Duration `yaml:"lifetime"`
}

// WebhookConfig says who is told of changes of verdicts, by a POST each.
type WebhookConfig struct {
	// Name is that of the webhook, in the log and the metrics; how far it was told is kept under it. A new one is told of what happens from then on. It is needed.
	Name string `yaml:"name"`
	// URL is where the changes are sent, https://... No redirect is followed. It is needed.
	URL string `yaml:"url"`
	// AllowPlainHTTPToLoopback takes a URL of http:// if its host is a loopback address, for a receiver on this machine. Default: false.
	AllowPlainHTTPToLoopback bool `yaml:"allow_plain_http_to_loopback"`
	// Pools are those whose nodes' changes are sent. Default: all.
	Pools []string `yaml:"pools"`
	// SecretFile is a file (or credential:NAME) with the secret that signs deliveries: whsec_ and the base64 of 24 to 64 random bytes. Of several, one on a line, all sign. It is read at each delivery, and
	// needed.
	SecretFile string `yaml:"secret_file"`
	// CA is a file (PEM, or credential:NAME) with the authorities that sign the receiver's certificate. It is read at each delivery. Default: those of the system.
	CA string `yaml:"ca"`
	// MaxAge is how old a change may be that is still sent: what could not be delivered until then is dropped. Default: 24h.
	MaxAge time.Duration `yaml:"max_age"`
}

// PageConfig is for people with a browser.
type PageConfig struct {
	// Enabled has the server show pages at /page/, wherever callers come in, to whoever signs in with a token or has a client certificate that a rule names. They change nothing. Default: true.
	Enabled bool `yaml:"enabled"`
}

// AdminConfig is the listener for the operator's own tools: metrics and health.
type AdminConfig struct {
	// Address is host:port without TLS. Default: 127.0.0.1:9445. Empty: none.
	Address string `yaml:"address"`
}

// DefaultConfig returns the defaults that a file is read over.
func DefaultConfig() Config {
	return Config{
		Database: "/var/lib/trustpool-server/trustpool.db",
		Listen: ListenConfig{
			Address: ":8443", MaxConnections: 4096, MaxConnectionsPerAddress: 256, RequestTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		},
		Nodes:     NodesConfig{Interval: time.Minute, Validity: 3 * time.Minute, Timeout: 20 * time.Second, Concurrency: 64},
		Retention: RetentionConfig{History: 90 * 24 * time.Hour, LogBytes: 1 << 30},
		PollHosts: PollHostsConfig{FilterCache: pollhosts.DefaultFilterCache},
		Signing:   SigningConfig{Issuer: "trustpool-server", Lifetime: time.Hour},
		Page:      PageConfig{Enabled: true},
		Admin:     AdminConfig{Address: "127.0.0.1:9445"},
	}
}
