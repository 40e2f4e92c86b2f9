// Package spiffe is the language in which configurations speak of SPIFFE: where the Workload API is, whom of which trust domains it vouches for, and which SPIFFE ID a node has. The agent and the
// server share it.
package spiffe

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Config says where X.509-SVIDs and bundles come from, in place of files. The zero value means files.
type Config struct {
	// Socket is the address of the SPIFFE Workload API, unix:///PATH, as in unix:///run/spire/agent/public/api.sock. It is needed.
	Socket string `yaml:"socket"`
	// ID is the SPIFFE ID of the X.509-SVID to use, for a Workload API that gives several. Default: the first one, which is the default identity.
	ID string `yaml:"id"`
	// TrustDomains are those whose X.509-SVIDs count, each by the bundle that the Workload API has of it; others do not, even if there are bundles for them. At least one is needed.
	TrustDomains []string `yaml:"trust_domains"`
}

// Enabled says whether any of it is written.
func (c Config) Enabled() bool { return c.Socket != "" || c.ID != "" || len(c.TrustDomains) > 0 }

// maxTrustDomains bounds how many are accepted.
const maxTrustDomains = 256

// Check calls problem for all that is wrong, with the key below that of the config, and what is wrong and what to write.
func (c Config) Check(problem func(key, text string)) {
	if _, err := SocketPath(c.Socket); err != nil {
		problem("socket", err.Error())
	}

	if c.ID != "" {
		if id, err := spiffeid.FromString(c.ID); err != nil || id.Path() == "" {
			problem("id", fmt.Sprintf("%.128q is no SPIFFE ID of a workload; write spiffe://TRUST-DOMAIN/PATH, or leave it out", c.ID))
		}
	}

	if len(c.TrustDomains) == 0 {
		problem("trust_domains", "missing, so that nobody would count; write e.g. [example.org]")
	}

	if len(c.TrustDomains) > maxTrustDomains {
		problem("trust_domains", fmt.Sprintf("there are %d; write at most %d", len(c.TrustDomains), maxTrustDomains))
	}

	for i, name := range c.TrustDomains {
		if domain, err := spiffeid.TrustDomainFromString(name); err != nil || domain.Name() != name {
			problem(fmt.Sprintf("trust_domains[%d]", i), fmt.Sprintf("%.128q is no trust domain; write its name alone, as in example.org", name))
		}
	}
}

// CheckRule says what is wrong with the name in a rule for callers, and what to write; "" if nothing is. Only SPIFFE IDs of trust domains that count are taken: whatever else stands in an
// X.509-SVID, each trust domain may write as it likes.
func (c Config) CheckRule(san string) string {
	const write = "; write uri:spiffe://TRUST-DOMAIN/PATH, with one of tls.spiffe.trust_domains"

	text, isURI := strings.CutPrefix(san, "uri:")
	if !isURI {
		return "is no SPIFFE ID, and with tls.spiffe no other name counts" + write
	}

	uri, err := url.Parse(text)
	if err != nil || uri.Scheme != "spiffe" {
		return "is no SPIFFE ID, and with tls.spiffe no other name counts" + write
	}

	if !slices.Contains(c.TrustDomains, uri.Host) {
		return "is of a trust domain that does not count" + write
	}

	return ""
}

// SocketPath returns the path in the address of a Workload API (SPIFFE Workload Endpoint, 3). Only unix sockets are taken: over TCP nothing tells who answers.
func SocketPath(socket string) (string, error) {
	const write = "write unix:///PATH, as in unix:///run/spire/agent/public/api.sock"

	file, isUnix := strings.CutPrefix(socket, "unix://")
	if socket == "" {
		return "", errors.New("missing; " + write)
	}

	if !isUnix || !path.IsAbs(file) || path.Clean(file) != file || strings.ContainsAny(file, "?#%") {
		return "", fmt.Errorf("%.128q is no address of a unix socket; %s", socket, write)
	}

	return file, nil
}
