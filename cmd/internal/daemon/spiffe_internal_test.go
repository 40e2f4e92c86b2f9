package daemon

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/trustpool/trustpool/internal/spiffe"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// answerUntil is an answer whose X.509-SVID ends then.
func answerUntil(t *testing.T, end time.Time) *workload.X509SVIDResponse {
	t.Helper()

	ca, err := pki.New("example.org")
	if err != nil {
		t.Fatal(err)
	}

	pair, err := ca.Issue(pki.Leaf{URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/server"}}, Server: true, Client: true, NotAfter: end})
	if err != nil {
		t.Fatal(err)
	}

	key, err := x509.MarshalPKCS8PrivateKey(pair.Certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}

	block, _ := pem.Decode(ca.PEM())

	return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{{
		SpiffeId: "spiffe://example.org/server", X509Svid: pair.Certificate.Certificate[0], X509SvidKey: key, Bundle: block.Bytes,
	}}}
}

// TestTheEndOfTheSVIDEndsServingAndIsSaid has a Workload API that sends no other one in time.
func TestTheEndOfTheSVIDEndsServingAndIsSaid(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()

		s := NewSPIFFE(spiffe.Config{Socket: "unix:///nowhere", TrustDomains: []string{"example.org"}}, slog.New(slog.DiscardHandler))

		var (
			changes atomic.Int64
			remark  atomic.Value
		)

		s.OnChange(func() { changes.Add(1) })
		s.OnRemark(func(line string) { remark.Store(line) })

		go s.watchEnd(ctx) // ends before the test does: synctest waits for it

		end := time.Now().Add(time.Hour)
		s.take(answerUntil(t, end))
		synctest.Wait()
		<-time.After(time.Hour - time.Second)
		synctest.Wait()

		if err := s.Ready(); err != nil || changes.Load() != 1 || remark.Load() != "" {
			t.Errorf("a second before the end: %v, %d changes, %q", err, changes.Load(), remark.Load())
		}

		<-time.After(3 * time.Second)
		synctest.Wait()

		if err := s.Ready(); err == nil || changes.Load() != 2 || !strings.Contains(remark.Load().(string), "the X.509-SVID ended at") {
			t.Errorf("after the end: %v, %d changes, %q", err, changes.Load(), remark.Load())
		}

		if _, err := s.ServerTLS(false).config(); err == nil {
			t.Error("a handshake is begun after the end")
		}

		if _, err := s.ClientConfig("spiffe://example.org/node"); err == nil {
			t.Error("somebody can be called after the end")
		}

		s.take(answerUntil(t, time.Now().Add(time.Hour)))
		synctest.Wait()

		if err := s.Ready(); err != nil || changes.Load() != 3 || remark.Load() != "" {
			t.Errorf("with another one: %v, %d changes, %q", err, changes.Load(), remark.Load())
		}
	})
}
