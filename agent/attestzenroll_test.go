package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	cpb "github.com/openconfig/attestz/proto/common_definitions"
	epb "github.com/openconfig/attestz/proto/tpm_enrollz"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

func TestAttestzSaysWhichCardAHostIs(t *testing.T) {
	t.Parallel()

	host := t.TempDir()
	for file, text := range map[string]string{
		"product_serial": "B5HM22", "sys_vendor": "Example Inc.", "product_name": "Rack 1", "chassis_serial": "C77",
	} {
		path := filepath.Join(host, "sys/class/dmi/id", file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}

		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	d := startDevice(t, func(config *agent.Config) { config.Logs.Root = host })

	for name, selection := range map[string]*cpb.ControlCardSelection{
		"none": nil, "by role": active(), "by serial": {ControlCardId: &cpb.ControlCardSelection_Serial{Serial: "B5HM22"}},
	} {
		reply, err := d.enroll.GetControlCardVendorID(t.Context(), &epb.GetControlCardVendorIDRequest{ControlCardSelection: selection})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}

		want := &cpb.ControlCardVendorId{
			ControlCardRole: cpb.ControlCardRole_CONTROL_CARD_ROLE_ACTIVE, ControlCardSerial: "B5HM22",
			ChassisManufacturer: "Example Inc.", ChassisPartNumber: "Rack 1", ChassisSerialNumber: "C77",
		}
		if diff := cmp.Diff(want, reply.GetControlCardId(), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAttestzHandsOutTheVendorsCertificateOfThisAK(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "iak.pem")
	d := startDevice(t, func(config *agent.Config) { config.Attestz.IAKCertificate = path })

	for name, content := range map[string]string{
		"of another key": string(d.issue(t, pki.Leaf{DNSNames: []string{"other.example"}, Client: true}).CertPEM), "no PEM": "certificate", "empty": "",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}

		if _, err := d.enroll.GetIakCert(t.Context(), &epb.GetIakCertRequest{}); err == nil {
			t.Errorf("%s: handed out", name)
		} else {
			wantRefusal(t, err, codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID)
		}
	}

	chain := d.certificate(t)
	if err := os.WriteFile(path, []byte(chain), 0o600); err != nil {
		t.Fatal(err)
	}

	reply, err := d.enroll.GetIakCert(t.Context(), &epb.GetIakCertRequest{ControlCardSelection: active()})
	if err != nil || reply.GetIakCert() != chain {
		t.Errorf("%v, %v", reply, err)
	}
}

func TestAttestzTakesACertificateOnlyForThisAK(t *testing.T) {
	t.Parallel()

	d := startDevice(t, func(*agent.Config) {})
	enroll := epb.NewTpmEnrollzServiceClient(d.asAttester(t, rawer))
	good := d.certificate(t)
	leaf, ca, _ := strings.Cut(good, "-----END CERTIFICATE-----\n")
	leaf += "-----END CERTIFICATE-----\n"

	update := func(certificate string) *epb.RotateOIakCertRequest {
		return &epb.RotateOIakCertRequest{Updates: []*epb.ControlCardCertUpdate{{OiakCert: certificate}}}
	}

	twice, profiled := asBefore(good), asBefore(good)
	twice.Updates, profiled.SslProfileId = update(good).GetUpdates(), "a"

	for name, test := range map[string]struct {
		request *epb.RotateOIakCertRequest
		code    codes.Code
		reason  agentv1.ErrorReason
	}{
		"of another key":     {update(string(d.issue(t, pki.Leaf{DNSNames: []string{"a"}, Client: true}).CertPEM)), codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID},
		"nothing":            {&epb.RotateOIakCertRequest{}, codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID},
		"in another order":   {update(ca + leaf), codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID},
		"something behind":   {update(good + "more"), codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID},
		"far too many":       {update(leaf + strings.Repeat(ca, 9)), codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID},
		"too large":          {update(strings.Repeat(" ", 65<<10)), codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID},
		"two cards":          {&epb.RotateOIakCertRequest{Updates: make([]*epb.ControlCardCertUpdate, 2)}, codes.Unimplemented, agentv1.ErrorReason_ERROR_REASON_NOT_SUPPORTED},
		"there twice":        {twice, codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_CERTIFICATE_INVALID},
		"one of an IDevID":   {&epb.RotateOIakCertRequest{Updates: []*epb.ControlCardCertUpdate{{OiakCert: good, OidevidCert: good}}}, codes.Unimplemented, agentv1.ErrorReason_ERROR_REASON_NOT_SUPPORTED},
		"with a TLS profile": {profiled, codes.Unimplemented, agentv1.ErrorReason_ERROR_REASON_NOT_SUPPORTED},
	} {
		if _, err := enroll.RotateOIakCert(t.Context(), test.request); err == nil {
			t.Errorf("%s: taken", name)
		} else {
			wantRefusal(t, err, test.code, test.reason)
		}
	}

	if _, err := enroll.RotateOIakCert(t.Context(), asBefore(leaf)); err != nil {
		t.Error(err)
	}

	reply, err := d.attest.Attest(t.Context(), request(t))
	if err != nil || reply.GetAttestationCert().GetOiakCert() != leaf {
		t.Errorf("%v, %v", reply, err)
	}
}

func TestAttestzSaysWhyItCanNotDoTheRest(t *testing.T) {
	t.Parallel()

	d := startDevice(t, func(*agent.Config) {})

	_, err := d.enroll.GetIakCert(t.Context(), &epb.GetIakCertRequest{})
	wantRefusal(t, err, codes.Unimplemented, agentv1.ErrorReason_ERROR_REASON_NOT_SUPPORTED)

	_, err = d.enroll.GetIdevidCsr(t.Context(), &epb.GetIdevidCsrRequest{})
	wantRefusal(t, err, codes.Unimplemented, agentv1.ErrorReason_ERROR_REASON_NOT_SUPPORTED)

	_, err = d.enroll.Challenge(t.Context(), &epb.ChallengeRequest{})
	wantRefusal(t, err, codes.Unimplemented, agentv1.ErrorReason_ERROR_REASON_NOT_SUPPORTED)

	if fmt.Sprint(status.Convert(err).Details()) == "[]" {
		t.Error("it does not say what is missing")
	}

	aik, err := epb.NewTpmEnrollzServiceClient(d.asAttester(t, rawer)).RotateAIKCert(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	_, err = aik.Recv()
	wantRefusal(t, err, codes.Unimplemented, agentv1.ErrorReason_ERROR_REASON_NOT_SUPPORTED)
}
