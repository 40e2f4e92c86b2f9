package agent

import (
	"testing"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

func TestEachReasonIsToldInItsOwnWords(t *testing.T) {
	t.Parallel()

	told := make(map[string]agentv1.ErrorReason)

	for number := range agentv1.ErrorReason_name {
		reason := agentv1.ErrorReason(number)
		if reason == agentv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			continue
		}

		message := answerTo(reason).message
		if other, twice := told[message]; twice {
			t.Errorf("%v and %v are told as %q", reason, other, message)
		}

		told[message] = reason
	}

	for _, reason := range []agentv1.ErrorReason{-1, 0, 1 << 20} {
		if got, want := answerTo(reason), answerTo(agentv1.ErrorReason_ERROR_REASON_TPM_FAILED); got != want {
			t.Errorf("%d, which is no reason, is told as %q", reason, got.message)
		}
	}
}
