package server

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
)

// problems collects what is wrong with a config, as `path.to.key: what is wrong, what to write`.
type problems []error

func (p *problems) add(key, format string, args ...any) {
	*p = append(*p, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
}

// Validate reports all that is wrong, each on a line of its own. It opens no file: CheckFiles does.
func (c Config) Validate() error {
	var p problems
	switch {
	case store.IsURL(c.Database):
		if err := store.CheckURL(c.Database); err != nil {
			p.add("database", "%v", err)
		}
	case !filepath.IsAbs(c.Database):
		p.add("database", "%q is neither an absolute path nor the URL of a PostgreSQL database; write /var/lib/trustpool-server/trustpool.db, or postgres://USER@HOST/DATABASE?sslmode=verify-full",
			store.Redacted(c.Database))
	}
	c.Listen.validate(&p)
	c.validateTLS(&p)
	wrong := access.CheckRules(c.Clients)
	for _, key := range slices.Sorted(maps.Keys(wrong)) {
		p.add(key, "%s", wrong[key])
	}
	c.Nodes.validate(&p)
	if c.Retention.History < 0 {
		p.add("retention.history", "%s is less than nothing; write 2160h, or 0s to keep all", c.Retention.History)
	}
	if c.Retention.LogBytes < 0 {
		p.add("retention.log_bytes", "%d is less than nothing; write 1073741824, or 0 to keep all", c.Retention.LogBytes)
	}
	checkDuration(&p, "pollhosts.filter_cache", c.PollHosts.FilterCache, 0, time.Hour)
	c.Signing.validate(&p)
	validateWebhooks(&p, c.Webhooks)
	if c.Admin.Address != "" {
		checkAddress(&p, "admin.address", c.Admin.Address)
	}
	return errors.Join(p...)
}

func (c ListenConfig) validate(p *problems) {
	if c.Address == "" && c.Unix == "" && c.Loopback == "" {
		p.add("listen", "nobody could call; write address, unix or loopback")
	}
	if c.Address != "" {
		checkAddress(p, "listen.address", c.Address)
	}
	if c.Unix != "" && !filepath.IsAbs(c.Unix) {
		p.add("listen.unix", "%q is not an absolute path; write one", c.Unix)
	}
	if c.Loopback != "" {
		checkLoopback(p, "listen.loopback", c.Loopback)
	}
	if c.MaxConnections < 1 || c.MaxConnections > 1<<20 {
		p.add("listen.max_connections", "%d is out of range; write a number from 1 to %d", c.MaxConnections, 1<<20)
	}
	if c.MaxConnectionsPerAddress < 1 || c.MaxConnectionsPerAddress > 1<<20 {
		p.add("listen.max_connections_per_address", "%d is out of range; write a number from 1 to %d", c.MaxConnectionsPerAddress, 1<<20)
	}
	checkDuration(p, "listen.request_timeout", c.RequestTimeout, time.Second, time.Hour)
	checkDuration(p, "listen.idle_timeout", c.IdleTimeout, time.Second, 24*time.Hour)
}

func (c Config) validateTLS(p *problems) {
	if c.TLS.SPIFFE.Enabled() {
		c.validateSPIFFE(p)
		return
	}
	checkFile(p, "tls.certificate", c.TLS.Certificate, c.Listen.Address != "")
	checkFile(p, "tls.key", c.TLS.Key, c.Listen.Address != "")
	checkFile(p, "tls.client_ca", c.TLS.ClientCA, false)
	checkFile(p, "tls.crl", c.TLS.CRL, false)
	if len(c.Clients) > 0 && c.TLS.ClientCA == "" {
		p.add("tls.client_ca", "missing; clients has rules, and without the CAs of their certificates these match nobody")
	}
	if c.TLS.CRL != "" && c.TLS.ClientCA == "" {
		p.add("tls.crl", "is for the authorities in tls.client_ca; write that too")
	}
}

func (c NodesConfig) validate(p *problems) {
	if c.SPIFFE.Enabled() || c.SPIFFE.NodeIDs != "" {
		c.validateSPIFFE(p)
	} else {
		checkFile(p, "nodes.certificate", c.Certificate, true)
		checkFile(p, "nodes.key", c.Key, true)
		checkFile(p, "nodes.ca", c.CA, true)
	}
	checkPaths(p, "nodes.ek_roots", c.EKRoots)
	checkPaths(p, "nodes.ek_crls", c.EKCRLs)
	checkDuration(p, "nodes.interval", c.Interval, time.Second, 24*time.Hour)
	checkDuration(p, "nodes.timeout", c.Timeout, time.Second, 10*time.Minute)
	// A node whose challenge comes as late as it may, and takes as long as it may, must not lose its verdict by that.
	if least := c.Interval + c.Interval/10 + c.Timeout; c.Validity < least || c.Validity > 30*24*time.Hour {
		p.add("nodes.validity", "%s is out of range; write a time from 1.1 x interval + timeout = %s to 720h", c.Validity, least)
	}
	if c.Concurrency < 1 || c.Concurrency > 4096 {
		p.add("nodes.concurrency", "%d is out of range; write a number from 1 to 4096", c.Concurrency)
	}
}

func (c SigningConfig) validate(p *problems) {
	if c.Issuer == "" || len(c.Issuer) > 256 || strings.ContainsFunc(c.Issuer, func(r rune) bool { return r <= ' ' || r > '~' }) {
		p.add("signing.issuer", "%.64q is none; write a name or URL without spaces, of at most 256 characters", c.Issuer)
	}
	for i, key := range c.Keys {
		checkFile(p, fmt.Sprintf("signing.keys[%d]", i), key, true)
	}
	if len(c.Keys) > 16 {
		p.add("signing.keys", "there are %d; write at most 16", len(c.Keys))
	}
	checkDuration(p, "signing.lifetime", c.Lifetime, time.Minute, 30*24*time.Hour)
}

// checkFile wants a path, or the name of a credential of systemd's, which the program around the server finds.
func checkFile(p *problems, key, path string, needed bool) {
	switch {
	case path == "" && needed:
		p.add(key, "missing; write the path of a PEM file")
	case path != "" && !filepath.IsAbs(path) && !strings.HasPrefix(path, "credential:"):
		p.add(key, "%q is neither an absolute path nor credential:NAME; write one of them", path)
	}
}

func checkPaths(p *problems, key string, files []string) {
	for i, file := range files {
		if !filepath.IsAbs(file) {
			p.add(fmt.Sprintf("%s[%d]", key, i), "%q is not an absolute path; write one", file)
		}
	}
}

func checkAddress(p *problems, key, address string) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		p.add(key, "%v; write host:port, e.g. 127.0.0.1:8443", err)
	}
}

// checkLoopback takes addresses only: what a name means may change.
func checkLoopback(p *problems, key, address string) {
	parsed, err := netip.ParseAddrPort(address)
	if err != nil || !parsed.Addr().IsLoopback() {
		p.add(key, "%q is no loopback address, and without TLS no other is served; write 127.0.0.1:PORT or [::1]:PORT", address)
	}
}

func checkDuration(p *problems, key string, d, least, most time.Duration) {
	if d < least || d > most {
		p.add(key, "%s is out of range; write a time from %s to %s", d, least, most)
	}
}
