package agent_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	cpb "github.com/openconfig/attestz/proto/common_definitions"
	apb "github.com/openconfig/attestz/proto/tpm_attestz"
	epb "github.com/openconfig/attestz/proto/tpm_enrollz"
	"github.com/openconfig/attestz/test/attestz/tpmutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

const attester = "attester.example"

// device is a node that serves attestz.
type device struct {
	*node

	attest apb.TpmAttestzServiceClient
	enroll epb.TpmEnrollzServiceClient
	ak     *tpm2.TPMTPublic
}

// startDevice starts a node with attestz on, whose AK has a certificate by the owner's CA, unless a test does without.
func startDevice(t *testing.T, change func(*agent.Config)) *device {
	t.Helper()

	d := &device{node: newNodeWith(t, tpmsim.Trusted, func(config *agent.Config, _ *agent.Deps) {
		config.Attestz.Enabled = true
		config.Clients = append(config.Clients,
			agent.ClientRule{SAN: []string{"dns:" + attester, "subject:CN=attestz-client"}, Roles: []agent.Role{agent.RoleAttestz}})
		change(config)
	})}
	d.waitUntilServing(t)

	conn := d.asAttester(t, attester)
	d.attest, d.enroll = apb.NewTpmAttestzServiceClient(conn), epb.NewTpmEnrollzServiceClient(conn)

	capabilities, err := d.as(t, quoter).GetCapabilities(t.Context(), &agentv1.GetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}

	if d.ak, err = tpm2.Unmarshal[tpm2.TPMTPublic](capabilities.GetAkPublic()); err != nil {
		t.Fatal(err)
	}

	return d
}

// asAttester connects with a certificate for a name.
func (d *device) asAttester(t *testing.T, name string) *grpc.ClientConn {
	t.Helper()

	certificate := d.issue(t, pki.Leaf{DNSNames: []string{name}, Client: true}).Certificate

	return dial(t, d.address, credentials.NewTLS(&tls.Config{RootCAs: d.ca.Pool(), Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}))
}

// certificate returns the owner's certificate for the AK, with the CA's own behind it (PEM).
func (d *device) certificate(t *testing.T) string {
	t.Helper()

	key, err := tpm2.Pub(*d.ak)
	if err != nil {
		t.Fatal(err)
	}

	pair, err := d.ca.IssueFor(pki.Leaf{DNSNames: []string{"node.example"}, Client: true}, key)
	if err != nil {
		t.Fatal(err)
	}

	return string(pair.CertPEM) + string(d.ca.PEM())
}

// own has the owner's certificate installed, as an administrator.
func (d *device) own(t *testing.T) {
	t.Helper()

	_, err := epb.NewTpmEnrollzServiceClient(d.asAttester(t, rawer)).RotateOIakCert(t.Context(), &epb.RotateOIakCertRequest{
		Updates: []*epb.ControlCardCertUpdate{{ControlCardSelection: active(), OiakCert: d.certificate(t)}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// asBefore is a request of callers from before there were updates.
func asBefore(certificate string) *epb.RotateOIakCertRequest {
	return &epb.RotateOIakCertRequest{OiakCert: certificate} //nolint:staticcheck // deprecated
}

func active() *cpb.ControlCardSelection {
	return &cpb.ControlCardSelection{ControlCardId: &cpb.ControlCardSelection_Role{Role: cpb.ControlCardRole_CONTROL_CARD_ROLE_ACTIVE}}
}

func request(t *testing.T) *apb.AttestRequest {
	t.Helper()

	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce) // never fails

	return &apb.AttestRequest{
		ControlCardSelection: active(), Nonce: nonce, HashAlgo: cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA256, PcrIndices: []int32{17, 18, 19},
	}
}

// akOfCertificate tells attestz' own verifier which key a certificate is for, which it leaves to its users.
type akOfCertificate struct {
	tpmutil.TPMCertUtils

	ak *tpm2.TPMTPublic
}

func (a akOfCertificate) ToTPMTPublic(*x509.Certificate) (*tpm2.TPMTPublic, error) { return a.ak, nil }

func TestAttestzOwnVerifierTakesTheQuote(t *testing.T) {
	t.Parallel()

	for _, key := range []struct {
		algorithm tpm.KeyAlgorithm
		hash      cpb.Tpm20HashAlgo
	}{
		{tpm.ECDSAP256, cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA256},
		{tpm.ECDSAP384, cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA384},
		{tpm.RSA2048, cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA256},
	} {
		t.Run(string(key.algorithm), func(t *testing.T) {
			t.Parallel()

			d := startDevice(t, func(config *agent.Config) { config.TPM.AK.Algorithm = key.algorithm })
			d.own(t)

			ask := request(t)
			ask.HashAlgo = key.hash

			reply, err := d.attest.Attest(t.Context(), ask)
			if err != nil {
				t.Fatal(err)
			}

			block, _ := pem.Decode([]byte(reply.GetAttestationCert().GetOiakCert()))

			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}

			verify := func(nonce []byte) error {
				return tpmutil.VerifyPCRQuoteAndQuoteSignature(t.Context(), akOfCertificate{ak: d.ak}, certificate, reply.GetQuoted(), reply.GetQuoteSignature(),
					reply.GetPcrValues(), nonce, key.hash)
			}
			if err := verify(ask.GetNonce()); err != nil {
				t.Error(err)
			}

			if err := verify(request(t).GetNonce()); err == nil {
				t.Error("it takes another nonce as well, so it shows nothing")
			}
		})
	}
}

// TestAttestzReferenceClientIsServed runs the client of attestz' own repository, as it is.
func TestAttestzReferenceClientIsServed(t *testing.T) {
	t.Parallel()

	d := startDevice(t, func(*agent.Config) {})
	d.own(t)

	dir := t.TempDir()
	binary := filepath.Join(dir, "reference")

	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/openconfig/attestz/service/attest/reference").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	key, err := d.ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}

	for file, content := range map[string][]byte{"ca.pem": d.ca.PEM(), "ca-key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	reply, err := d.attest.Attest(t.Context(), request(t))
	if err != nil {
		t.Fatal(err)
	}

	run := func(pcrs map[int32][]byte) ([]byte, error) {
		expected := make(map[int32]string)
		for pcr, value := range pcrs {
			expected[pcr] = hex.EncodeToString(value)
		}

		text, err := json.Marshal(expected)
		if err != nil {
			t.Fatal(err)
		}

		return exec.CommandContext(t.Context(), binary, "--addr="+d.address, "--owner_ca_cert="+filepath.Join(dir, "ca.pem"), "--owner_ca_key="+filepath.Join(dir, "ca-key.pem"),
			"--hash_algo=SHA256", "--expected_pcrs="+string(text), "--alsologtostderr").CombinedOutput()
	}

	out, err := run(reply.GetPcrValues())
	if err != nil || !strings.Contains(string(out), "Remote attestation verification succeeded") {
		t.Errorf("%v\n%s", err, out)
	}

	other := map[int32][]byte{17: make([]byte, 32)}
	if out, err := run(other); err == nil || !strings.Contains(string(out), "PCR 17 expected") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAttestzRefusesWhatItCanNotSign(t *testing.T) {
	t.Parallel()

	d := startDevice(t, func(*agent.Config) {})

	_, err := d.attest.Attest(t.Context(), request(t))
	wantRefusal(t, err, codes.FailedPrecondition, agentv1.ErrorReason_ERROR_REASON_AK_CERTIFICATE_MISSING)

	d.own(t)

	for name, test := range map[string]struct {
		change func(*apb.AttestRequest)
		code   codes.Code
		reason agentv1.ErrorReason
	}{
		"a hash that the AK does not sign with": {
			func(r *apb.AttestRequest) { r.HashAlgo = cpb.Tpm20HashAlgo_TPM_2_0_HASH_ALGO_SHA384 }, codes.FailedPrecondition, agentv1.ErrorReason_ERROR_REASON_AK_HASH_MISMATCH,
		},
		"no hash": {
			func(r *apb.AttestRequest) { r.HashAlgo = 0 }, codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_BANK_UNKNOWN,
		},
		"a nonce that could be taken for a quote that is bound": {
			func(r *apb.AttestRequest) { r.Nonce = append([]byte{0x7B, 0x01}, make([]byte, 32)...) }, codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_NONCE_RESERVED,
		},
		"no nonce": {
			func(r *apb.AttestRequest) { r.Nonce = nil }, codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_NONCE_TOO_SHORT,
		},
		"no PCR": {
			func(r *apb.AttestRequest) { r.PcrIndices = nil }, codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_SELECTION_EMPTY,
		},
		"a PCR that no TPM has": {
			func(r *apb.AttestRequest) { r.PcrIndices = []int32{24} }, codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_PCR_OUT_OF_RANGE,
		},
		"another card": {
			func(r *apb.AttestRequest) {
				r.ControlCardSelection.ControlCardId = &cpb.ControlCardSelection_Role{Role: cpb.ControlCardRole_CONTROL_CARD_ROLE_STANDBY}
			}, codes.NotFound, agentv1.ErrorReason_ERROR_REASON_CONTROL_CARD_UNKNOWN,
		},
		"a card by an empty serial number": {
			func(r *apb.AttestRequest) { r.ControlCardSelection.ControlCardId = &cpb.ControlCardSelection_Serial{} },
			codes.NotFound, agentv1.ErrorReason_ERROR_REASON_CONTROL_CARD_UNKNOWN,
		},
		"a card by slot": {
			func(r *apb.AttestRequest) { r.ControlCardSelection.ControlCardId = &cpb.ControlCardSelection_Slot{} },
			codes.NotFound, agentv1.ErrorReason_ERROR_REASON_CONTROL_CARD_UNKNOWN,
		},
	} {
		ask := request(t)
		test.change(ask)

		if _, err := d.attest.Attest(t.Context(), ask); err == nil {
			t.Errorf("%s: taken", name)
		} else {
			wantRefusal(t, err, test.code, test.reason)
		}
	}
}

func TestAttestzHasARoleOfItsOwn(t *testing.T) {
	t.Parallel()

	d := startDevice(t, func(config *agent.Config) {
		config.Clients = append(config.Clients, agent.ClientRule{
			SAN: []string{"dns:narrow.example"}, Roles: []agent.Role{agent.RoleAttestz}, Limits: agent.Limits{PCRs: "sha256:17"},
		})
	})
	d.own(t)

	_, err := apb.NewTpmAttestzServiceClient(d.asAttester(t, quoter)).Attest(t.Context(), request(t))
	wantRefusal(t, err, codes.PermissionDenied, agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)

	_, err = apb.NewTpmAttestzServiceClient(d.asAttester(t, "narrow.example")).Attest(t.Context(), request(t))
	wantRefusal(t, err, codes.PermissionDenied, agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)

	_, err = d.enroll.RotateOIakCert(t.Context(), asBefore(d.certificate(t)))
	wantRefusal(t, err, codes.PermissionDenied, agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)

	_, err = d.as(t, attester).Quote(t.Context(), &agentv1.QuoteRequest{Nonce: make([]byte, 32), BindMode: agentv1.BindMode_BIND_MODE_RAW})
	wantRefusal(t, err, codes.PermissionDenied, agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)
}

func TestAttestzIsOffUnlessItIsSwitchedOn(t *testing.T) {
	t.Parallel()

	d := startDevice(t, func(config *agent.Config) { config.Attestz.Enabled = false })

	_, err := d.attest.Attest(t.Context(), request(t))
	if status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}
