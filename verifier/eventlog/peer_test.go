package eventlog_test

import (
	"testing"

	"github.com/google/go-attestation/attest"

	"github.com/trustpool/trustpool/internal/reallogs"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// attestPCRs gives go-attestation the replayed PCRs that have events. It gets exactly one bank, because it takes a PCR for good if any bank
// replays, and only PCRs with events, because it takes any value of the others.
func attestPCRs(r eventlog.Replay) []attest.PCR {
	var pcrs []attest.PCR
	for i, p := range r.PCRs {
		if p.Err == nil && p.Events > 0 {
			pcrs = append(pcrs, attest.PCR{Index: i, Digest: p.Value, DigestAlg: r.Alg.Hash()})
		}
	}

	return pcrs
}

// crossCheck compares our replay with go-attestation's: it agrees with every value, and with none that was changed.
func crossCheck(t *testing.T, raw []byte, a eventlog.Alg) {
	t.Helper()
	l, err := eventlog.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := attest.ParseEventLog(raw)
	if err != nil {
		t.Fatalf("go-attestation: %v", err)
	}
	pcrs := attestPCRs(l.Replay(a))
	if len(pcrs) == 0 {
		t.Fatalf("no PCR of bank %s was replayed", a)
	}
	for _, p := range pcrs {
		if _, err := peer.Verify([]attest.PCR{p}); err != nil {
			t.Errorf("%s PCR %d: %x here, and go-attestation says %v", a, p.Index, p.Digest, err)
		}
		p.Digest[0] ^= 1
		if _, err := peer.Verify([]attest.PCR{p}); err == nil {
			t.Errorf("%s PCR %d: go-attestation takes any value", a, p.Index)
		}
	}
}

func TestReplayAgreesWithGoAttestation(t *testing.T) {
	t.Parallel()
	locality := rec{typ: 3, digests: filled(0, 0, 0, bothBanks...).digests, data: []byte("StartupLocality\x00\x03")}
	for name, raw := range map[string][]byte{
		"launch":    agile(bothBanks, launch(bothBanks...)...),
		"firmware":  synthetic(16<<10, 50),
		"locality3": agile(bothBanks, locality, filled(0, 1, 1, bothBanks...), filled(7, 1, 2, bothBanks...)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crossCheck(t, raw, s256)
		})
	}
}

func TestReplayOfRealLogsAgreesWithGoAttestation(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		file string
		algs []eventlog.Alg
	}{
		{"txt/secl_txt-logs.trimmed.bin", []eventlog.Alg{s256}},
		{"txt/secl_txt_heap_eventlog.trimmed.bin", bothBanks},
		{"txt/tboot-devel_E5470_txt-stat_2021-08-26.rebuilt.bin", []eventlog.Alg{s256}},
		{"srtm/arch-linux-workstation.bin", bothBanks},
		{"srtm/debian-10.bin", []eventlog.Alg{s1}},
		{"srtm/glinux-alex.bin", bothBanks},
		{"srtm/option_rom_eventlog", []eventlog.Alg{s1}},
		{"srtm/rhel8-uefi.bin", []eventlog.Alg{s1, s256, eventlog.AlgSHA384}},
		{"srtm/secl_uefi_event_log.bin", bothBanks},
		{"srtm/ubuntu-2104-no-dbx.bin", []eventlog.Alg{s1, s256, eventlog.AlgSHA384}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			raw := trimmed(t, reallogs.Read(t, tc.file))
			for _, a := range tc.algs {
				crossCheck(t, raw, a)
			}
		})
	}
}
