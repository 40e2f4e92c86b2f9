package agent_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
)

// retryOf returns what RetryInfo of a refusal says, 0 if there is none.
func retryOf(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}

	return 0
}

// TestWhoCanNotBeServedInTimeIsToldAtOnce has quotes that take four seconds, and one that does not end.
func TestWhoCanNotBeServedInTimeIsToldAtOnce(t *testing.T) {
	t.Parallel()

	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) { config.TPM.Queue = 2 })
	n.waitUntilServing(t)

	client, quoteTime := n.as(t, rawer), 4*time.Second
	n.tpm.onQuote(func() { <-time.After(quoteTime) })

	began := time.Now()

	mustQuote(t, client, goodRequest())

	took := time.Since(began) // at least what the agent has learned that a quote takes; more on a busy machine

	begun, goOn := make(chan struct{}, 10), make(chan struct{})
	n.tpm.onQuote(func() {
		begun <- struct{}{}
		<-goOn
	})

	done := make(chan error, 3)
	quote := func() {
		_, err := client.Quote(t.Context(), goodRequest())
		done <- err
	}

	go quote()
	<-begun

	ctx, cancel := context.WithTimeout(t.Context(), quoteTime*8/10)
	defer cancel()

	_, err := client.Quote(ctx, goodRequest())
	wantRefusal(t, err, codes.ResourceExhausted, agentv1.ErrorReason_ERROR_REASON_DEADLINE_TOO_SHORT)

	if retry := retryOf(err); retry <= 0 || retry > 2*took {
		t.Errorf("RetryInfo says %v", retry)
	}

	// Half of the two places may be one caller's. Which of the two calls is refused is for them to decide.
	go quote()
	go quote()

	err = <-done
	wantRefusal(t, err, codes.ResourceExhausted, agentv1.ErrorReason_ERROR_REASON_QUEUE_FULL)

	if retry := retryOf(err); retry <= 0 || retry > 3*took {
		t.Errorf("RetryInfo says %v", retry)
	}

	close(goOn)

	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
