package agent

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/stats"

	"github.com/trustpool/trustpool/agent/internal/tpm"
)

// Spans of a call's turns at the TPM, below that of the call.
const (
	spanQueue = "tpm.queue" // waiting for the turn
	spanTPM   = "tpm.use"   // having it
)

// traced returns what makes a span of each call, as a part of the caller's trace if it says which (W3C Trace Context, in the header traceparent). Health checks are too many to
// be of interest.
func traced(provider trace.TracerProvider) stats.Handler {
	return otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(provider),
		otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithMeterProvider(metricnoop.NewMeterProvider()), // Prometheus has them
		otelgrpc.WithFilter(filters.Not(filters.HealthCheck())),
	)
}

// traceCall writes onto the span of a call what the log says of it, and nothing else: no nonce, but its digest.
func traceCall(ctx context.Context, c call) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}

	attrs := append(asked(c.request), answered(c.response)...)
	attrs = append(attrs, slog.String("request_id", c.id), slog.String("identity", c.caller.Identity), slog.String("result", resultOf(c.err)))

	for _, attr := range attrs {
		span.SetAttributes(attribute.String("trustpool."+attr.Key, attr.Value.String()))
	}
}

// traceTurn makes the spans of a turn that is over, if it was some traced call's.
func traceTurn(ctx context.Context, turn tpm.Turn) {
	call := trace.SpanFromContext(ctx)
	if !call.IsRecording() {
		return
	}

	tracer := call.TracerProvider().Tracer("github.com/trustpool/trustpool/agent")
	began, ended := turn.Asked.Add(turn.Queue), turn.Asked.Add(turn.Total)
	class := trace.WithAttributes(attribute.String("trustpool.class", turn.Class.String()))

	_, queue := tracer.Start(ctx, spanQueue, trace.WithTimestamp(turn.Asked), class)
	defer queue.End(trace.WithTimestamp(began))

	last := queue

	if turn.TPM > 0 {
		_, use := tracer.Start(ctx, spanTPM, trace.WithTimestamp(began), class)
		defer use.End(trace.WithTimestamp(ended))

		last = use
	}

	if turn.Err != nil {
		last.SetStatus(codes.Error, "")
		last.SetAttributes(attribute.String("error.type", resultOf(edgeError(turn.Err))))
	}
}
