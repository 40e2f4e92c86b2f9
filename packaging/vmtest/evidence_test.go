//go:build vm

package vmtest_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// enroll binds the node by the EK certificate that another program than ours has made.
func enroll(ctx context.Context, t *testing.T, s *stage) {
	t.Log(s.ctl(ctx, t, 0, "enroll", "--name", nodeName, "--ek-roots", s.ekRoots, "--out", "node1.json"))

	if keys := s.record(t).AKs; len(keys) != 1 {
		t.Fatalf("%d AKs in the record, want one", len(keys))
	}
}

// firmwareReplays holds the log of a real firmware against what the TPM signs, and that against what the kernel reads of the TPM by itself.
func firmwareReplays(ctx context.Context, t *testing.T, s *stage) {
	pcrs := []int{0, 1, 2, 3, 4, 5, 6, 7, 9}
	selection := []verifier.Selection{{Alg: eventlog.AlgSHA256, PCRs: pcrs}}

	reply, err := quote(ctx, s.dial(t), client.QuoteOptions{Selection: selection, WantLogs: []string{"firmware"}})
	if err != nil {
		t.Fatal(err)
	}

	whole(t, verifier.Verify(reply.Evidence, verifier.Policy{Nonce: reply.Evidence.Nonce, BindMode: verifier.BindBound, Selection: selection}))

	if len(reply.Evidence.Logs) != 1 {
		t.Fatalf("%d logs, want the firmware's: %+v", len(reply.Evidence.Logs), reply.Logs)
	}

	log, err := eventlog.Parse(reply.Evidence.Logs[0].Raw)
	if err != nil {
		t.Fatal(err)
	}

	replay := log.Replay(eventlog.AlgSHA256)

	for _, value := range reply.Evidence.PCRs[0].Values {
		pcr := replay.PCRs[value.Index]
		if pcr.Events == 0 || !bytes.Equal(pcr.Value, value.Value) {
			t.Errorf("PCR %d: %d events replay to %x, quoted is %x", value.Index, pcr.Events, pcr.Value, value.Value)
		}

		kernel := s.in(ctx, t, fmt.Sprintf("cat /sys/class/tpm/tpm0/pcr-sha256/%d", value.Index))
		if !strings.EqualFold(kernel, hex.EncodeToString(value.Value)) {
			t.Errorf("PCR %d: the kernel reads %s, quoted is %x", value.Index, kernel, value.Value)
		}
	}

	t.Logf("%d events, %d bytes", len(log.Events), len(reply.Evidence.Logs[0].Raw))
}

// whole fails the test unless the checks passed that need no known-good values.
func whole(t *testing.T, result verifier.Result) {
	t.Helper()

	needed := map[verifier.CheckName]bool{
		verifier.CheckSignature: true, verifier.CheckNonce: true, verifier.CheckSelection: true, verifier.CheckPCRDigest: true, verifier.CheckPCRValues: true,
		verifier.CheckQualifiedSigner: true, verifier.CheckAKAttributes: true,
	}

	for _, check := range result.Checks {
		if needed[check.Name] && check.Outcome != verifier.Passed {
			t.Errorf("check %s: %s", check.Name, check.Detail)
		}

		delete(needed, check.Name)
	}

	if len(needed) > 0 {
		t.Errorf("not checked: %v", needed)
	}
}

// noLaunch shows that PCRs of a boot without a launch are never taken for good.
func noLaunch(ctx context.Context, t *testing.T, s *stage) {
	s.wantPCR(ctx, t, 17, bytes.Repeat([]byte{0xff}, 32))

	said := s.ctl(ctx, t, 4, "learn", "--out", "no-launch.json")
	if !strings.Contains(said, "no measured launch") {
		t.Errorf("the refusal does not tell why:\n%s", said)
	}
}

// launch measures what a hypervisor's launch does, behind the guest's back, and has it quoted.
func launch(ctx context.Context, t *testing.T, s *stage) {
	if err := s.vm.board.Launch(s.launch.Launch); err != nil {
		t.Fatal(err)
	}

	for _, pcr := range []uint32{17, 18, 19} {
		s.wantPCR(ctx, t, int(pcr), s.launch.values[pcr])
	}

	if said, err := s.guest.run(ctx, "tpm2_pcrextend -T device:/dev/tpmrm0 17:sha256="+strings.Repeat("00", 32)); err == nil {
		t.Errorf("root in the guest can extend PCR 17: %s", said)
	}
}

// wantPCR has one PCR quoted.
func (s *stage) wantPCR(ctx context.Context, t *testing.T, pcr int, want []byte) {
	t.Helper()

	selection := []verifier.Selection{{Alg: eventlog.AlgSHA256, PCRs: []int{pcr}}}

	reply, err := quote(ctx, s.dial(t), client.QuoteOptions{Selection: selection})
	if err != nil {
		t.Fatal(err)
	}

	whole(t, verifier.Verify(reply.Evidence, verifier.Policy{Nonce: reply.Evidence.Nonce, BindMode: verifier.BindBound, Selection: selection}))

	if got := reply.Evidence.PCRs[0].Values[0].Value; !bytes.Equal(got, want) {
		t.Errorf("PCR %d is %x, want %x", pcr, got, want)
	}
}

// firstVerdict types what docs/install.md does for that, apart from the other steps' files.
func firstVerdict(ctx context.Context, t *testing.T, s *stage) {
	folder := filepath.Join(s.work, "first-verdict")
	if err := errors.Join(os.Mkdir(folder, 0o700), os.Symlink("../pki", filepath.Join(folder, "pki"))); err != nil {
		t.Fatal(err)
	}

	s.ctlTyped(ctx, t, folder, "trustpoolctl enroll --address node1.example:9443 --tls-dir pki --name node1.example --first-use --out node1.json")
	s.ctlTyped(ctx, t, folder, "trustpoolctl learn  --address node1.example:9443 --tls-dir pki --out known-good.json")

	said := s.ctlTyped(ctx, t, folder, "trustpoolctl verify --node node1.json --tls-dir pki --known-good known-good.json")
	if !strings.HasPrefix(said, "TRUSTED "+nodeName) {
		t.Errorf("the verdict is\n%s", said)
	}
}

// trusted judges the node by its TPM's certificate and what it booted.
func trusted(ctx context.Context, t *testing.T, s *stage) {
	t.Log(s.ctl(ctx, t, 0, "learn", "--out", "known-good.json"))

	said := s.verify(ctx, t, 0)
	if !strings.HasPrefix(said, "TRUSTED "+nodeName) {
		t.Errorf("the verdict is\n%s", said)
	}

	t.Log(said)
}

// verify judges the node by what was enrolled and learned, and returns the verdict.
func (s *stage) verify(ctx context.Context, t *testing.T, want int) string {
	t.Helper()

	return s.ctl(ctx, t, want, "verify", "--node", filepath.Join(s.work, "node1.json"), "--known-good", "known-good.json")
}
