package publish

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxMarks bounds how many marks there may be: each costs the sink something on each host.
const maxMarks = 64

// maxInterval keeps the loop turning well within hungAfter, and the alerts, which know no intervals, silent while all is well.
const maxInterval = 30 * time.Second

// problems collects what is wrong with a config, as `path.to.key: what is wrong, what to write`.
type problems []error

func (p *problems) add(key, format string, args ...any) {
	*p = append(*p, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
}

// Validate reports all that is wrong with what publishers have in common. A sink's file adds what is wrong with its own section.
func (c *Config) Validate() error {
	var p problems
	c.Server.validate(&p)
	checkDuration(&p, "interval", c.Interval, time.Second, maxInterval)
	// An answer is given up only after two further ones should have come.
	if least := 3 * c.Interval; c.MaxAge < least || c.MaxAge > 24*time.Hour {
		p.add("max_age", "%s is out of range; write a time from 3 x interval = %s to 24h", c.MaxAge, least)
	}
	if c.Concurrency < 1 || c.Concurrency > 256 {
		p.add("concurrency", "%d is out of range; write a number from 1 to 256", c.Concurrency)
	}
	c.validateMarks(&p)
	c.Bars.validate(&p)
	if c.Admin.Address != "" {
		if _, _, err := net.SplitHostPort(c.Admin.Address); err != nil {
			p.add("admin.address", "%v; write host:port, e.g. 127.0.0.1:9446", err)
		}
	}
	return errors.Join(p...)
}

func (c ServerConfig) validate(p *problems) {
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "https" || u.Host == "" {
		p.add("server.url", "%q is no URL of an attestation server; write https://HOST:PORT", c.URL)
	}
	checkFile(p, "server.ca", c.CA)
	checkFile(p, "server.token_file", c.TokenFile)
	checkFile(p, "server.certificate", c.Certificate)
	checkFile(p, "server.key", c.Key)
	if c.TokenFile == "" && c.Certificate == "" {
		p.add("server.token_file", "missing; write the path of a file with a token of the role reader (trustpool-server token add), or certificate and key")
	}
	if (c.Certificate == "") != (c.Key == "") {
		p.add("server.certificate", "is of use together with server.key only; write both or none")
	}
}

func (c *Config) validateMarks(p *problems) {
	if len(c.Marks) == 0 || len(c.Marks) > maxMarks {
		p.add("marks", "there are %d; write from 1 to %d", len(c.Marks), maxMarks)
	}
	names := make(map[string]bool)
	for i, m := range c.Marks {
		key := fmt.Sprintf("marks[%d]", i)
		if m.Name == "" {
			p.add(key+".name", "missing; write the mark's name")
		}
		if m.Name != "" && names[m.Name] {
			p.add(key+".name", "%q is there twice; write all its pools in one item", m.Name)
		}
		names[m.Name] = true
		if slices.Contains(m.Pools, "") {
			p.add(key+".pools", "an empty name is no pool's; write pools: [] for all of them")
		}
	}
}

func (c BarsConfig) validate(p *problems) {
	if !slices.Contains([]BarPolicy{Never, Untrusted, NotTrusted}, c.NoNewGuests) {
		p.add("bars.no_new_guests", "%q is no policy; write %s, %s or %s", c.NoNewGuests, Never, Untrusted, NotTrusted)
	}
	// Whoever evicts what runs does so for what he knows, not for what he does not.
	if !slices.Contains([]BarPolicy{Never, Untrusted}, c.NoGuests) {
		p.add("bars.no_guests", "%q is no policy; write %s or %s", c.NoGuests, Never, Untrusted)
	}
}

// checkFile wants a path, or the name of a credential of systemd's, which the program around the publisher finds.
func checkFile(p *problems, key, path string) {
	if path != "" && !filepath.IsAbs(path) && !strings.HasPrefix(path, "credential:") {
		p.add(key, "%q is neither an absolute path nor credential:NAME; write one of them", path)
	}
}

func checkDuration(p *problems, key string, d, least, most time.Duration) {
	if d < least || d > most {
		p.add(key, "%s is out of range; write a time from %s to %s", d, least, most)
	}
}
