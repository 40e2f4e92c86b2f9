//go:build chaos

package chaos

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/trustpool/trustpool/internal/witness"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// logState returns what a quote says of the log.
func (n *node) logState(t testing.TB) *agentv1.LogReference {
	t.Helper()

	logs := n.quoteSoon(t).GetLogs()
	if len(logs) != 1 || logs[0].GetSource() != "txt" {
		t.Fatalf("logs: %v", logs)
	}

	return logs[0]
}

// brokenLog starts the agent on a log that is broken, and mends it while the agent runs: until then each quote says so, and afterwards it has the log, without a restart.
func brokenLog(t *testing.T, spoil func(t *testing.T, path string, whole []byte), states ...agentv1.LogState) {
	t.Helper()

	n := newNode(t, options{})
	whole := n.truth(t)
	n.kill(t)
	spoil(t, n.txt, whole.Logs["txt"])
	n.witness.Know(witness.Truth{PCRs: whole.PCRs, Logs: map[string][]byte{"txt": nil}})
	n.launch(t)

	log := n.logState(t)
	if fmt.Sprint(log.GetState()) != fmt.Sprint(states[0]) || log.GetDetail() == "" {
		t.Errorf("the log is %v %q, want %v with a reason", log.GetState(), log.GetDetail(), states)
	}

	crowd := n.crowd(n.conn)

	n.wantMetric(t, fmt.Sprintf(`trustpool_agent_log_source_state{source="txt",state=%q}`, stateLabel(states[0])), is(1))
	crowd.hears(t, n, answered)
	n.witness.Know(witness.Truth{PCRs: whole.PCRs}, whole)

	if err := os.RemoveAll(n.txt); err != nil {
		t.Fatal(err)
	}

	write(t, n.txt, whole.Logs["txt"])
	n.wantMetric(t, `trustpool_agent_log_source_state{source="txt",state="available"}`, is(1))
	n.witness.Know(whole)
	crowd.hears(t, n, answered)
	crowd.done(t)

	if log := n.logState(t); !bytes.Equal(log.GetContent(), whole.Logs["txt"]) {
		t.Errorf("the log has %d bytes of %d", len(log.GetContent()), len(whole.Logs["txt"]))
	}
}

// stateLabel is a state as the metrics have it.
func stateLabel(state agentv1.LogState) string {
	return map[agentv1.LogState]string{
		agentv1.LogState_LOG_STATE_ABSENT: "absent", agentv1.LogState_LOG_STATE_EMPTY: "empty", agentv1.LogState_LOG_STATE_MALFORMED: "malformed",
		agentv1.LogState_LOG_STATE_NOT_PERMITTED: "not_permitted",
	}[state]
}

func TestChaosLogMissing(t *testing.T) {
	t.Parallel()
	brokenLog(t, func(t *testing.T, path string, _ []byte) {
		t.Helper()

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}, agentv1.LogState_LOG_STATE_ABSENT)
}

func TestChaosLogEmpty(t *testing.T) {
	t.Parallel()
	brokenLog(t, func(t *testing.T, path string, _ []byte) { t.Helper(); write(t, path, nil) }, agentv1.LogState_LOG_STATE_EMPTY)
}

func TestChaosLogTruncated(t *testing.T) {
	t.Parallel()
	brokenLog(t, func(t *testing.T, path string, whole []byte) { t.Helper(); write(t, path, whole[:len(whole)-1]) }, agentv1.LogState_LOG_STATE_MALFORMED)
}

// TestChaosLogUnreadable has the log on a disk that gives nothing: each read of it fails.
func TestChaosLogUnreadable(t *testing.T) {
	t.Parallel()
	brokenLog(t, func(t *testing.T, path string, _ []byte) {
		t.Helper()

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}

		if err := os.Symlink("/proc/self/mem", path); err != nil { // nothing is mapped at 0: EIO
			t.Fatal(err)
		}
	}, agentv1.LogState_LOG_STATE_MALFORMED)
}

// TestChaosLogThatChangesAfterItWasRead: the log of this boot stays what it was, whatever becomes of the file.
func TestChaosLogThatChangesAfterItWasRead(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	n.wantMetric(t, `trustpool_agent_log_source_state{source="txt",state="available"}`, is(1))

	whole := n.truth(t).Logs["txt"]
	crowd := n.crowd(n.conn)

	for what, change := range map[string]func() error{
		"grows":         func() error { return os.WriteFile(n.txt, append(bytes.Clone(whole), whole[len(whole)/2:]...), 0o600) },
		"is cut":        func() error { return os.Truncate(n.txt, int64(len(whole)/2)) },
		"is replaced":   func() error { return os.WriteFile(n.txt, bytes.Repeat([]byte{0xFF}, len(whole)), 0o600) },
		"is taken away": func() error { return os.RemoveAll(n.txt) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}

		crowd.hears(t, n, answered)

		if log := n.logState(t); !bytes.Equal(log.GetContent(), whole) {
			t.Errorf("a log that %s is given as %d bytes", what, len(log.GetContent()))
		}
	}

	crowd.done(t)
}
