package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"google.golang.org/grpc"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
)

// malformedNode answers what no honest agent does.
type malformedNode struct {
	agentv1.UnimplementedQuoteServiceServer
	agentv1.UnimplementedEnrollmentServiceServer
}

func (malformedNode) GetCapabilities(context.Context, *agentv1.GetCapabilitiesRequest) (*agentv1.GetCapabilitiesResponse, error) {
	return &agentv1.GetCapabilitiesResponse{}, nil
}

func (malformedNode) Quote(context.Context, *agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) {
	return &agentv1.QuoteResponse{PcrBanks: []*agentv1.PcrBank{{HashAlgo: 1 << 16}}}, nil
}

func (malformedNode) GetIdentity(context.Context, *agentv1.GetIdentityRequest) (*agentv1.GetIdentityResponse, error) {
	return &agentv1.GetIdentityResponse{HostNames: make([]string, 10_000)}, nil
}

func (malformedNode) RotateAK(context.Context, *agentv1.RotateAKRequest) (*agentv1.RotateAKResponse, error) {
	return &agentv1.RotateAKResponse{AkName: make([]byte, 1000)}, nil
}

// recordFile writes the record of a node whose keys are nobody's.
func recordFile(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	area := tpm2.ECCEKTemplate
	area.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: key.X.FillBytes(make([]byte, 32))}, Y: tpm2.TPM2BECCParameter{Buffer: key.Y.FillBytes(make([]byte, 32))},
	})
	public := tpm2.Marshal(area)
	digest := sha256.Sum256(public)
	name := append([]byte{0, 0x0B}, digest[:]...)
	record := verifier.NodeRecord{
		Name: "node1", Address: "node1.example:9443", EnrolledAt: time.Unix(0, 0), Binding: verifier.BindingFirstUse,
		EK: verifier.EKRecord{Name: name, Public: public}, AKs: []verifier.AKRecord{{Name: name, Public: public}},
	}
	data, err := record.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "node.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serveMalformed returns the address of such a node.
func serveMalformed(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl") // paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}

	server := grpc.NewServer()
	agentv1.RegisterQuoteServiceServer(server, malformedNode{})
	agentv1.RegisterEnrollmentServiceServer(server, malformedNode{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return "unix://" + filepath.Join(dir, "s")
}

// TestAnAnswerThatIsNoEvidenceIsRefused and not taken for a network that failed: a script would ask again for ever.
func TestAnAnswerThatIsNoEvidenceIsRefused(t *testing.T) {
	t.Parallel()

	address := serveMalformed(t)
	knownGood := filepath.Join(t.TempDir(), "known-good.json")
	if err := os.WriteFile(knownGood, []byte(`{"format": "trustpool-known-good/1", "ak": [], "pcrs": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"quote":  {"quote", "--address", address, "--raw"},
		"rotate": {"rotate", "--address", address, "--node", recordFile(t)},
		"verify": {"verify", "--address", address, "--raw", "--known-good", knownGood},
		"learn":  {"learn", "--address", address, "--raw", "--out", knownGood + ".learned"},
		"enroll": {"enroll", "--address", address, "--name", "node1", "--first-use", "--out", knownGood + ".node"},
	} {
		for _, json := range []string{"--json=false", "--json"} {
			t.Run(name+" "+json, func(t *testing.T) {
				t.Parallel()
				var stdout, stderr strings.Builder
				code := run(t.Context(), append(args, json), &stdout, &stderr)
				if code != console.ExitRefused || !strings.Contains(stdout.String()+stderr.String(), "malformed answer") {
					t.Errorf("exit code %d, stdout %q, stderr %q", code, &stdout, &stderr)
				}
				if name != "learn" && (stdout.Len() == 0 || stderr.Len() > 0) {
					t.Errorf("the refusal is no result: stdout %q, stderr %q", &stdout, &stderr)
				}
			})
		}
	}
}
