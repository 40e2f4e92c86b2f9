package eventlog_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// TestEveryFlippedByteIsSeenOrOfAKindThatNothingBinds flips each byte of a log. Those that neither break the log nor change the
// replay are the ones that the package comment calls unbound.
func TestEveryFlippedByteIsSeenOrOfAKindThatNothingBinds(t *testing.T) {
	t.Parallel()
	good := agile(bothBanks, launch(bothBanks...)...)
	want := parse(t, good).Replay(s256)
	unseen := map[string]int{}
	for i := range good {
		raw := bytes.Clone(good)
		raw[i] ^= 0x01
		l, err := eventlog.Parse(raw)
		if err != nil || !same(want, l.Replay(s256)) {
			continue
		}
		unseen[kind(t, good, l)]++
	}
	// Of 7 extended types that of HASH_START is seen, and a byte of 4 others makes a type that is not extended. SHA-1 digests are in 4 extended
	// events; the informative event has one too, beside 32 bytes of SHA-256 and 4 of data.
	if diff := cmp.Diff(map[string]int{"header": 8, "type": 20, "sha1 digest": 100, "informative event": 36, "data, seen by CheckData": 44}, unseen); diff != "" {
		t.Error(diff)
	}
}

// same compares what the launch measured.
func same(a, b eventlog.Replay) bool {
	return a.Launched == b.Launched && bytes.Equal(a.PCRs[17].Value, b.PCRs[17].Value) && bytes.Equal(a.PCRs[18].Value, b.PCRs[18].Value) &&
		a.PCRs[19].Events == b.PCRs[19].Events
}

// kind says what differs between a log and its flipped copy that replay the same.
func kind(t *testing.T, good []byte, flipped *eventlog.Log) string {
	t.Helper()
	l := parse(t, good)
	if !cmp.Equal(l.Spec, flipped.Spec) {
		return "header"
	}
	for i := range l.Events {
		a, b := &l.Events[i], &flipped.Events[i]
		sha1a, _ := a.Digest(s1)
		sha1b, _ := b.Digest(s1)
		sha256a, _ := a.Digest(s256)
		sha256b, _ := b.Digest(s256)
		switch {
		case a.Type != b.Type:
			return "type"
		case !bytes.Equal(sha1a, sha1b):
			return "sha1 digest"
		case !bytes.Equal(a.Data, b.Data) && b.CheckData(s256) == eventlog.DataDiffers:
			return "data, seen by CheckData"
		case !a.Extended() && (!bytes.Equal(a.Data, b.Data) || !bytes.Equal(sha256a, sha256b)):
			return "informative event"
		}
	}

	return fmt.Sprintf("unexpected: %x", flipped.Bytes())
}
