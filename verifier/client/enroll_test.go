package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim/pki"
	"github.com/trustpool/trustpool/verifier"
)

// enrollee answers whatever the test tells it to, and keeps what it was asked.
type enrollee struct {
	agentv1.UnimplementedEnrollmentServiceServer
	agentv1.UnimplementedQuoteServiceServer
	identity *agentv1.GetIdentityResponse
	secret   []byte
	name     []byte
	statuses []*agentv1.WatchStatusResponse

	nonce       []byte
	activated   *agentv1.ActivateCredentialRequest
	certificate []byte
	committed   []byte
}

func (n *enrollee) GetIdentity(_ context.Context, req *agentv1.GetIdentityRequest) (*agentv1.GetIdentityResponse, error) {
	n.nonce = req.GetNonce()
	return n.identity, nil
}

func (n *enrollee) ActivateCredential(_ context.Context, req *agentv1.ActivateCredentialRequest) (*agentv1.ActivateCredentialResponse, error) {
	n.activated = req
	return &agentv1.ActivateCredentialResponse{Secret: n.secret}, nil
}

func (n *enrollee) InstallCertificate(_ context.Context, req *agentv1.InstallCertificateRequest) (*agentv1.InstallCertificateResponse, error) {
	n.certificate = req.GetCertificate()
	return &agentv1.InstallCertificateResponse{}, nil
}

func (n *enrollee) RotateAK(context.Context, *agentv1.RotateAKRequest) (*agentv1.RotateAKResponse, error) {
	return &agentv1.RotateAKResponse{AkName: n.name}, nil
}

func (n *enrollee) CommitAK(_ context.Context, req *agentv1.CommitAKRequest) (*agentv1.CommitAKResponse, error) {
	n.committed = req.GetAkName()
	return &agentv1.CommitAKResponse{}, nil
}

func (n *enrollee) Reprovision(context.Context, *agentv1.ReprovisionRequest) (*agentv1.ReprovisionResponse, error) {
	return &agentv1.ReprovisionResponse{AkName: n.name}, nil
}

func (n *enrollee) WatchStatus(_ *agentv1.WatchStatusRequest, stream grpc.ServerStreamingServer[agentv1.WatchStatusResponse]) error {
	for _, s := range n.statuses {
		if err := stream.Send(s); err != nil {
			return err
		}
	}
	return nil
}

func (n *enrollee) register(server *grpc.Server) {
	agentv1.RegisterEnrollmentServiceServer(server, n)
	agentv1.RegisterQuoteServiceServer(server, n)
}

func TestAnIdentityIsTakenAsItIs(t *testing.T) {
	t.Parallel()

	node := &enrollee{identity: &agentv1.GetIdentityResponse{
		EndorsementKeys: []*agentv1.EndorsementKey{{
			Public: []byte("EK"), Certificate: []byte("certificate"), Chain: [][]byte{[]byte("issuer")}, KeySource: "handle", CertificateSource: "nv\x1b", Detail: "odd",
		}},
		AttestationKeys: []*agentv1.AttestationKey{{
			Name: []byte("never taken"), Public: []byte("AK"), CreationData: []byte("data"), CertifyInfo: []byte("info"), CertifySignature: []byte("signature"),
			Certificate: []byte("certificate"), Generation: 3, Pending: true,
		}},
		TlsKey: &agentv1.TlsKey{Public: []byte("TLS key"), Certifications: []*agentv1.TlsKeyCertification{
			{AkName: []byte("AK name"), CertifyInfo: []byte("TLS info"), CertifySignature: []byte("TLS signature")},
		}},
		HostNames: []string{"node1\n"}, SmbiosUuid: "uuid", SmbiosSerial: "serial",
	}}
	c := dialServer(t, node.register)
	reply, err := c.Identity(t.Context(), []byte("nonce"))
	if err != nil {
		t.Fatal(err)
	}
	want := IdentityReply{Identity: verifier.Identity{
		EKs: []verifier.EndorsementKey{{
			Public: []byte("EK"), Certificate: []byte("certificate"), Chain: [][]byte{[]byte("issuer")}, KeySource: "handle", CertificateSource: "nv\ufffd", Detail: "odd",
		}},
		AKs: []verifier.AttestationKey{{
			Public: []byte("AK"), CreationData: []byte("data"), CertifyInfo: []byte("info"), CertifySignature: []byte("signature"), Certificate: []byte("certificate"),
			Generation: 3, Pending: true,
		}},
		TLS: verifier.TLSKey{Public: []byte("TLS key"), Certifications: []verifier.KeyCertification{
			{AKName: []byte("AK name"), Info: []byte("TLS info"), Signature: []byte("TLS signature")},
		}},
		HostNames: []string{"node1\ufffd"}, SMBIOSUUID: "uuid", SMBIOSSerial: "serial",
	}}
	if diff := cmp.Diff(want, reply); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
	if string(node.nonce) != "nonce" {
		t.Errorf("the node was asked with %q", node.nonce)
	}
}

func TestIdentityRefusesWhatNoHonestNodeSends(t *testing.T) {
	t.Parallel()

	ek := func(k *agentv1.EndorsementKey) *agentv1.GetIdentityResponse {
		return &agentv1.GetIdentityResponse{EndorsementKeys: []*agentv1.EndorsementKey{k}}
	}
	ak := func(k *agentv1.AttestationKey) *agentv1.GetIdentityResponse {
		return &agentv1.GetIdentityResponse{AttestationKeys: []*agentv1.AttestationKey{k}}
	}
	tlsKey := func(c *agentv1.TlsKeyCertification) *agentv1.GetIdentityResponse {
		return &agentv1.GetIdentityResponse{TlsKey: &agentv1.TlsKey{Certifications: []*agentv1.TlsKeyCertification{c}}}
	}
	long := strings.Repeat("a", maxHint+1)
	for want, resp := range map[string]*agentv1.GetIdentityResponse{
		"endorsement_keys: 9":                            {EndorsementKeys: make([]*agentv1.EndorsementKey, maxEKs+1)},
		"attestation_keys: 5":                            {AttestationKeys: make([]*agentv1.AttestationKey, maxAKs+1)},
		"tls_key.public: 2049":                           {TlsKey: &agentv1.TlsKey{Public: make([]byte, maxPublic+1)}},
		"tls_key.certifications: 5":                      {TlsKey: &agentv1.TlsKey{Certifications: make([]*agentv1.TlsKeyCertification, maxAKs+1)}},
		"tls_key.certifications.ak_name: 67":             tlsKey(&agentv1.TlsKeyCertification{AkName: make([]byte, maxName+1)}),
		"tls_key.certifications.certify_info: 4097":      tlsKey(&agentv1.TlsKeyCertification{CertifyInfo: make([]byte, maxQuoted+1)}),
		"tls_key.certifications.certify_signature: 2049": tlsKey(&agentv1.TlsKeyCertification{CertifySignature: make([]byte, maxSignature+1)}),
		"host_names: 17":                                 {HostNames: make([]string, maxHostNames+1)},
		"host_names: 254":                                {HostNames: []string{strings.Repeat("a", maxHostName+1)}},
		"smbios_uuid: 257":                               {SmbiosUuid: long},
		"smbios_serial: 257":                             {SmbiosSerial: long},
		"endorsement_keys.public: 2049":                  ek(&agentv1.EndorsementKey{Public: make([]byte, maxPublic+1)}),
		"endorsement_keys.certificate: 8193":             ek(&agentv1.EndorsementKey{Certificate: make([]byte, maxCertificate+1)}),
		"endorsement_keys.chain: 17":                     ek(&agentv1.EndorsementKey{Chain: make([][]byte, maxChain+1)}),
		"endorsement_keys.chain: 8193":                   ek(&agentv1.EndorsementKey{Chain: [][]byte{make([]byte, maxCertificate+1)}}),
		"key_source: 257":                                ek(&agentv1.EndorsementKey{KeySource: long}),
		"certificate_source: 257":                        ek(&agentv1.EndorsementKey{CertificateSource: long}),
		"detail: 2049":                                   ek(&agentv1.EndorsementKey{Detail: strings.Repeat("a", maxDetail+1)}),
		"attestation_keys.public: 2049":                  ak(&agentv1.AttestationKey{Public: make([]byte, maxPublic+1)}),
		"attestation_keys.creation_data: 4097":           ak(&agentv1.AttestationKey{CreationData: make([]byte, maxCreation+1)}),
		"attestation_keys.certify_info: 4097":            ak(&agentv1.AttestationKey{CertifyInfo: make([]byte, maxQuoted+1)}),
		"attestation_keys.certify_signature: 2049":       ak(&agentv1.AttestationKey{CertifySignature: make([]byte, maxSignature+1)}),
		"attestation_keys.certificate: 8193, at mo":      ak(&agentv1.AttestationKey{Certificate: make([]byte, maxCertificate+1)}),
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()

			c := dialServer(t, (&enrollee{identity: resp}).register)
			if _, err := c.Identity(t.Context(), nil); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want ErrMalformed and %q", err, want)
			}
		})
	}
}

func TestEnrolmentCallsCarryWhatTheyAreGiven(t *testing.T) {
	t.Parallel()

	node := &enrollee{secret: []byte("secret"), name: []byte("name")}
	c := dialServer(t, node.register)
	secret, err := c.ActivateCredential(t.Context(), &verifier.Challenge{
		EKPublic: []byte("EK"), AKName: []byte("AK"), Blob: []byte("blob"), EncryptedSecret: []byte("seed"),
	})
	if err != nil || string(secret) != "secret" {
		t.Errorf("got %q, %v", secret, err)
	}
	asked := bytes.Join([][]byte{node.activated.GetEkPublic(), node.activated.GetAkName(), node.activated.GetCredentialBlob(), node.activated.GetEncryptedSecret()}, []byte(" "))
	if string(asked) != "EK AK blob seed" {
		t.Errorf("asked with %q", asked)
	}
	if err := c.InstallCertificate(t.Context(), []byte("certificate")); err != nil || string(node.certificate) != "certificate" {
		t.Errorf("installed %q, %v", node.certificate, err)
	}
	if name, err := c.RotateAK(t.Context()); err != nil || string(name) != "name" {
		t.Errorf("got %q, %v", name, err)
	}
	if err := c.CommitAK(t.Context(), []byte("name")); err != nil || string(node.committed) != "name" {
		t.Errorf("committed %q, %v", node.committed, err)
	}
	if name, err := c.Reprovision(t.Context()); err != nil || string(name) != "name" {
		t.Errorf("got %q, %v", name, err)
	}
}

func TestEnrolmentCallsRefuseWhatNoHonestNodeSends(t *testing.T) {
	t.Parallel()

	c := dialServer(t, (&enrollee{secret: make([]byte, maxName+1), name: make([]byte, maxName+1)}).register)
	if _, err := c.ActivateCredential(t.Context(), &verifier.Challenge{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("secret: %v", err)
	}
	if _, err := c.RotateAK(t.Context()); !errors.Is(err, ErrMalformed) {
		t.Errorf("name: %v", err)
	}
	nameless := dialServer(t, (&enrollee{}).register)
	if _, err := nameless.Reprovision(t.Context()); !errors.Is(err, ErrMalformed) {
		t.Errorf("no name: %v", err)
	}
	without := dialServer(t, func(*grpc.Server) {})
	if err := without.CommitAK(t.Context(), nil); status.Code(err) != codes.Unimplemented {
		t.Errorf("a node that knows no enrolment: %v", err)
	}
}

func TestAStatusIsWatchedToItsEnd(t *testing.T) {
	t.Parallel()

	node := &enrollee{statuses: []*agentv1.WatchStatusResponse{
		{AkState: agentv1.AkState_AK_STATE_FRESH, AkName: []byte("AK"), BootId: "b\x00", LaunchStatus: agentv1.LaunchStatus_LAUNCH_STATUS_LAUNCHED},
		{Event: agentv1.StatusEvent_STATUS_EVENT_TPM_CLEARED, AkState: agentv1.AkState_AK_STATE_ENROLLED, PendingAkName: []byte("next"), AkTransient: true, AkCertificateNotAfter: 1, Detail: "d"},
	}}
	c := dialServer(t, node.register)
	var got []Status
	if err := c.WatchStatus(t.Context(), func(s Status) error { got = append(got, s); return nil }); err != nil {
		t.Fatal(err)
	}
	want := []Status{
		{AKState: agentv1.AkState_AK_STATE_FRESH, AKName: []byte("AK"), BootID: "b\ufffd", LaunchStatus: agentv1.LaunchStatus_LAUNCH_STATUS_LAUNCHED},
		{
			Event: agentv1.StatusEvent_STATUS_EVENT_TPM_CLEARED, AKState: agentv1.AkState_AK_STATE_ENROLLED, PendingAKName: []byte("next"), AKTransient: true,
			AKCertificateNotAfter: time.Unix(1, 0).UTC(), Detail: "d",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if got[1].EventWord() != "tpm_cleared" || got[1].AKStateWord() != "enrolled" {
		t.Errorf("in words: %s, %s", got[1].EventWord(), got[1].AKStateWord())
	}

	enough := errors.New("enough")
	if err := c.WatchStatus(t.Context(), func(Status) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v, want the caller's error", err)
	}
}

func TestAStatusThatNoHonestNodeSendsEndsTheWatch(t *testing.T) {
	t.Parallel()

	for want, resp := range map[string]*agentv1.WatchStatusResponse{
		"detail: 2049":        {Detail: strings.Repeat("a", maxDetail+1)},
		"boot_id: 257":        {BootId: strings.Repeat("a", maxHint+1)},
		"ak_name: 67":         {AkName: make([]byte, maxName+1)},
		"pending_ak_name: 67": {PendingAkName: make([]byte, maxName+1)},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()

			c := dialServer(t, (&enrollee{statuses: []*agentv1.WatchStatusResponse{resp}}).register)
			err := c.WatchStatus(t.Context(), func(Status) error { t.Error("it was taken"); return nil })
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want ErrMalformed and %q", err, want)
			}
		})
	}
}

// TestServerNamesAreThoseThatTLSVerified goes over real TLS: nothing else verifies names.
func TestServerNamesAreThoseThatTLSVerified(t *testing.T) {
	t.Parallel()

	ca, err := pki.New("names")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(pki.Leaf{DNSNames: []string{"node1.example"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair.Certificate}})))
	(&enrollee{identity: &agentv1.GetIdentityResponse{}}).register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
	})

	c, err := Dial(Options{Address: listener.Addr().String(), TLS: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	reply, err := c.Identity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"node1.example", "127.0.0.1"}; !slices.Equal(reply.ServerNames, want) {
		t.Errorf("names are %v, want %v", reply.ServerNames, want)
	}
	if !pair.Certificate.Leaf.PublicKey.(*ecdsa.PublicKey).Equal(reply.ServerKey) {
		t.Errorf("the key is %v", reply.ServerKey)
	}
}
