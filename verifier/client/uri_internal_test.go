package client

import (
	"crypto/tls"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/trustpool/trustpool/tpmsim/pki"
)

// shakeHands returns what a client that knows the server by its URI says of a server with that certificate.
func shakeHands(t *testing.T, config *tls.Config, pair tls.Certificate) error {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if conn, err := listener.Accept(); err == nil {
			_ = conn.(*tls.Conn).Handshake() // what the client says of it counts
			_ = conn.Close()
		}
	}()
	defer func() {
		_ = listener.Close()
		<-served
	}()
	conn, err := tls.Dial("tcp", listener.Addr().String(), config)
	if err != nil {
		return err
	}
	return conn.Close()
}

func TestANodeIsKnownByTheOneURIInItsCertificate(t *testing.T) {
	t.Parallel()
	const id = "spiffe://example.org/node/node1"
	uri := func(text string) *url.URL {
		parsed, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	ca, other := newCA(t), newCA(t)
	late := errors.New("the bundle has changed")
	for name, c := range map[string]struct {
		ca   *pki.CA
		leaf pki.Leaf
		also error
		good bool
	}{
		"its own":         {ca, pki.Leaf{URIs: []*url.URL{uri(id)}, Server: true, Client: true}, nil, true},
		"another node's":  {ca, pki.Leaf{URIs: []*url.URL{uri("spiffe://example.org/node/node2")}, Server: true}, nil, false},
		"below its own":   {ca, pki.Leaf{URIs: []*url.URL{uri(id + "/x")}, Server: true}, nil, false},
		"two":             {ca, pki.Leaf{URIs: []*url.URL{uri(id), uri("spiffe://example.org/node/node2")}, Server: true}, nil, false},
		"a host name":     {ca, pki.Leaf{DNSNames: []string{"node1", "spiffe.example.org"}, Server: true}, nil, false},
		"of another CA":   {other, pki.Leaf{URIs: []*url.URL{uri(id)}, Server: true}, nil, false},
		"for no server":   {ca, pki.Leaf{URIs: []*url.URL{uri(id)}, Client: true}, nil, false},
		"ended":           {ca, pki.Leaf{URIs: []*url.URL{uri(id)}, Server: true, NotAfter: time.Now().Add(-time.Minute)}, nil, false},
		"refused besides": {ca, pki.Leaf{URIs: []*url.URL{uri(id)}, Server: true}, late, false},
	} {
		pair, err := c.ca.Issue(c.leaf)
		if err != nil {
			t.Fatal(err)
		}
		config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: ca.Pool(), VerifyConnection: func(tls.ConnectionState) error { return c.also }}
		knownByURI(config, id)
		if err := shakeHands(t, config, pair.Certificate); (err == nil) != c.good || c.also != nil && !errors.Is(err, c.also) {
			t.Errorf("a certificate of which the URI is %s: %v", name, err)
		}
	}
}

func newCA(t *testing.T) *pki.CA {
	t.Helper()
	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestAServerURIIsWholeAndForTLS(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	pair, err := ca.Issue(pki.Leaf{DNSNames: []string{"client"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}}
	for name, c := range map[string]struct {
		opts Options
		good bool
	}{
		"a SPIFFE ID":   {Options{Address: "node1:9443", TLS: config, ServerURI: "spiffe://example.org/node/node1"}, true},
		"a name":        {Options{Address: "node1:9443", TLS: config, ServerURI: "node1"}, false},
		"a path":        {Options{Address: "node1:9443", TLS: config, ServerURI: "/node1"}, false},
		"no URI":        {Options{Address: "node1:9443", TLS: config, ServerURI: "spiffe://exa mple"}, false},
		"a unix socket": {Options{Address: "unix:///run/agent.sock", ServerURI: "spiffe://example.org/node/node1"}, false},
		"not verified":  {Options{Address: "node1:9443", TLS: &tls.Config{InsecureSkipVerify: true, RootCAs: ca.Pool(), Certificates: config.Certificates}, ServerURI: "spiffe://example.org/node/node1"}, false},
	} {
		dialed, err := Dial(c.opts)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if dialed != nil {
			_ = dialed.Close()
		}
	}
	if config.InsecureSkipVerify || config.VerifyConnection != nil {
		t.Error("the caller's config was changed")
	}
}
