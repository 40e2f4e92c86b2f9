package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/tpmsim/pki"
)

func TestUsagesAreExactlyThoseAskedFor(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	const server, client = x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth

	for _, test := range []struct {
		leaf pki.Leaf
		want []x509.ExtKeyUsage
	}{
		{pki.Leaf{Server: true}, []x509.ExtKeyUsage{server}},
		{pki.Leaf{Client: true}, []x509.ExtKeyUsage{client}},
		{pki.Leaf{Server: true, Client: true}, []x509.ExtKeyUsage{server, client}},
	} {
		cert := issue(t, ca, test.leaf).Certificate.Leaf
		if diff := cmp.Diff(test.want, cert.ExtKeyUsage); diff != "" {
			t.Errorf("server %v, client %v (-want +got):\n%s", test.leaf.Server, test.leaf.Client, diff)
		}
		if len(cert.UnknownExtKeyUsage) != 0 || cert.IsCA {
			t.Errorf("server %v, client %v: other usages %v, CA %v", test.leaf.Server, test.leaf.Client, cert.UnknownExtKeyUsage, cert.IsCA)
		}
	}
}

func TestLeafForNothingIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := newCA(t).Issue(pki.Leaf{DNSNames: []string{"node1"}}); err == nil {
		t.Error("no error")
	}
}

func TestNamesAndValidity(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	id := &url.URL{Scheme: "spiffe", Host: "example.org", Path: "/scheduler"}
	end := time.Now().Add(-time.Minute).Truncate(time.Second).UTC()

	cert := issue(t, ca, pki.Leaf{
		DNSNames: []string{"node1.example"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, URIs: []*url.URL{id},
		Client: true, NotBefore: end.Add(-time.Hour), NotAfter: end,
	}).Certificate.Leaf
	if !slices.Equal(cert.DNSNames, []string{"node1.example"}) || len(cert.IPAddresses) != 1 || len(cert.URIs) != 1 || cert.URIs[0].String() != id.String() {
		t.Errorf("names: %v %v %v", cert.DNSNames, cert.IPAddresses, cert.URIs)
	}
	if !cert.NotAfter.Equal(end) || !cert.NotBefore.Equal(end.Add(-time.Hour)) {
		t.Errorf("valid from %v to %v, want to %v", cert.NotBefore, cert.NotAfter, end)
	}

	cert = issue(t, ca, pki.Leaf{Client: true}).Certificate.Leaf
	if valid := cert.NotAfter.Sub(cert.NotBefore); valid != 25*time.Hour {
		t.Errorf("valid for %v by default, want 25h", valid)
	}
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	ca, stranger := newCA(t), newCA(t)
	server := issue(t, ca, pki.Leaf{DNSNames: []string{"node1"}, Server: true})
	client := issue(t, ca, pki.Leaf{Client: true})

	for name, test := range map[string]struct {
		server, client *pki.Pair
		roots          *pki.CA
		works          bool
	}{
		"right certificates":        {server, client, ca, true},
		"client from a stranger":    {server, issue(t, stranger, pki.Leaf{Client: true}), ca, false},
		"server from a stranger":    {server, client, stranger, false},
		"server pair as the client": {server, server, ca, false},
		"client pair as the server": {issue(t, ca, pki.Leaf{DNSNames: []string{"node1"}, Client: true}), client, ca, false},
	} {
		err := handshake(t,
			&tls.Config{Certificates: []tls.Certificate{test.server.Certificate}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13},
			&tls.Config{Certificates: []tls.Certificate{test.client.Certificate}, RootCAs: test.roots.Pool(), ServerName: "node1", MinVersion: tls.VersionTLS13},
		)
		if works := err == nil; works != test.works {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

func TestWriteDir(t *testing.T) {
	t.Parallel()
	ca := newCA(t)
	dir := filepath.Join(t.TempDir(), "pki")
	if err := os.Mkdir(dir, 0o755); err != nil { // too open on purpose
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server-key.pem"), nil, 0o644); err != nil { // too open on purpose
		t.Fatal(err)
	}
	server, client := issue(t, ca, pki.Leaf{Server: true}), issue(t, ca, pki.Leaf{Client: true})
	if err := pki.WriteDir(dir, ca, server, client); err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{"server", "client"} {
		if _, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	want := []string{"ca.pem", "client-key.pem", "client.pem", "server-key.pem", "server.pem"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
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

func issue(t *testing.T, ca *pki.CA, leaf pki.Leaf) *pki.Pair {
	t.Helper()

	pair, err := ca.Issue(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// handshake returns the error of the side that finds one.
func handshake(t *testing.T, server, client *tls.Config) error {
	t.Helper()

	// A socket and not net.Pipe: its buffer lets either side give up first.
	l, err := tls.Listen("unix", filepath.Join(t.TempDir(), "s"), server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
		served <- err
	}()

	conn, err := tls.Dial("unix", l.Addr().String(), client)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Join(err, <-served)
}
