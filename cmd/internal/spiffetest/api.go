package spiffetest

import (
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// API is a Workload API. Whoever asks has the same answer: it attests nobody.
type API struct {
	workload.UnimplementedSpiffeWorkloadAPIServer

	path string

	mu      sync.Mutex
	server  *grpc.Server // nil while it is away; guarded by mu, as all below
	answer  *workload.X509SVIDResponse
	changed chan struct{} // closed when there is another answer
	denied  bool
}

// New returns one on a socket of its own, which is away.
func New(t testing.TB) *API {
	t.Helper()

	// Not t.TempDir, which has the test's name in it: no path of a unix socket has more than 107 bytes.
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}

	a := &API{path: filepath.Join(dir, "api.sock"), changed: make(chan struct{})}

	t.Cleanup(func() {
		a.Stop()

		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})

	return a
}

// Socket returns its address, unix:///PATH.
func (a *API) Socket() string { return "unix://" + a.path }

// Start has it come back.
func (a *API) Start(t testing.TB) {
	t.Helper()

	listener, err := net.Listen("unix", a.path)
	if err != nil {
		t.Fatal(err)
	}

	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)

	a.mu.Lock()
	a.server = server
	a.mu.Unlock()

	go func() { _ = server.Serve(listener) }() // Stop ends it
}

// Stop has it go away, with all connections and its socket. It may be away already.
func (a *API) Stop() {
	a.mu.Lock()
	server := a.server
	a.server = nil
	a.mu.Unlock()

	if server != nil {
		server.Stop()
	}
}

// Give sends an answer to all who listen and who will.
func (a *API) Give(answer *workload.X509SVIDResponse) { a.change(answer, false) }

// Deny tells all who listen and who will that they have no X.509-SVID.
func (a *API) Deny() { a.change(nil, true) }

func (a *API) change(answer *workload.X509SVIDResponse, denied bool) {
	a.mu.Lock()
	defer a.mu.Unlock()

	a.answer, a.denied = answer, denied
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *API) now() (answer *workload.X509SVIDResponse, denied bool, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()

	return a.answer, a.denied, a.changed
}

// FetchX509SVID implements the RPC of that name.
func (a *API) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	// SPIFFE Workload Endpoint, 6.
	if header, _ := metadata.FromIncomingContext(stream.Context()); len(header.Get("workload.spiffe.io")) != 1 || header.Get("workload.spiffe.io")[0] != "true" {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}

	for {
		answer, denied, changed := a.now()
		if denied {
			return status.Error(codes.PermissionDenied, "no identity issued")
		}

		if answer != nil {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}

		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}
