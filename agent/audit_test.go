package agent_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/trustpool/trustpool/agent"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// lines is a log that a test reads.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // closed at the next write; nil if nobody waits for it
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}

	return l.text.Write(b)
}

// wait returns as soon as there is a line with these words. A client knows that it was not let in before the agent has written it down.
func (l *lines) wait(t *testing.T, words ...string) {
	t.Helper()

	for {
		l.mu.Lock()
		if l.grown == nil {
			l.grown = make(chan struct{})
		}

		grown := l.grown
		l.mu.Unlock()

		if l.with(words...) != "" {
			return
		}

		select {
		case <-grown:
		case <-time.After(time.Minute):
			t.Fatalf("no line with %q", words)
		}
	}
}

func (l *lines) with(words ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()

	for line := range strings.Lines(l.text.String()) {
		if hasAll(line, words...) {
			return line
		}
	}

	return ""
}

func hasAll(line string, words ...string) bool {
	for _, word := range words {
		if !strings.Contains(line, word) {
			return false
		}
	}

	return true
}

func TestOneLineTellsOfEachQuoteAndDenial(t *testing.T) {
	t.Parallel()

	log, path := &lines{}, filepath.Join(t.TempDir(), "audit.log")
	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, deps *agent.Deps) {
		config.Audit.File = path
		deps.Logger = slog.New(slog.NewJSONHandler(log, nil))
	})
	n.waitUntilServing(t)

	var trailer metadata.MD

	request := goodRequest()
	if _, err := n.as(t, rawer).Quote(t.Context(), request, grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}

	id := strings.Join(trailer.Get(agent.RequestIDKey), " ")
	if len(id) != 32 {
		t.Fatalf("request id %q", id)
	}

	_, err := n.as(t, quoter).Quote(t.Context(), request, grpc.Trailer(&trailer))
	wantRefusal(t, err, codes.PermissionDenied, agentv1.ErrorReason_ERROR_REASON_ROLE_MISSING)

	request.PcrSelections = []*agentv1.PcrSelection{{HashAlgo: agentv1.HashAlgo_HASH_ALGO_SHA1, PcrIndices: []int32{0, -1, 99}}, {HashAlgo: 99}}
	_, err = n.as(t, rawer).Quote(t.Context(), request)
	wantRefusal(t, err, codes.InvalidArgument, agentv1.ErrorReason_ERROR_REASON_PCR_OUT_OF_RANGE)

	nobody := n.issue(t, pki.Leaf{DNSNames: []string{"nobody.example"}, Client: true})
	if err := ask(t, n.with(t, nobody.Certificate)); err == nil {
		t.Fatal("nobody was let in")
	}

	n.end(t) // the stranger hears of its refusal before that is written down

	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	audited := &lines{}
	_, _ = audited.Write(file)

	for name, l := range map[string]*lines{"log": log, "file": audited} {
		if l.with(`"msg":"quote"`, `"request_id":"`+id+`"`, `"identity":"dns:`+rawer+`"`, `"address":"127.0.0.1:`, `"nonce_sha256":"`, `"bind_mode":"BIND_MODE_RAW"`,
			`"ak_name":"000b`, `"pcrs":"sha256:17,18,19"`, `"result":"ok"`, `"took":`, `"queue_time":`, `"tpm_time":`) == "" {
			t.Errorf("%s: no line of the quote", name)
		}

		if l.with(`"msg":"quote refused"`, `"identity":"dns:`+quoter+`"`, `"nonce_sha256":"`, `"bind_mode":"BIND_MODE_RAW"`, `"pcrs":"sha256:17,18,19"`, `"result":"role_missing"`) == "" {
			t.Errorf("%s: no line of the refusal", name)
		}

		if l.with(`"msg":"quote refused"`, `"identity":"dns:`+rawer+`"`, `"pcrs":"sha1:0+0x0063:"`, `"result":"pcr_out_of_range"`) == "" {
			t.Errorf("%s: no line of the PCRs that there are not", name)
		}

		if l.with(`"msg":"connection refused"`, `"identity":"dns:nobody.example"`, `"address":"127.0.0.1:`) == "" {
			t.Errorf("%s: no line of the stranger", name)
		}
	}

	if strings.Contains(string(file), string(request.GetNonce())) {
		t.Error("a nonce is written out")
	}
}

func TestTheAuditFileIsOpenedAgain(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "audit.log")
	n := newNodeWith(t, tpmsim.NoLaunch, func(config *agent.Config, _ *agent.Deps) { config.Audit.File = path })
	n.waitUntilServing(t)
	client := n.as(t, rawer)
	mustQuote(t, client, goodRequest())

	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}

	mustQuote(t, client, goodRequest())

	if err := n.agent.Reload(n.config); err != nil {
		t.Fatal(err)
	}

	mustQuote(t, client, goodRequest())

	for file, want := range map[string]int{path + ".1": 2, path: 1} {
		content, err := os.ReadFile(file)
		if got := bytes.Count(content, []byte("\n")); err != nil || got != want {
			t.Errorf("%s has %d lines, want %d, %v", filepath.Base(file), got, want, err)
		}
	}
}

func TestAPanicAtTheTPMLeavesItsTurnToTheNext(t *testing.T) {
	t.Parallel()

	log := &lines{}
	n := newNode(t, tpmsim.NoLaunch, func(deps *agent.Deps) { deps.Logger = slog.New(slog.NewJSONHandler(log, nil)) })
	n.waitUntilServing(t)
	client := n.as(t, rawer)

	n.tpm.onQuote(func() { panic("boom") })

	_, err := client.Quote(t.Context(), goodRequest())
	wantRefusal(t, err, codes.Internal, agentv1.ErrorReason_ERROR_REASON_AGENT_FAILED)
	n.tpm.onQuote(nil)
	mustQuote(t, client, goodRequest())

	if log.with(`"msg":"quote refused"`, `"result":"agent_failed"`) == "" || log.with(`"level":"ERROR"`, `"panic":"boom"`, `"stack":"goroutine`) == "" {
		t.Error("the log has no line of it")
	}
}
