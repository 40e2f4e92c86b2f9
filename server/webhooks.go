package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/trustpool/trustpool/server/internal/rest"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/server/internal/webhook"
)

// maxWebhooks bounds how many there are: each has a goroutine and a connection.
const maxWebhooks = 64

// defaultMaxAge is that of a webhook that says none.
const defaultMaxAge = 24 * time.Hour

// newWebhooks makes what tells the webhooks.
func (s *Server) newWebhooks() *webhook.Hooks {
	targets := make([]webhook.Target, len(s.config.Webhooks))
	for i := range s.config.Webhooks {
		targets[i] = s.config.Webhooks[i].target()
	}
	// The holder is another one at each start: two servers of one machine's image are not the same.
	config := webhook.Config{Store: s.store, Holder: rand.Text(), ReadFile: s.deps.ReadFile, ChangeOf: rest.ChangeOf, Logger: s.deps.Logger}
	return webhook.New(config, targets, s.deps.Registerer)
}

func (c *WebhookConfig) target() webhook.Target {
	t := webhook.Target{Name: c.Name, URL: c.URL, Pools: c.Pools, SecretFile: c.SecretFile, CA: c.CA, MaxAge: c.MaxAge}
	if t.MaxAge == 0 {
		t.MaxAge = defaultMaxAge
	}
	return t
}

// CheckWebhooks tells what is wrong with the files that the webhooks of a config name. read is as Deps.ReadFile.
func CheckWebhooks(config Config, read func(string) ([]byte, error)) error {
	var errs []error
	for i := range config.Webhooks {
		if err := config.Webhooks[i].target().CheckFiles(orDisk(read)); err != nil {
			errs = append(errs, fmt.Errorf("webhooks[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

func validateWebhooks(p *problems, hooks []WebhookConfig) {
	if len(hooks) > maxWebhooks {
		p.add("webhooks", "there are %d; write at most %d", len(hooks), maxWebhooks)
	}
	for i := range hooks {
		c, key := &hooks[i], fmt.Sprintf("webhooks[%d].", i)
		if _, err := trust.ParseWord(c.Name); err != nil {
			p.add(key+"name", "%v", err)
		}
		if slices.ContainsFunc(hooks[:i], func(other WebhookConfig) bool { return other.Name == c.Name }) {
			p.add(key+"name", "%q is there twice; give each a name of its own", c.Name)
		}
		if problem := c.urlProblem(); problem != "" {
			p.add(key+"url", "%s", problem)
		}
		for n, pool := range c.Pools {
			if _, err := trust.ParseWord(pool); err != nil {
				p.add(fmt.Sprintf("%spools[%d]", key, n), "%v", err)
			}
		}
		checkFile(p, key+"secret_file", c.SecretFile, true)
		checkFile(p, key+"ca", c.CA, false)
		if c.MaxAge != 0 {
			checkDuration(p, key+"max_age", c.MaxAge, time.Minute, 90*24*time.Hour)
		}
	}
}

// urlProblem does not repeat the URL, which may have a secret of the receiver's in it.
func (c *WebhookConfig) urlProblem() string {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(c.URL) > 4096 {
		return "it can't be used; write https://HOST/PATH, without a user"
	}
	if u.Scheme == "https" {
		return ""
	}
	address, err := netip.ParseAddr(u.Hostname())
	switch {
	case u.Scheme != "http":
		return "its scheme is not https; write https://HOST/PATH"
	case err != nil || !address.IsLoopback():
		return "it is not of https: anybody on the way could read the changes and keep them back; write https://HOST/PATH"
	case !c.AllowPlainHTTPToLoopback:
		return "it is not of https; for a receiver on this machine, write allow_plain_http_to_loopback: true beside it"
	}
	return ""
}
