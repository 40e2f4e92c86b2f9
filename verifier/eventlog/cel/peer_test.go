package cel_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	peer "github.com/google/go-eventlog/cel"
	"github.com/google/go-eventlog/proto/state"
	"github.com/google/go-eventlog/register"

	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/eventlog/cel"
)

// TestGoEventlogReadsTheLogs has the cel package of go-eventlog read our CEL-TLV, and its own writer write the same bytes: of a measured launch, and of real machines.
func TestGoEventlogReadsTheLogs(t *testing.T) {
	t.Parallel()
	t.Run("launch", func(t *testing.T) {
		t.Parallel()
		peerReads(t, launch())
	})
	for name, raw := range realLogs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peerReads(t, raw)
		})
	}
}

// launch is a small log of two banks.
func launch() []byte {
	return agile(event(0, 8, 1, []byte("version")), event(17, 0x402, 2, []byte("SINIT")), event(0xFF, 0x401, 0, u32(1)), event(17, 0x501, 3, nil), event(18, 0x501, 4, nil))
}

func peerReads(t *testing.T, raw []byte) {
	t.Helper()
	log := parse(t, raw)
	out, err := cel.Encode(log, cel.FormatTLV)
	if err != nil {
		t.Fatal(err)
	}
	read, err := peer.DecodeToCEL(bytes.NewBuffer(out))
	if slices.ContainsFunc(log.Events, func(e eventlog.Event) bool { return e.PCR > 0xFF }) {
		if err == nil || !strings.Contains(err.Error(), "a register index field") {
			t.Errorf("go-eventlog reads PCRs of one byte, and took one that is no PCR: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	records := read.Records()
	if log.Format != eventlog.FormatSHA1 {
		if header := records[0]; header.Index != 0 || !bytes.Contains(header.Content.Value, []byte(" ID E")) {
			t.Errorf("the first record is no header: %v", header)
		}
		records = records[1:]
	}
	if len(records) != len(log.Events) {
		t.Fatalf("go-eventlog reads %d events, and there are %d", len(records), len(log.Events))
	}
	for i := range records {
		sameEvent(t, &records[i], &log.Events[i])
	}
	replayed := false
	for _, bank := range log.Algs {
		if bank.Hash() != 0 {
			replayed = peerReplays(t, records, log, bank) || replayed
		}
	}
	if !replayed && slices.ContainsFunc(log.Events, func(e eventlog.Event) bool { return e.Extended() }) {
		t.Error("no PCR was replayed")
	}
}

func sameEvent(t *testing.T, r *peer.Record, e *eventlog.Event) {
	t.Helper()
	content := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 0, 4}, uint32(e.Type))
	content = binary.BigEndian.AppendUint32(append(content, 1), uint32(len(e.Data)))
	content = append(content, e.Data...)
	if uint32(r.Index) != e.PCR || peer.MRType(r.IndexType) != peer.PCRType || r.Content.Type != 5 || !bytes.Equal(r.Content.Value, content) {
		t.Errorf("event %d is another one to go-eventlog: %+v", e.Num, r)
	}
	for _, bank := range e.Algs() {
		digest, _ := e.Digest(bank)
		if diff := cmp.Diff(digest, r.Digests[bank.Hash()]); diff != "" {
			t.Errorf("event %d, %s (-ours +go-eventlog)\n%s", e.Num, bank, diff)
		}
	}
}

// peerReplays gives go-eventlog what was extended into PCRs that begin at zero, which is all that its replay knows, and the values that ours gives. It tells whether there were any.
func peerReplays(t *testing.T, records []peer.Record, log *eventlog.Log, bank eventlog.Alg) bool {
	t.Helper()
	replay := log.Replay(bank)
	values := register.PCRBank{TCGHashAlgo: state.HashAlgo(bank)}
	for i, pcr := range replay.PCRs {
		if pcr.Err == nil && pcr.Events > 0 && (i > 0 || !otherLocality(log)) {
			values.PCRs = append(values.PCRs, register.PCR{Index: i, Digest: pcr.Value, DigestAlg: bank.Hash()})
		}
	}
	if len(values.PCRs) == 0 {
		return false
	}

	var extended bytes.Buffer
	for i := range records {
		e := &log.Events[i]
		if e.Extended() && slices.ContainsFunc(values.PCRs, func(pcr register.PCR) bool { return pcr.Index == int(e.PCR) }) {
			if err := records[i].EncodeCELR(&extended); err != nil {
				t.Fatal(err)
			}
		}
	}
	measured, err := peer.DecodeToCEL(&extended)
	if err != nil {
		t.Fatal(err)
	}
	if err := measured.Replay(values); err != nil {
		t.Errorf("%s: go-eventlog does not agree: %v", bank, err)
	}
	values.PCRs[0].Digest = bytes.Repeat([]byte{1}, bank.Size())
	if err := measured.Replay(values); err == nil || !strings.Contains(err.Error(), "replay failed") {
		t.Errorf("%s: go-eventlog takes any value: %v", bank, err)
	}
	return true
}

// otherLocality tells whether PCR 0 began at another value than zero (PFP 9.4.5.3).
func otherLocality(log *eventlog.Log) bool {
	return slices.ContainsFunc(log.Events, func(e eventlog.Event) bool { return bytes.HasPrefix(e.Data, []byte("StartupLocality")) })
}
