package agent_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

func TestQuoteReturnsEvidenceForTheNonce(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	request := goodRequest()
	request.Logs = []*agentv1.LogRequest{{Source: "txt"}}
	response := mustQuote(t, n.as(t, rawer), request)

	attest, err := tpm2.Unmarshal[tpm2.TPMSAttest](response.GetQuoted())
	if err != nil {
		t.Fatal(err)
	}

	if !bytes.Equal(attest.ExtraData.Buffer, request.GetNonce()) {
		t.Errorf("extraData is %x", attest.ExtraData.Buffer)
	}

	if attest.ClockInfo.ResetCount > 1000 || attest.ClockInfo.ResetCount == 0 {
		t.Errorf("resetCount is %d: obfuscated?", attest.ClockInfo.ResetCount)
	}

	log := response.GetLogs()[0]
	if log.GetState() != agentv1.LogState_LOG_STATE_AVAILABLE || uint64(len(log.GetContent())) != log.GetSize() || log.GetSize() == 0 {
		t.Errorf("log is %v", log)
	}

	if got := response.GetHints(); got.GetLaunchStatus() != agentv1.LaunchStatus_LAUNCH_STATUS_LAUNCHED || !got.GetSimulated() || got.GetBootId() == "" {
		t.Errorf("hints are %v", got)
	}
}

func TestACallerWhoComesWhileTheAgentStartsIsNotSentAway(t *testing.T) {
	t.Parallel()

	opening, goOn := make(chan struct{}), make(chan struct{})
	n := newNode(t, tpmsim.Trusted, func(deps *agent.Deps) {
		open := deps.OpenTPM
		deps.OpenTPM = func() (transport.TPMCloser, error) {
			close(opening)
			<-goOn

			return open()
		}
	})

	result := make(chan error)
	go func() {
		_, err := n.as(t, rawer).Quote(t.Context(), goodRequest())
		result <- err
	}()

	<-opening
	close(goOn)

	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestABoundQuoteSignsThisConnectionAndTheLogsOfThisReply(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	request := goodRequest()
	request.BindMode = agentv1.BindMode_BIND_MODE_BOUND

	var other peer.Peer
	if _, err := n.as(t, quoter).Quote(t.Context(), request, grpc.Peer(&other)); err != nil {
		t.Fatal(err)
	}

	var own peer.Peer

	response, err := n.as(t, quoter).Quote(t.Context(), request, grpc.Peer(&own))
	if err != nil {
		t.Fatal(err)
	}

	attest, err := tpm2.Unmarshal[tpm2.TPMSAttest](response.GetQuoted())
	if err != nil {
		t.Fatal(err)
	}

	expected := func(p peer.Peer, logs []*agentv1.LogReference) []byte {
		info, ok := p.AuthInfo.(credentials.TLSInfo)
		if !ok {
			t.Fatal("no TLS")
		}

		exporter, err := info.State.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil {
			t.Fatal(err)
		}

		return agent.Bound(request.GetNonce(), exporter, response.GetAkName(), logs)
	}

	if got := attest.ExtraData.Buffer; !bytes.Equal(got, expected(own, response.GetLogs())) {
		t.Errorf("extraData is %x", got)
	} else if bytes.Equal(got, expected(other, response.GetLogs())) || bytes.Equal(got, expected(own, nil)) {
		t.Error("another connection, or another list of logs, gives the same")
	}
}

func TestThereIsNothingToBindToOnAUnixSocket(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	client := agentv1.NewQuoteServiceClient(n.local(t))
	request := goodRequest()
	request.BindMode = agentv1.BindMode_BIND_MODE_BOUND

	_, err := client.Quote(t.Context(), request)
	wantRefusal(t, err, codes.FailedPrecondition, agentv1.ErrorReason_ERROR_REASON_BINDING_UNAVAILABLE)
	mustQuote(t, client, goodRequest())
}

func TestANodeWithoutLaunchSaysSo(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.NoLaunch)
	response := mustQuote(t, n.as(t, rawer), goodRequest())

	if got := response.GetHints().GetLaunchStatus(); got != agentv1.LaunchStatus_LAUNCH_STATUS_NOT_LAUNCHED {
		t.Errorf("launch status is %v", got)
	}

	if got := response.GetLogs()[0].GetState(); got != agentv1.LogState_LOG_STATE_ABSENT {
		t.Errorf("log state is %v", got)
	}
}

func TestAKnownLogIsNotSentAgain(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	client := n.as(t, rawer)
	request := goodRequest()

	log := mustQuote(t, client, request).GetLogs()[0]
	if len(log.GetContent()) != 0 || len(log.GetSha256()) != 32 {
		t.Errorf("a log that was not wanted came as %d bytes with digest %x", len(log.GetContent()), log.GetSha256())
	}

	request.Logs = []*agentv1.LogRequest{{Source: "txt", KnownDigest: log.GetSha256()}}
	if got := mustQuote(t, client, request).GetLogs()[0]; len(got.GetContent()) != 0 {
		t.Error("a known log came again")
	}

	request.Logs[0].KnownDigest = make([]byte, 32)
	if got := mustQuote(t, client, request).GetLogs()[0]; len(got.GetContent()) == 0 {
		t.Error("the caller knows another log, and did not get this one")
	}
}

func TestRolesAreNeeded(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)

	_, err := n.as(t, observer).GetCapabilities(t.Context(), &agentv1.GetCapabilitiesRequest{})
	wantRefusal(t, err, codes.PermissionDenied, agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)

	_, err = n.as(t, quoter).Quote(t.Context(), goodRequest())
	wantRefusal(t, err, codes.PermissionDenied, agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)

	byURI := n.with(t, n.issue(t, pki.Leaf{URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/quoter"}}, Client: true}).Certificate)
	if _, err := byURI.GetCapabilities(t.Context(), &agentv1.GetCapabilitiesRequest{}); err != nil {
		t.Errorf("a caller known by URI got %v", err)
	}

	mustQuote(t, n.as(t, rawer), goodRequest())
	mustQuote(t, agentv1.NewQuoteServiceClient(n.local(t)), goodRequest())
}

func TestTLS12IsRefused(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	pair := n.issue(t, pki.Leaf{DNSNames: []string{rawer}, Client: true})
	old := &tls.Config{RootCAs: n.ca.Pool(), Certificates: []tls.Certificate{pair.Certificate}, MaxVersion: tls.VersionTLS12, MinVersion: tls.VersionTLS12}

	conn, err := tls.Dial("tcp", n.address, old)
	if err == nil {
		_ = conn.Close()
		t.Error("TLS 1.2 was accepted")
	}
}

func TestACallerThatHangsUpDoesNoHarm(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	client := n.as(t, rawer)
	mustQuote(t, client, goodRequest())

	quoting, goOn := make(chan struct{}), make(chan struct{})
	n.tpm.onQuote(func() {
		close(quoting)
		<-goOn
	})

	ctx, hangUp := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := client.Quote(ctx, goodRequest())
		result <- err
	}()

	<-quoting
	hangUp()

	if err := <-result; status.Code(err) != codes.Canceled {
		t.Errorf("got %v, want Canceled", err)
	}

	n.tpm.onQuote(nil)
	close(goOn)
	mustQuote(t, client, goodRequest())
}

func TestTheEndWaitsForCallsUnderWay(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)
	client := n.as(t, rawer)
	mustQuote(t, client, goodRequest())

	quoting, goOn := make(chan struct{}), make(chan struct{})
	n.tpm.onQuote(func() {
		close(quoting)
		<-goOn
	})

	result := make(chan error)
	go func() {
		_, err := client.Quote(context.Background(), goodRequest())
		result <- err
	}()

	<-quoting
	n.stop()
	close(goOn)

	if err := <-result; err != nil {
		t.Errorf("the call under way got %v", err)
	}

	n.end(t)
}

func TestAnAgentThatIsStoppedAtOnceEndsInOrder(t *testing.T) {
	t.Parallel()

	for range 20 {
		newNode(t, tpmsim.NoLaunch, func(*agent.Deps) {}).stop()
	}
}

func TestCapabilitiesTellWhatWorks(t *testing.T) {
	t.Parallel()

	n := startNode(t, tpmsim.Trusted)

	got, err := n.as(t, rawer).GetCapabilities(t.Context(), &agentv1.GetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}

	if got.GetMinNonceSize() != 16 || got.GetMaxNonceSize() != 66 || len(got.GetBindModes()) != 2 || got.GetLogSources()[0] != "txt" || got.GetTpmManufacturer() != "IBM" {
		t.Errorf("got %v", got)
	}

	for _, bank := range got.GetPcrBanks() {
		request := goodRequest()
		request.PcrSelections = []*agentv1.PcrSelection{{HashAlgo: bank, PcrIndices: []int32{17}}}
		mustQuote(t, n.as(t, rawer), request)
	}
}

func TestAnAgentIsNotPutTogetherWithoutClientVerification(t *testing.T) {
	t.Parallel()

	for name, config := range map[string]*tls.Config{
		"no TLS":                        nil,
		"clients not verified":          {MinVersion: tls.VersionTLS13},
		"certificates given, unchecked": {MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert, ClientCAs: x509.NewCertPool()},
		"TLS 1.2":                       {MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()},
	} {
		listener := listen(t, "tcp", "127.0.0.1:0")
		defer listener.Close()

		if _, err := agent.New(agent.DefaultConfig(), agent.Deps{TCP: listener, TLS: config, Registerer: prometheus.NewRegistry()}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
