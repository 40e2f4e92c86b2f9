package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

func mutual() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{{}}}
}

func TestDialRefusesConnectionsThatNobodyAuthenticates(t *testing.T) {
	t.Parallel()

	with := func(change func(*tls.Config)) *tls.Config {
		config := mutual()
		change(config)
		return config
	}
	tests := map[string]struct {
		opts Options
		want string
	}{
		"no TLS":                     {Options{Address: "node:7443"}, "TLS is needed"},
		"no CAs":                     {Options{Address: "node:7443", TLS: with(func(c *tls.Config) { c.RootCAs = nil })}, "CAs of the nodes are missing"},
		"no client certificate":      {Options{Address: "node:7443", TLS: with(func(c *tls.Config) { c.Certificates = nil })}, "client certificate is missing"},
		"server not verified":        {Options{Address: "node:7443", TLS: with(func(c *tls.Config) { c.InsecureSkipVerify = true })}, "has to be verified"},
		"at most TLS 1.2":            {Options{Address: "node:7443", TLS: with(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })}, "TLS 1.3 is needed"},
		"no address":                 {Options{TLS: mutual()}, "host:port"},
		"no port":                    {Options{Address: "node", TLS: mutual()}, "host:port"},
		"no host":                    {Options{Address: ":7443", TLS: mutual()}, "host:port"},
		"a resolver":                 {Options{Address: "dns:///node:7443", TLS: mutual()}, "host:port"},
		"relative path of a socket":  {Options{Address: "unix://socket"}, "unix:///absolute/path"},
		"socket without slashes":     {Options{Address: "unix:socket"}, "unix:///absolute/path"},
		"socket in abstract space":   {Options{Address: "unix-abstract:agent"}, "TLS is needed"},
		"socket with a certificate":  {Options{Address: "unix:///run/agent", TLS: mutual()}, "takes no TLS"},
		"the zero value of anything": {Options{}, "host:port"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			if _, err := Dial(test.opts); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestDialTakes(t *testing.T) {
	t.Parallel()

	for name, opts := range map[string]Options{
		"a host":                       {Address: "node.example:7443", TLS: mutual()},
		"an IPv6 address":              {Address: "[::1]:7443", TLS: mutual()},
		"a host named like a resolver": {Address: "dns:7443", TLS: mutual()},
		"a socket":                     {Address: "unix:///run/trustpool-agent/agent.sock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			c, err := Dial(opts)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCapabilitiesRefusesWhatNoHonestNodeSends(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		resp *agentv1.GetCapabilitiesResponse
		want string
	}{
		"nine banks":                {&agentv1.GetCapabilitiesResponse{PcrBanks: make([]agentv1.HashAlgo, maxBanks+1)}, "pcr_banks: 9"},
		"17 bind modes":             {&agentv1.GetCapabilitiesResponse{BindModes: make([]agentv1.BindMode, maxBindModes+1)}, "bind_modes: 17"},
		"AK name too long":          {&agentv1.GetCapabilitiesResponse{AkName: make([]byte, maxName+1)}, "ak_name: 67"},
		"AK public too long":        {&agentv1.GetCapabilitiesResponse{AkPublic: make([]byte, maxPublic+1)}, "ak_public: 2049"},
		"17 log sources":            {&agentv1.GetCapabilitiesResponse{LogSources: make([]string, maxLogs+1)}, "log_sources: 17"},
		"a path as a log source":    {&agentv1.GetCapabilitiesResponse{LogSources: []string{"/etc/passwd"}}, "is no name of a log"},
		"manufacturer too long":     {&agentv1.GetCapabilitiesResponse{TpmManufacturer: strings.Repeat("a", maxHint+1)}, "tpm_manufacturer: 257"},
		"vendor too long":           {&agentv1.GetCapabilitiesResponse{TpmVendor: strings.Repeat("a", maxHint+1)}, "tpm_vendor: 257"},
		"version of agent too long": {&agentv1.GetCapabilitiesResponse{AgentVersion: strings.Repeat("a", maxHint+1)}, "agent_version: 257"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			c := dialNode(t, &hostileNode{capabilities: func() (*agentv1.GetCapabilitiesResponse, error) { return test.resp, nil }})
			resp, err := c.Capabilities(t.Context())
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), test.want) || resp != nil {
				t.Errorf("got %v, %v, want ErrMalformed and %q", resp, err, test.want)
			}
		})
	}
}

func TestCapabilitiesAreFreeOfControlCharacters(t *testing.T) {
	t.Parallel()

	c := dialNode(t, &hostileNode{capabilities: func() (*agentv1.GetCapabilitiesResponse, error) {
		return &agentv1.GetCapabilitiesResponse{TpmVendor: "\x1b[31mSW", LogSources: []string{"txt"}}, nil
	}})
	resp, err := c.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.GetTpmVendor(); got != "\ufffd[31mSW" {
		t.Errorf("tpm_vendor is %q", got)
	}
}

func TestNewNonceIsNewAndLongEnough(t *testing.T) {
	t.Parallel()

	first, err := NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	second, err := NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != nonceSize || string(first) == string(second) {
		t.Errorf("nonces are %x and %x", first, second)
	}
}
