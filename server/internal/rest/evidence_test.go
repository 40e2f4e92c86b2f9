package rest_test

import (
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/cmw"
	"github.com/trustpool/trustpool/verifier/saved"
)

// download unpacks evidence and reads it, as trustpoolctl verify does.
func download(t *testing.T, c *api.Client, node, which string) verifier.Evidence {
	t.Helper()
	stream, err := c.Evidence(t.Context(), node, which)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "evidence")
	if err := errors.Join(saved.ExtractTar(dir, stream), stream.Close()); err != nil {
		t.Fatal(err)
	}
	ev, err := saved.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestEvidenceThatIsDownloadedIsJudgedAgainByOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.as(t, access.Operator)
	set, err := s.Store.Set(t.Context(), "xen")
	if err != nil {
		t.Fatal(err)
	}
	for name, which := range map[string]string{"good.example": "good", "bad.example": "bad"} {
		n, err := c.Node(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		record, err := verifier.ParseNodeRecord(n.Record)
		if err != nil {
			t.Fatal(err)
		}
		for _, which := range []string{which, strconv.FormatInt(n.Verdict.EvidenceID, 10)} {
			ev := download(t, c, name, which)
			// The nonce is the server's word, which a third party has to take: without a nonce of one's own nothing is fresh.
			judged := verifier.Verify(ev, verifier.Policy{Nonce: ev.Nonce, BindMode: verifier.BindBound, KnownGood: set.KnownGood, Node: &record, Selection: set.KnownGood.Selection()})
			if trusted := judged.Verdict == verifier.Trusted; trusted != (name == "good.example") {
				t.Errorf("%s, evidence %s: %s", name, which, judged.Explain())
			}
			own := verifier.Verify(ev, verifier.Policy{BindMode: verifier.BindBound, KnownGood: set.KnownGood, Node: &record, Selection: set.KnownGood.Selection()})
			if own.Verdict == verifier.Trusted {
				t.Errorf("%s is trusted by evidence of an age that nobody knows", name)
			}
		}
	}
}

func TestEvidenceIsGivenToNobodyUnderAnothersName(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.as(t, access.Operator)
	good, err := c.Host(t.Context(), "good")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"bad.example/evidence/" + strconv.FormatInt(good.EvidenceID, 10): http.StatusNotFound, "good/evidence/bad": http.StatusNotFound, "nobody/evidence/good": http.StatusNotFound,
		"good/evidence/9223372036854775807": http.StatusNotFound, "good/evidence/9999999999999999999": http.StatusNotFound,
		"good/evidence/0": http.StatusUnprocessableEntity, "good/evidence/change": http.StatusUnprocessableEntity, "good/evidence/-1": http.StatusUnprocessableEntity,
	} {
		if a := s.ask(t, s.tokens[access.Operator], http.MethodGet, "/v1/nodes/"+path, ""); a.status != want {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	a := s.ask(t, s.tokens[access.Operator], http.MethodGet, "/v1/nodes/good/evidence/good", "")
	if a.header.Get("Content-Type") != "application/x-tar" || !strings.Contains(a.header.Get("Content-Disposition"), ".tar") {
		t.Error(a.header)
	}
}

func TestEvidenceIsGivenAsOneMessageToWhoAcceptsThat(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	want := download(t, s.as(t, access.Operator), "good", api.EvidenceLastGood)
	for accept, kind := range map[string]string{
		"application/cmw+json": "application/cmw+json", "application/cmw+cbor": "application/cmw+cbor", "text/html, application/cmw+cbor;q=0.5, */*": "application/cmw+cbor",
		"application/cmw+json;q=0, application/cmw+cbor": "application/cmw+cbor", "application/x-tar, application/cmw+json": "application/x-tar", "*/*": "application/x-tar",
		"application/cmw+json;q=0.000": "application/x-tar", "application/cmw+json;;=": "application/x-tar", "": "application/x-tar",
	} {
		a := s.ask(t, s.tokens[access.Operator], http.MethodGet, "/v1/nodes/good/evidence/good", "", "Accept", accept)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != kind || !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Accept") {
			t.Errorf("Accept: %q: %d %v", accept, a.status, a.header)
			continue
		}
		if kind == "application/x-tar" {
			continue
		}
		got, err := cmw.Decode([]byte(a.body))
		if err != nil {
			t.Errorf("Accept: %q: %v", accept, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Accept: %q (-tar +message)\n%s", accept, diff)
		}
	}
}

func TestATarThatBreaksOffIsNotUnpacked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	stream, err := s.as(t, access.Operator).Evidence(t.Context(), "good", api.EvidenceLastGood)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "evidence")
	if err := saved.ExtractTar(dir, io.LimitReader(stream, 3000)); err == nil {
		t.Error("half a tar was unpacked")
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	if _, err := saved.Read(dir); err == nil {
		t.Error("half a tar left a folder")
	}
}

func TestANodesHistoryIsThereTheNewestFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.as(t, access.Admin)
	if _, err := c.HoldNode(t.Context(), "good", "a test", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReleaseNode(t.Context(), "good", 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Attest(t.Context(), time.Now(), validity); err != nil {
		t.Fatal(err)
	}
	var got []string
	last := int64(1 << 62)
	for change, err := range c.History(t.Context(), "good") {
		if err != nil || change.Generation >= last || change.Node != "good.example" || change.ChangedAt.IsZero() {
			t.Fatal(change, err)
		}
		last = change.Generation
		got = append(got, string(change.Trust)+" "+change.Reason)
	}
	if want := "trusted ok, unknown policy_changed, untrusted held, trusted ok"; strings.Join(got, ", ") != want {
		t.Error(got)
	}
	page := s.ask(t, s.tokens[access.Reader], http.MethodGet, "/v1/nodes/good/history?limit=1", "")
	if !strings.Contains(page.body, `"next":`) {
		t.Error(page.body)
	}
	for _, err := range c.History(t.Context(), "nobody.example") {
		if !api.IsNotFound(err) {
			t.Error(err)
		}
	}
	if _, err := s.Store.EvidenceOf(t.Context(), "good", 1<<40); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}
