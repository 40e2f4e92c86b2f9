package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// hostileNode answers whatever the test tells it to.
type hostileNode struct {
	agentv1.UnimplementedQuoteServiceServer
	quote        func(*agentv1.QuoteRequest) (*agentv1.QuoteResponse, error)
	capabilities func() (*agentv1.GetCapabilitiesResponse, error)
	eventLog     func(*agentv1.GetEventLogRequest, sender) error
}

// sender sends one piece of a log.
type sender func(*agentv1.GetEventLogResponse) error

func (n *hostileNode) Quote(_ context.Context, req *agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) {
	return n.quote(req)
}

func (n *hostileNode) GetEventLog(req *agentv1.GetEventLogRequest, stream grpc.ServerStreamingServer[agentv1.GetEventLogResponse]) error {
	return n.eventLog(req, stream.Send)
}

func (n *hostileNode) GetCapabilities(context.Context, *agentv1.GetCapabilitiesRequest) (*agentv1.GetCapabilitiesResponse, error) {
	return n.capabilities()
}

// dialNode returns a client of node, whose transport is memory.
func dialNode(t *testing.T, node *hostileNode) *Client {
	t.Helper()

	return dialServer(t, func(server *grpc.Server) { agentv1.RegisterQuoteServiceServer(server, node) })
}

// dialServer returns a client of the services that register registers.
func dialServer(t *testing.T, register func(*grpc.Server)) *Client {
	t.Helper()

	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("serving: %v", err)
		}
	})

	conn, err := grpc.NewClient("passthrough:///node",
		append(limits(),
			grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return listener.Dial() }),
			grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient("node", conn)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// honest is an answer that is taken.
func honest() *agentv1.QuoteResponse {
	content := []byte("a log")
	return &agentv1.QuoteResponse{
		Quoted:         make([]byte, maxQuoted),
		QuoteSignature: make([]byte, maxSignature),
		PcrBanks:       []*agentv1.PcrBank{bank(maxPCRs), bank(1)},
		AkName:         make([]byte, maxName),
		AkPublic:       make([]byte, maxPublic),
		Logs:           []*agentv1.LogReference{logOf("txt", content), {Source: "firmware", State: agentv1.LogState_LOG_STATE_ABSENT, Detail: "none here"}},
		Aggregation:    &agentv1.Aggregation{Salt: make([]byte, maxSalt), Index: maxAggregate, Size: maxAggregate, InclusionProof: hashes(maxProof)},
		Hints: &agentv1.UnsignedHints{
			BootId:       "0ccb7aa4",
			LaunchStatus: agentv1.LaunchStatus_LAUNCH_STATUS_LAUNCHED,
			AgentVersion: "v0.1.0",
		},
	}
}

func bank(pcrs int) *agentv1.PcrBank {
	b := &agentv1.PcrBank{HashAlgo: agentv1.HashAlgo_HASH_ALGO_SHA256}
	for i := range pcrs {
		b.PcrValues = append(b.PcrValues, &agentv1.PcrValue{PcrIndex: int32(i), Value: make([]byte, maxPCRValue)})
	}
	return b
}

func hashes(n int) [][]byte {
	var list [][]byte
	for i := range n {
		list = append(list, bytes.Repeat([]byte{byte(i)}, maxHash))
	}
	return list
}

func logOf(source string, content []byte) *agentv1.LogReference {
	digest := sha256.Sum256(content)
	return &agentv1.LogReference{
		Source:  source,
		State:   agentv1.LogState_LOG_STATE_AVAILABLE,
		Format:  agentv1.LogFormat_LOG_FORMAT_TCG_CRYPTO_AGILE,
		Sha256:  digest[:],
		Size:    uint64(len(content)),
		Content: content,
	}
}

func TestQuoteRefusesWhatNoHonestNodeSends(t *testing.T) {
	t.Parallel()

	half := make([]byte, maxLogBytes/2+1)
	tests := map[string]struct {
		spoil func(*agentv1.QuoteResponse)
		want  string
	}{
		"quoted one byte too long":    {func(r *agentv1.QuoteResponse) { r.Quoted = append(r.Quoted, 0) }, "quoted: 4097"},
		"signature one byte too long": {func(r *agentv1.QuoteResponse) { r.QuoteSignature = append(r.QuoteSignature, 0) }, "quote_signature: 2049"},
		"AK public one byte too long": {func(r *agentv1.QuoteResponse) { r.AkPublic = append(r.AkPublic, 0) }, "ak_public: 2049"},
		"AK certificate too long":     {func(r *agentv1.QuoteResponse) { r.AkCertificate = make([]byte, maxCertificate+1) }, "ak_certificate: 8193"},
		"AK name one byte too long":   {func(r *agentv1.QuoteResponse) { r.AkName = append(r.AkName, 0) }, "ak_name: 67"},
		"nine banks": {func(r *agentv1.QuoteResponse) {
			for len(r.PcrBanks) < maxBanks+1 {
				r.PcrBanks = append(r.PcrBanks, bank(1))
			}
		}, "pcr_banks: 9"},
		"25 PCRs in a bank": {func(r *agentv1.QuoteResponse) {
			r.PcrBanks[0].PcrValues = append(r.PcrBanks[0].PcrValues, &agentv1.PcrValue{})
		}, "pcr_values: 25"},
		"PCR 24":                 {func(r *agentv1.QuoteResponse) { r.PcrBanks[0].PcrValues[0].PcrIndex = 24 }, "pcr_index is 24"},
		"PCR -1":                 {func(r *agentv1.QuoteResponse) { r.PcrBanks[0].PcrValues[0].PcrIndex = -1 }, "pcr_index is -1"},
		"PCR value too long":     {func(r *agentv1.QuoteResponse) { r.PcrBanks[0].PcrValues[0].Value = make([]byte, 65) }, "value: 65"},
		"hash above 16 bits":     {func(r *agentv1.QuoteResponse) { r.PcrBanks[0].HashAlgo = 1<<16 + 11 }, "hash_algo 65547"},
		"hash below 0":           {func(r *agentv1.QuoteResponse) { r.PcrBanks[0].HashAlgo = -1 }, "hash_algo -1"},
		"hash unspecified":       {func(r *agentv1.QuoteResponse) { r.PcrBanks[0].HashAlgo = 0 }, "hash_algo 0"},
		"salt one byte too long": {func(r *agentv1.QuoteResponse) { r.Aggregation.Salt = make([]byte, 33) }, "salt: 33"},
		"index above all trees":  {func(r *agentv1.QuoteResponse) { r.Aggregation.Index = 1025 }, "index: 1025"},
		"tree of 1025 leaves":    {func(r *agentv1.QuoteResponse) { r.Aggregation.Size = 1025 }, "size: 1025"},
		"tree of all bits":       {func(r *agentv1.QuoteResponse) { r.Aggregation.Size = 1<<32 - 1 }, "size: 4294967295"},
		"proof of 11 hashes":     {func(r *agentv1.QuoteResponse) { r.Aggregation.InclusionProof = make([][]byte, 11) }, "inclusion_proof: 11"},
		"hash one byte too long": {func(r *agentv1.QuoteResponse) { r.Aggregation.InclusionProof[9] = make([]byte, 33) }, "a hash of inclusion_proof: 33"},
		"17 logs":                {func(r *agentv1.QuoteResponse) { r.Logs = make([]*agentv1.LogReference, 17) }, "logs: 17"},
		"two logs of one name":   {func(r *agentv1.QuoteResponse) { r.Logs[1].Source = "txt" }, "two logs are called txt"},
		"log without a name":     {func(r *agentv1.QuoteResponse) { r.Logs[1].Source = "" }, `"" is no name`},
		"log named by a path":    {func(r *agentv1.QuoteResponse) { r.Logs[1].Source = "../txt" }, "is no name"},
		"log named by a path inside": {
			func(r *agentv1.QuoteResponse) { r.Logs[1].Source = "a/b" }, "is no name",
		},
		"log named like an option": {func(r *agentv1.QuoteResponse) { r.Logs[1].Source = "-rf" }, "is no name"},
		"log name too long": {
			func(r *agentv1.QuoteResponse) { r.Logs[1].Source = strings.Repeat("a", maxSource+1) }, "is no name",
		},
		"log digest of 31 bytes":    {func(r *agentv1.QuoteResponse) { r.Logs[1].Sha256 = make([]byte, 31) }, "sha256 has 31 bytes"},
		"log size beyond the bound": {func(r *agentv1.QuoteResponse) { r.Logs[1].Size = maxLogBytes + 1 }, "has 16777217 bytes"},
		"log with another digest":   {func(r *agentv1.QuoteResponse) { r.Logs[0].Sha256 = make([]byte, 32) }, "has the SHA-256"},
		"log without a digest":      {func(r *agentv1.QuoteResponse) { r.Logs[0].Sha256 = nil }, "has the SHA-256"},
		"log with another size":     {func(r *agentv1.QuoteResponse) { r.Logs[0].Size++ }, "has 5 bytes, its reference says 6"},
		"log detail too long":       {func(r *agentv1.QuoteResponse) { r.Logs[1].Detail = strings.Repeat("a", maxDetail+1) }, "detail: 2049"},
		"boot id too long":          {func(r *agentv1.QuoteResponse) { r.Hints.BootId = strings.Repeat("a", maxHint+1) }, "boot_id: 257"},
		"agent version too long":    {func(r *agentv1.QuoteResponse) { r.Hints.AgentVersion = strings.Repeat("a", maxHint+1) }, "agent_version: 257"},
		"logs together over 16 MiB": {func(r *agentv1.QuoteResponse) { r.Logs = []*agentv1.LogReference{logOf("a", half), logOf("b", half)} }, "the logs together: 16777218"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			resp := honest()
			test.spoil(resp)
			c := dialNode(t, &hostileNode{quote: func(*agentv1.QuoteRequest) (*agentv1.QuoteResponse, error) { return resp, nil }})

			reply, err := c.Quote(t.Context(), QuoteOptions{Raw: true})
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want ErrMalformed and %q", err, test.want)
			}
			if len(reply.Evidence.Quoted) != 0 {
				t.Error("an answer that was refused left evidence behind")
			}
		})
	}
}
