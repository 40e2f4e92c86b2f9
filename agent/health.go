package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// lookEvery is how often is looked whether the TPM hangs.
const lookEvery = 5 * time.Second

// Ready says why quotes can't be made now, beginning with the reason of the contract; nil if they can.
func (a *Agent) Ready() error {
	return notReady(a.tpm.State(), a.Hung())
}

// Hung is nil unless one command has stayed in the TPM beyond three times what a TPM that works takes at most: 10 s, for making a key 120 s. A busy TPM is not hung, however many wait
// for it, nor is one that is not there; only a restart of this process may help one that is. It never waits for the TPM.
func (a *Agent) Hung() error {
	return a.tpm.Hung()
}

// notReady says why there can be no quote, if the TPM is in that state, or hangs.
func notReady(state tpm.State, hung error) error {
	if err := cmp.Or(hung, state.Err); err != nil {
		return fmt.Errorf("%s: %w", reasonName(reasonOf(err)), err)
	}

	return nil
}

// shown is what was last told of the agent's health.
type shown struct {
	mu    sync.Mutex
	state tpm.State
	line  string
}

// show tells everybody who asks for the agent's health. Without a TPM that answers, none of the services does what it is for.
func (a *Agent) show(change func(*tpm.State)) {
	a.shown.mu.Lock()
	defer a.shown.mu.Unlock()

	change(&a.shown.state)

	err := notReady(a.shown.state, a.Hung())

	line := statusText(a.shown.state, err)
	if line == a.shown.line {
		return
	}

	a.shown.line = line
	serving := healthv1.HealthCheckResponse_SERVING

	if err != nil {
		serving = healthv1.HealthCheckResponse_NOT_SERVING
	}

	for _, service := range []string{"", agentv1.QuoteService_ServiceDesc.ServiceName, agentv1.EnrollmentService_ServiceDesc.ServiceName} {
		a.health.SetServingStatus(service, serving)
	}

	a.metrics.ready.Set(oneIf(err == nil))

	if a.deps.OnStatus != nil {
		a.deps.OnStatus(line)
	}
}

// watchHealth shows when the TPM begins to hang, and when it goes on after all: nothing else happens then that could tell.
func (a *Agent) watchHealth(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.show(func(*tpm.State) {})
		}
	}
}

// stateChanged takes over what became of the TPM and of the AK.
func (a *Agent) stateChanged(state tpm.State) {
	a.show(func(present *tpm.State) { *present = state })
	a.metrics.setState(state)
	a.status.tpmChanged(state)

	if a.deps.TLSKey != nil {
		a.deps.TLSKey.stateChanged(state)
	}
}

// statusText says in a line whether the agent can quote, and if not, why.
func statusText(state tpm.State, err error) string {
	if err != nil {
		return oneLine("cannot quote: " + err.Error())
	}

	text := fmt.Sprintf("ready to quote with AK %d, %x", state.AK.Record.Generation, state.AK.Name())

	switch {
	case state.AK.Transient:
		text += "; it is not kept in the TPM, so that each quote costs more: " + state.AK.Why
	case !state.AK.Record.Enrolled:
		text += "; it was never enrolled"
	}

	if state.TLSErr != nil && !errors.Is(state.TLSErr, tpm.ErrAbsent) {
		text += "; the TLS key can't be used: " + state.TLSErr.Error()
	}

	return oneLine(text)
}

// oneLine makes of a text one line of a bearable length.
func oneLine(text string) string {
	const most = 400

	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = text[:most-3] + "..."
	}

	return strings.ToValidUTF8(text, "?")
}
