package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/trustpool/trustpool/internal/daemontest"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// collector takes spans, as OpenTelemetry's own does.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer

	address  string
	requests chan *collectorv1.ExportTraceServiceRequest
}

// Export implements collectorv1.TraceServiceServer.
func (c *collector) Export(_ context.Context, request *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.requests <- request

	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func collect(t *testing.T) *collector {
	t.Helper()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	c := &collector{address: listener.Addr().String(), requests: make(chan *collectorv1.ExportTraceServiceRequest, 100)}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)

	served := make(chan error, 1)

	go func() { served <- server.Serve(listener) }()

	t.Cleanup(func() {
		server.Stop()

		if err := <-served; err != nil {
			t.Errorf("collecting: %v", err)
		}
	})

	return c
}

// received returns all that the collector has got, and its bytes. The agent has ended.
func (c *collector) received(t *testing.T) (spans []*tracev1.Span, resources []map[string]string, raw []byte) {
	t.Helper()

	for {
		select {
		case request := <-c.requests:
			content, err := proto.Marshal(request)
			if err != nil {
				t.Fatal(err)
			}

			raw = append(raw, content...)

			for _, of := range request.GetResourceSpans() {
				resources = append(resources, attributes(of.GetResource().GetAttributes()))
				for _, scope := range of.GetScopeSpans() {
					spans = append(spans, scope.GetSpans()...)
				}
			}
		default:
			return spans, resources, raw
		}
	}
}

func attributes(list []*commonv1.KeyValue) map[string]string {
	all := make(map[string]string)
	for _, pair := range list {
		all[pair.GetKey()] = pair.GetValue().GetStringValue()
	}

	return all
}

// one returns the only span of that name.
func one(t *testing.T, spans []*tracev1.Span, name string) *tracev1.Span {
	t.Helper()

	var found []*tracev1.Span

	for _, span := range spans {
		if span.GetName() == name {
			found = append(found, span)
		}
	}

	if len(found) != 1 {
		t.Fatalf("%d spans of the name %s, in %v", len(found), name, spans)
	}

	return found[0]
}

// simulate starts the agent on a simulated node, and connects to it.
func simulate(t *testing.T, env ...string) (*process, *grpc.ClientConn) {
	t.Helper()

	p := launchWith(t, env, "--simulator")
	words := p.tryLine(t)

	conn, err := grpc.NewClient(words[3], grpc.WithTransportCredentials(clientTLS(t, words[5])))
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })

	return p, conn
}

const tracedNonce = "a nonce that nobody must see"

func TestACollectorIsSentASpanOfEachCallAndItsTurnAtTheTPM(t *testing.T) {
	t.Parallel()

	collector := collect(t)
	p, conn := simulate(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+collector.address, "OTEL_RESOURCE_ATTRIBUTES=rack=12")

	const traceID, parentID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+traceID+"-"+parentID+"-01")
	client := agentv1.NewQuoteServiceClient(conn)

	response, err := client.Quote(ctx, &agentv1.QuoteRequest{Nonce: []byte(tracedNonce), BindMode: agentv1.BindMode_BIND_MODE_RAW})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}

	// It was not five seconds, after which spans are sent at the latest: the end has to send them.
	if code := p.end(t, syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d\n%s", code, p.stderr.String())
	}

	spans, resources, raw := collector.received(t)
	call, queue, use := one(t, spans, "trustpool.agent.v1.QuoteService/Quote"), one(t, spans, "tpm.queue"), one(t, spans, "tpm.use")

	if len(spans) != 3 {
		t.Errorf("%d spans: %v", len(spans), spans)
	}

	for _, span := range spans {
		if got := hex.EncodeToString(span.GetTraceId()); got != traceID {
			t.Errorf("%s is of trace %s", span.GetName(), got)
		}
	}

	if got := hex.EncodeToString(call.GetParentSpanId()); got != parentID {
		t.Errorf("the call's parent is %s", got)
	}

	for _, span := range []*tracev1.Span{queue, use} {
		if !bytes.Equal(span.GetParentSpanId(), call.GetSpanId()) {
			t.Errorf("%s is not a part of the call", span.GetName())
		}
	}

	times := []uint64{
		call.GetStartTimeUnixNano(), queue.GetStartTimeUnixNano(), queue.GetEndTimeUnixNano(), use.GetStartTimeUnixNano(), use.GetEndTimeUnixNano(), call.GetEndTimeUnixNano(),
	}
	if !slices.IsSorted(times) || times[2] != times[3] || times[3] == times[4] {
		t.Errorf("times: %v", times)
	}

	got := attributes(call.GetAttributes())
	want := map[string]string{
		"trustpool.identity": "dns:" + simulatorClient, "trustpool.result": "ok", "trustpool.bind_mode": "BIND_MODE_RAW",
		"trustpool.nonce_sha256": "e627d1f98be52391ccf585f793ef7172a7adc743ee54c9290ec6e43fd6eb5e64",
		"trustpool.ak_name":      hex.EncodeToString(response.GetAkName()), "trustpool.pcrs": "sha256:17,18,19",
	}

	maps.DeleteFunc(got, func(key, _ string) bool {
		return !strings.HasPrefix(key, "trustpool.") || key == "trustpool.request_id"
	})

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the call's attributes (-want +got):\n%s", diff)
	}

	for _, secret := range []string{
		tracedNonce, hex.EncodeToString([]byte(tracedNonce)), base64.StdEncoding.EncodeToString([]byte(tracedNonce)), string(response.GetQuoted()),
		string(response.GetQuoteSignature()),
	} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the collector was told %q", secret)
		}
	}

	if of := resources[0]; of["service.name"] != "trustpool-agent" || of["service.version"] == "" || of["host.name"] == "" || of["rack"] != "12" {
		t.Errorf("resource: %v", of)
	}
}

func TestASpanTellsWhyThereIsNoQuote(t *testing.T) {
	t.Parallel()

	collector := collect(t)
	p, conn := simulate(t, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://"+collector.address)

	_, err := agentv1.NewQuoteServiceClient(conn).Quote(t.Context(), &agentv1.QuoteRequest{Nonce: []byte("short"), BindMode: agentv1.BindMode_BIND_MODE_RAW})
	if status.Code(err) != codes.InvalidArgument {
		t.Fatal(err)
	}

	p.end(t, syscall.SIGTERM)

	spans, _, _ := collector.received(t)
	if got := attributes(one(t, spans, "trustpool.agent.v1.QuoteService/Quote").GetAttributes())["trustpool.result"]; got != "nonce_too_short" {
		t.Errorf("result %q", got)
	}
}

func TestWithoutACollectorQuotesAreGivenAndTheAgentEnds(t *testing.T) {
	t.Parallel()

	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()

	for name, address := range map[string]string{"nobody listens": daemontest.FreeAddress(t), "it says nothing": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			// With room for one span, and each sent at once, all but a few have nowhere to go.
			p, conn := simulate(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+address, "OTEL_BSP_MAX_QUEUE_SIZE=1", "OTEL_BSP_SCHEDULE_DELAY=1",
				"OTEL_EXPORTER_OTLP_TIMEOUT=100", "OTEL_BSP_EXPORT_TIMEOUT=100")

			for range 50 {
				if _, err := agentv1.NewQuoteServiceClient(conn).Quote(t.Context(), &agentv1.QuoteRequest{
					Nonce: []byte(tracedNonce), BindMode: agentv1.BindMode_BIND_MODE_RAW,
				}); err != nil {
					t.Fatal(err)
				}
			}

			p.stderr.wait(t, "spans can't be sent")

			if code := p.end(t, syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}

			if said := p.stderr.String(); strings.Count(said, "spans can't be sent") != 1 {
				t.Errorf("told more than once:\n%s", said)
			}
		})
	}
}

func TestWhatDisablesTracingKeepsTheAgentFromTheCollector(t *testing.T) {
	t.Parallel()

	collector := collect(t)

	for variable, said := range map[string]string{
		"OTEL_SDK_DISABLED=true":                    "",
		"OTEL_TRACES_EXPORTER=none":                 "",
		"OTEL_TRACES_EXPORTER=zipkin":               "write otlp or none",
		"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf": "write grpc",
	} {
		t.Run(variable, func(t *testing.T) {
			t.Parallel()

			p, conn := simulate(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+collector.address, variable)

			if _, err := agentv1.NewQuoteServiceClient(conn).GetCapabilities(t.Context(), &agentv1.GetCapabilitiesRequest{}); err != nil {
				t.Error(err)
			}

			if code := p.end(t, syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}

			if log := p.stderr.String(); !strings.Contains(log, said) || strings.Contains(log, "nothing is traced") != (said != "") {
				t.Errorf("log:\n%s", log)
			}

			if spans, _, _ := collector.received(t); len(spans) > 0 {
				t.Errorf("spans: %v", spans)
			}
		})
	}
}
