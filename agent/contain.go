package agent

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// contained does what a caller asked for. A panic in it is that caller's failure and nobody else's: calls share nothing but what is put right by deferred functions, foremost the
// TPM's turn, and an agent that ended would take from all callers what one of them may be able to bring about again and again. It is told as an error, with its stack, and counted.
func (g *guard) contained(id, method string, do func() error) (err error) {
	defer func() {
		what := recover()
		if what == nil {
			return
		}

		g.metrics.panics.Inc()
		g.audit.logger.Error("the agent failed by a mistake of its own", slog.String("request_id", id), slog.String("method", method),
			slog.Any("panic", what), slog.String("stack", string(debug.Stack())))

		err = &refusal{reason: agentv1.ErrorReason_ERROR_REASON_AGENT_FAILED, cause: fmt.Errorf("panic: %v", what)}
	}()

	return do()
}
