package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	// The Workload API is asked again after firstWait, and then after twice as long each time, up to mostWait: it is on this machine, so that asking costs little.
	firstWait, mostWait = 200 * time.Millisecond, 5 * time.Second
	// maxAnswer bounds an answer of the Workload API, in bytes: a bundle with a hundred authorities has about 100 KB.
	maxAnswer = 8 << 20
)

// Run follows the Workload API until ctx ends.
func (s *SPIFFE) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		s.follow(ctx)

		return nil
	})
	group.Go(func() error {
		s.watchEnd(ctx)

		return nil
	})

	return group.Wait()
}

// follow asks again whenever the API has ended what it sends.
func (s *SPIFFE) follow(ctx context.Context) {
	wait := firstWait

	for {
		answered, err := s.listen(ctx)
		if ctx.Err() != nil {
			return
		}

		if status.Code(err) == codes.PermissionDenied {
			s.up.Store(true)
			s.withdraw(fmt.Errorf("%w: %s", errNoSVID, status.Convert(err).Message()))
		} else {
			s.away(errors.New(status.Convert(err).Message()))
		}

		if answered {
			wait = firstWait
		}

		// Not all daemons of a machine at the same moment.
		pause := time.NewTimer(wait/2 + rand.N(wait/2)) // #nosec G404 -- nothing is to be guessed here

		select {
		case <-ctx.Done():
			pause.Stop()

			return
		case <-pause.C:
		}

		wait = min(2*wait, mostWait)
	}
}

// listen takes what the API sends over one connection, and returns why it ended.
func (s *SPIFFE) listen(ctx context.Context) (answered bool, err error) {
	// The kernel says who is at the other end of a unix socket, in both directions: by its path, and by the process's credentials.
	conn, err := grpc.NewClient(s.config.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // nothing is under way on it

	// SPIFFE Workload Endpoint, 6: without it no server answers, so that no browser can be made to ask.
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", "true"))
	defer cancel()

	stream, err := workload.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		return false, err
	}

	for {
		response, err := stream.Recv()
		if err != nil {
			return answered, err
		}

		answered = true

		s.take(response)
	}
}

// watchEnd says when the X.509-SVID has ended: nothing else happens then, and connections have to be closed.
func (s *SPIFFE) watchEnd(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()

	for told := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-s.ending:
			told = false
		case <-timer.C:
		}

		present := s.present.Load()
		if present == nil {
			continue // the next one wakes us
		}

		if now := time.Now(); !present.ended(now) {
			timer.Reset(present.server.certificate.NotAfter.Sub(now) + time.Millisecond)

			continue
		}

		if !told {
			told = true

			s.logger.Error("nobody is served or called until there is another X.509-SVID", "error", s.Ready())
			s.retell()
			s.hasChanged()
		}
	}
}

// retell gives the remark again, if time has made another one of it.
func (s *SPIFFE) retell() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.tell()
}
