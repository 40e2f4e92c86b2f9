package agent_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// startWithTLSKey starts an agent whose TLS key is in the TPM, and has its certificate made as an operator does.
func startWithTLSKey(t *testing.T) (*node, *agent.TLSKey) {
	t.Helper()

	var inner atomic.Pointer[tls.Config]

	key := agent.NewTLSKey()
	n := newNodeWith(t, tpmsim.Trusted, func(config *agent.Config, deps *agent.Deps) {
		config.TLS.Key = agent.KeyInTPM
		config.Listen.HandshakeTimeout = time.Minute
		deps.TLSKey = key
		deps.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner.Load(), nil }
		deps.TLS.VerifyConnection = func(tls.ConnectionState) error { return nil } // which is another test's matter
		inner.Store(deps.TLS.Clone())
	})
	n.waitUntilServing(t)

	response, err := agentv1.NewEnrollmentServiceClient(n.local(t)).GetTLSCertificateRequest(t.Context(),
		&agentv1.GetTLSCertificateRequestRequest{Sans: []string{"dns:node1.example", "ip:127.0.0.1", "uri:spiffe://example/node1"}})
	if err != nil {
		t.Fatal(err)
	}

	request, err := x509.ParseCertificateRequest(response.GetCertificateRequest())
	if err != nil {
		t.Fatal(err)
	}

	if err := request.CheckSignature(); err != nil {
		t.Errorf("the request's signature: %v", err)
	}

	if request.Subject.CommonName != "node1.example" || len(request.DNSNames) != 1 || len(request.IPAddresses) != 1 || len(request.URIs) != 1 {
		t.Errorf("the request is for %v, %v, %v, %v", request.Subject, request.DNSNames, request.IPAddresses, request.URIs)
	}

	pair, err := n.ca.IssueFor(pki.Leaf{DNSNames: request.DNSNames, IPs: request.IPAddresses, Server: true}, request.PublicKey)
	if err != nil {
		t.Fatal(err)
	}

	if pair.Certificate.PrivateKey, err = key.Signer(request.PublicKey); err != nil {
		t.Fatal(err)
	}

	config := inner.Load().Clone()
	config.Certificates, config.GetConfigForClient = []tls.Certificate{pair.Certificate}, nil
	inner.Store(config)

	return n, key
}

// shake makes a connection and waits for the session ticket.
func shake(t testing.TB, address string, config *tls.Config) tls.ConnectionState {
	t.Helper()

	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // all that was wanted is here

	if _, err := conn.Read(make([]byte, 1)); err != nil { // the server's first word; the ticket came before it
		t.Fatal(err)
	}

	return conn.ConnectionState()
}

func (n *node) clientTLS(t testing.TB) *tls.Config {
	t.Helper()

	pair, err := n.ca.Issue(pki.Leaf{DNSNames: []string{rawer}, Client: true})
	if err != nil {
		t.Fatal(err)
	}

	return &tls.Config{
		RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
}

func TestTheTPMsKeyServesTLSAndSessionsResume(t *testing.T) {
	t.Parallel()

	n, _ := startWithTLSKey(t)
	mustQuote(t, n.as(t, rawer), goodRequest())

	config := n.clientTLS(t)
	if first := shake(t, n.address, config); first.DidResume || first.CurveID != tls.X25519MLKEM768 {
		t.Errorf("first connection: resumed %v, key exchange %v", first.DidResume, first.CurveID)
	}

	if second := shake(t, n.address, config); !second.DidResume {
		t.Error("the second connection did not resume the session")
	}
}

func TestQuotesGoOnWhileStrangersShakeHands(t *testing.T) {
	t.Parallel()

	n, _ := startWithTLSKey(t)
	client := n.as(t, rawer)
	mustQuote(t, client, goodRequest())

	ctx, stop := context.WithCancel(t.Context())

	var strangers sync.WaitGroup
	for range 16 {
		strangers.Go(func() {
			for ctx.Err() == nil {
				dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}} // it has no certificate, but has a signature made
				if conn, err := dialer.DialContext(ctx, "tcp", n.address); err == nil {
					_ = conn.Close()
				}
			}
		})
	}

	for range 50 {
		mustQuote(t, client, goodRequest())
	}

	stop()
	strangers.Wait()
}

func TestAHandshakeWhoseClientIsGoneWaitsForNothing(t *testing.T) {
	t.Parallel()

	n, _ := startWithTLSKey(t)
	client := n.as(t, rawer)
	mustQuote(t, client, goodRequest())

	began, goOn := make(chan struct{}), make(chan struct{})
	n.tpm.onQuote(sync.OnceFunc(func() {
		close(began)
		<-goOn
	}))

	quoted := make(chan error, 1)
	go func() {
		_, err := client.Quote(context.Background(), goodRequest())
		quoted <- err
	}()

	<-began // the TPM is busy now

	conn, err := net.Dial("tcp", n.address)
	if err != nil {
		t.Fatal(err)
	}

	hello := &capture{Conn: conn, wrote: make(chan struct{})}
	shaken := make(chan struct{})

	go func() {
		defer close(shaken)

		_ = tls.Client(hello, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}).Handshake() // which can't succeed
	}()

	<-hello.wrote

	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}

	<-shaken

	before := time.Now()
	for testutil.ToFloat64(counter(t, n, "handshake")) == 0 { // the TPM is busy still
		runtime.Gosched()
	}

	if waited := time.Since(before); waited > 30*time.Second {
		t.Errorf("the handshake was given up only after %v", waited)
	}

	n.tpm.onQuote(nil)
	close(goOn)

	if err := <-quoted; err != nil {
		t.Error(err)
	}
}

// capture tells when the first message was sent.
type capture struct {
	net.Conn

	once  sync.Once
	wrote chan struct{}
}

func (c *capture) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.once.Do(func() { close(c.wrote) })

	return n, err
}

// TestTheTLSKeyComesWhenItsHandleIsFreed has an object of the owner's where the key should be.
func TestTheTLSKeyComesWhenItsHandleIsFreed(t *testing.T) {
	t.Parallel()

	const handle = tpm2.TPMHandle(0x81018300)

	key := agent.NewTLSKey()

	var device transport.TPMCloser

	n := newNodeWith(t, tpmsim.Trusted, func(config *agent.Config, deps *agent.Deps) {
		config.TLS.Key = agent.KeyInTPM
		deps.TLSKey = key
		device, _ = deps.OpenTPM()

		primary, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(device)
		if err != nil {
			t.Fatal(err)
		}

		move(t, device, tpm2.NamedHandle{Handle: primary.ObjectHandle, Name: primary.Name}, handle)
	})
	enrollment := agentv1.NewEnrollmentServiceClient(n.local(t))
	request := func() (*agentv1.GetTLSCertificateRequestResponse, error) {
		return enrollment.GetTLSCertificateRequest(t.Context(), &agentv1.GetTLSCertificateRequestRequest{Sans: []string{"dns:node1.example"}})
	}

	<-key.Changed()

	_, err := request()
	wantRefusal(t, err, codes.FailedPrecondition, agentv1.ErrorReason_ERROR_REASON_TLS_KEY_UNAVAILABLE)

	public, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(device)
	if err != nil {
		t.Fatal(err)
	}

	move(t, device, tpm2.NamedHandle{Handle: handle, Name: public.Name}, handle)
	<-key.Changed()

	response, err := request()
	if err != nil {
		t.Fatal(err)
	}

	csr, err := x509.ParseCertificateRequest(response.GetCertificateRequest())
	if err != nil {
		t.Fatal(err)
	}

	if _, err := key.Signer(csr.PublicKey); err != nil {
		t.Errorf("the certificate could not be loaded: %v", err)
	}
}

// move puts a transient object at a persistent handle, or removes the one that is there: TPM 2.0 Part 3, 28.5 (TPM2_EvictControl).
func move(t *testing.T, device transport.TPM, object tpm2.NamedHandle, handle tpm2.TPMHandle) {
	t.Helper()

	if _, err := (tpm2.EvictControl{Auth: tpm2.TPMRHOwner, ObjectHandle: &object, PersistentHandle: handle}).Execute(device); err != nil {
		t.Fatal(err)
	}
}

func TestACertificateForAnotherKeyThanTheTPMsIsRefused(t *testing.T) {
	t.Parallel()

	_, key := startWithTLSKey(t)
	<-key.Changed()

	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := key.Signer(&other.PublicKey); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("another P-256 key: %v", err)
	}

	large, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := agent.NewTLSKey().Signer(&large.PublicKey); err == nil {
		t.Error("a P-384 key was taken before the TPM was there")
	}

	early, err := agent.NewTLSKey().Signer(&other.PublicKey)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := early.Sign(nil, make([]byte, 32), crypto.SHA256); err == nil {
		t.Error("a key without TPM signed")
	}
}

func TestTheIdentityTellsOfTheTLSKey(t *testing.T) {
	t.Parallel()

	n, _ := startWithTLSKey(t)
	enrollment := agentv1.NewEnrollmentServiceClient(n.local(t))

	if _, err := enrollment.RotateAK(t.Context(), &agentv1.RotateAKRequest{}); err != nil {
		t.Fatal(err)
	}

	identity, err := enrollment.GetIdentity(t.Context(), &agentv1.GetIdentityRequest{Nonce: goodRequest().GetNonce()})
	if err != nil {
		t.Fatal(err)
	}

	aks, certifications := identity.GetAttestationKeys(), identity.GetTlsKey().GetCertifications()
	if len(aks) != 2 || len(certifications) != 2 {
		t.Fatalf("%d AKs, %d certifications", len(aks), len(certifications))
	}

	for i, certification := range certifications {
		if string(certification.GetAkName()) != string(aks[i].GetName()) || len(certification.GetCertifySignature()) == 0 {
			t.Errorf("certification %d is by %x", i, certification.GetAkName())
		}
	}
}

func TestWithoutTLSKeyThereIsNoRequestForOne(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	enrollment := agentv1.NewEnrollmentServiceClient(n.local(t))

	_, err := enrollment.GetTLSCertificateRequest(t.Context(), &agentv1.GetTLSCertificateRequestRequest{Sans: []string{"dns:a.example"}})
	wantRefusal(t, err, codes.FailedPrecondition, agentv1.ErrorReason_ERROR_REASON_TLS_KEY_UNAVAILABLE)

	for _, sans := range [][]string{
		{"a.example"},
		{"dns:"},
		{"dns:a example"},
		{"dns:" + strings.Repeat("a", 254)},
		{"ip:node1"},
		{"uri:relative"},
		{"email:a@b"},
		make([]string, 17),
	} {
		_, err := enrollment.GetTLSCertificateRequest(t.Context(), &agentv1.GetTLSCertificateRequestRequest{Sans: sans})
		wantRefusal(t, err, codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_SAN_INVALID)
	}

	identity, err := enrollment.GetIdentity(t.Context(), &agentv1.GetIdentityRequest{Nonce: goodRequest().GetNonce()})
	if err != nil || identity.GetTlsKey() != nil {
		t.Errorf("the identity has a TLS key %v, error %v", identity.GetTlsKey(), err)
	}
}

// TestTLSExtraDataIsThatOfTheContract has the values of the comment of TlsKeyCertification.
func TestTLSExtraDataIsThatOfTheContract(t *testing.T) {
	t.Parallel()

	counting, ones := make([]byte, 32), make([]byte, 16)
	for i := range counting {
		counting[i] = byte(i)
	}

	for i := range ones {
		ones[i] = 0xFF
	}

	for want, nonce := range map[string][]byte{
		"7b030e0ca65965ab4a1ba4625a8a4a7ee7ba08221c8191871a027762a7f734e80dc1": counting,
		"7b03f01e121ebc66be9ffae5ac914780b9934b45b7a7eb2a2f734332d4f1ddeb48ba": ones,
	} {
		if got := hex.EncodeToString(agent.TLSExtraData(nonce)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
