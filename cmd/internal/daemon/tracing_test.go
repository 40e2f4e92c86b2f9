package daemon

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr"
)

func TestSpansAreMadeOnlyWhereTheEnvironmentAsksForThem(t *testing.T) {
	t.Parallel()

	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.example:4317"

	for _, test := range []struct {
		name  string
		env   []string
		want  bool
		wrong string
	}{
		{"nothing is set", nil, false, ""},
		{"a collector", []string{endpoint}, true, ""},
		{"a collector of traces", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://collector.example:4317"}, true, ""},
		{"the default collector", []string{"OTEL_TRACES_EXPORTER=otlp"}, true, ""},
		{"a collector that is for others", []string{endpoint, "OTEL_TRACES_EXPORTER=none"}, false, ""},
		{"OpenTelemetry is disabled", []string{endpoint, "OTEL_TRACES_EXPORTER=otlp", "OTEL_SDK_DISABLED=TRUE"}, false, ""},
		{"OpenTelemetry is not disabled", []string{endpoint, "OTEL_SDK_DISABLED=false"}, true, ""},
		{"another exporter", []string{endpoint, "OTEL_TRACES_EXPORTER=zipkin"}, false, "OTEL_TRACES_EXPORTER"},
		{"OTLP over gRPC", []string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, true, ""},
		{"OTLP over HTTP", []string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}, false, "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{"traces over gRPC, all else over HTTP", []string{
			endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc",
		}, true, ""},
		{"traces over HTTP, all else over gRPC", []string{
			endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json",
		}, false, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"},
		{"a protocol of what is not asked for", []string{"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()

			getenv := func(name string) string {
				for _, variable := range test.env {
					if value, ok := strings.CutPrefix(variable, name+"="); ok {
						return value
					}
				}

				return ""
			}

			got, err := tracingWanted(getenv)
			if got != test.want {
				t.Errorf("wanted: %t", got)
			}

			if (err == nil) != (test.wrong == "") || err != nil && !strings.HasPrefix(err.Error(), test.wrong+" is ") {
				t.Errorf("error %v, want one about %q", err, test.wrong)
			}
		})
	}
}

func TestWhatIsInAWrongVariableIsNotTold(t *testing.T) {
	t.Parallel()

	var said strings.Builder

	logger := logr.FromSlogHandler(terse{slog.NewJSONHandler(&said, nil)})
	logger.Error(errors.New(`invalid URL escape "%zz"`), "escape header value", "value", "Bearer secret%zz")
	logger.V(1).Info("of no interest", "value", "secret")

	if got := said.String(); !strings.Contains(got, "escape header value") || !strings.Contains(got, "invalid URL escape") {
		t.Errorf("said: %s", got)
	} else if strings.Contains(got, "secret") || strings.Count(got, "\n") != 1 {
		t.Errorf("said too much: %s", got)
	}
}
