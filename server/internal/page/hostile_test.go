package page_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// nasty is what somebody may write where he is let write: markup, the end of an attribute, a template, and characters that turn the order around or do not show.
const nasty = `"><script>alert(1)</script><img src=x onerror=alert(2)>'{{.}}` + "\u202egnp.exe\u2066\u200b\x1b[31m\x07"

// hostile has a node with nasty words in all places into which nodes, callers and logs can put some.
func hostile(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	ctx := t.Context()
	soft, err := nodetest.NewSoft("evil.example", "xen")
	if err != nil {
		t.Fatal(err)
	}
	visible := strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, nasty)
	nodes, err := s.Store.AddNodes(ctx, act(), []trust.Node{{
		Name: "evil.example", Address: strings.ReplaceAll(nasty, "[", "") + ":9443", Pool: "pool", Binding: verifier.BindingInventory, Record: soft.Record(), ServerName: nasty,
		Labels: map[string]string{"rack": visible},
	}})
	if err != nil {
		t.Fatal(err)
	}
	revision, err := s.Store.PolicyRevision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	verdict := trust.Verdict{Level: trust.Untrusted, Reason: trust.QuoteInvalid, Detail: nasty, QuotedAt: time.Now(), ExpiresAt: time.Now().Add(validity), Sets: []string{nasty}}
	if err := s.Store.Record(ctx, []store.Outcome{{Node: nodes[0], PolicyRevision: revision, At: time.Now(), Due: time.Now().Add(time.Hour), Verdict: &verdict}}); err != nil {
		t.Fatal(err)
	}
	said := trust.Suggestions{HostNames: []string{nasty}, SMBIOSUUID: nasty, SMBIOSSerial: nasty}
	node, err := s.Store.Node(ctx, "evil.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Store.Enrolled(ctx, act(), &node, *soft.Record(), said); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.Alarm(ctx, time.Now(), nasty, nasty, nasty); err != nil {
		t.Fatal(err)
	}
	set := trust.Set{
		Name: "evil", Description: visible, Source: visible, Part: trust.Hypervisor, Pools: []string{"pool"},
		KnownGood: verifier.KnownGood{PCRs: []verifier.KnownPCR{{
			Bank: eventlog.AlgSHA256, PCR: 17, Events: []verifier.Slot{{Type: eventlog.TypeHashStart, Description: visible, Digests: []verifier.Hex{make([]byte, 32)}}},
		}}},
	}
	if _, err := s.Store.PutSet(ctx, store.Act{By: nasty, At: time.Now()}, set, 0); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWordsOfOthersAreShownAndDoNothing(t *testing.T) {
	t.Parallel()
	s := hostile(t)
	shown := 0
	for _, path := range []string{
		"/page/", "/page/nodes", "/page/nodes/evil.example", "/page/sets", "/page/sets/evil", "/page/pools/pool", "/page/alarms", "/page/log",
		"/page/nodes?begins=%22%3E%3Cscript%3E&pool=%22%3E%3Cscript%3E&trust=%22%3E%3Cscript%3E&state=%E2%80%AE",
	} {
		a := s.see(t, access.Admin, path)
		for _, bad := range []string{"<script>alert", "<img", "\u202e", "\u2066", "\u200b", "\x1b", "\x07"} {
			if strings.Contains(a.body, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
		shown += strings.Count(a.body, "&lt;script&gt;alert(1)") + strings.Count(a.body, "%3cscript%3e")
	}
	if shown < 8 {
		t.Errorf("the words are shown in %d places only: this looked at something else", shown)
	}
	if a := s.see(t, access.Admin, "/page/nodes/evil.example"); !strings.Contains(a.body, `\u{202e}gnp.exe`) {
		t.Error("what turns the order around is not shown as a number")
	}
}

func TestNamesThatNoNodeHasAreAnsweredWithoutRepeatingThem(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, path := range []string{"/page/nodes/%3Cscript%3Ealert(1)", "/page/sets/%3Cscript%3Ealert(1)", "/page/pools/%3Cscript%3Ealert(1)", "/page/%3Cscript%3Ealert(1)"} {
		a := s.ask(t, s.tokens[access.Admin], http.MethodGet, path, "")
		if a.status != http.StatusNotFound || strings.Contains(a.body, "script>alert") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
