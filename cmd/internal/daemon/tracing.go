package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// flushFor is how long the end of a daemon waits for the last spans to be taken.
const flushFor = 2 * time.Second

// StartTracing has spans sent to a collector over OTLP/gRPC, if the environment asks for it: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
// OTEL_TRACES_EXPORTER=otlp; OTEL_SDK_DISABLED=true switches it off. If not, the provider is nil. All else is as the OpenTelemetry specification's "Environment Variable
// Specification" and the OTLP exporter's configuration say, as far as gRPC is concerned. service is the daemon's name, unless OTEL_SERVICE_NAME is another.
//
// Nothing of it is ever waited for: without a collector, spans are dropped, and a line in the log says so. A wrong variable is told and means no tracing, not no daemon.
// stop, which is never nil, sends what is left, for up to two seconds.
func StartTracing(service string, logger *slog.Logger) (provider trace.TracerProvider, stop func()) {
	isWanted, err := tracingWanted(os.Getenv)
	if err == nil && isWanted {
		provider, stop, err = startTracing(service, logger)
	}

	if err != nil {
		logger.Error("nothing is traced", "error", err)
	}

	if err != nil || !isWanted {
		return nil, func() {}
	}

	return provider, stop
}

// tracingWanted says whether the environment asks for spans. An error: it asks for some that can't be had here.
func tracingWanted(getenv func(string) string) (bool, error) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}

	var isWanted bool

	switch exporter := getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "": // the specification has otlp as the default, also for those who never heard of it
		isWanted = getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	case "otlp":
		isWanted = true
	case "none":
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: write otlp or none", exporter)
	}

	if !isWanted {
		return false, nil
	}

	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := getenv(name); protocol == "grpc" {
			break
		} else if protocol != "" {
			return false, fmt.Errorf("%s is %q: write grpc, and name the collector's port for that (4317 as a rule)", name, protocol)
		}
	}

	return true, nil
}

func startTracing(service string, logger *slog.Logger) (trace.TracerProvider, func(), error) {
	// Both would else write lines of their own to standard error.
	otel.SetLogger(logr.FromSlogHandler(terse{logger.Handler()}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { logger.Warn("a mistake in tracing", "error", err) }))

	ctx := context.Background() // nothing is connected here

	client, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("starting to trace: %w", err)
	}

	about, err := resource.New(ctx, resource.WithHost(), resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.version", Version())), resource.WithFromEnv())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("starting to trace: %w", err), client.Shutdown(ctx))
	}

	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(&exporting{SpanExporter: client, logger: logger}), sdktrace.WithResource(about))
	logger.Info("tracing")

	return provider, func() {
		ctx, cancel := context.WithTimeout(ctx, flushFor)
		defer cancel()

		if err := provider.Shutdown(ctx); err != nil {
			logger.Warn("the last spans were not sent", "error", err)
		}
	}, nil
}

// exporting tells when spans can no longer be sent, and when they can again: not of every batch.
type exporting struct {
	sdktrace.SpanExporter

	logger *slog.Logger
	failed bool // used by one batch at a time
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *exporting) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)

	switch {
	case err != nil && !e.failed:
		e.logger.Warn("spans can't be sent, and are dropped: is the collector there, and does it take OTLP over gRPC?", "error", err)
	case err == nil && e.failed:
		e.logger.Info("spans are sent again")
	}

	e.failed = err != nil

	return nil // it was told
}

// terse leaves out of what OpenTelemetry says of its variables what is in them: OTEL_EXPORTER_OTLP_HEADERS may hold a password.
type terse struct {
	slog.Handler
}

// Handle implements slog.Handler.
func (t terse) Handle(ctx context.Context, record slog.Record) error {
	short := slog.NewRecord(record.Time, record.Level, "a mistake in tracing's variables", record.PC)
	short.AddAttrs(slog.String("what", record.Message))

	record.Attrs(func(attr slog.Attr) bool {
		if attr.Key == "err" {
			short.AddAttrs(slog.Any("error", attr.Value))
		}

		return true
	})

	return t.Handler.Handle(ctx, short)
}
