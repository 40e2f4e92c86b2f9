package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/pgtest"
	"github.com/trustpool/trustpool/tpmsim"
)

// delivery is what the receiver of a webhook got.
type delivery struct {
	header http.Header
	body   []byte
}

// pager is the receiver of a webhook: a server over TLS that can be away.
type pager struct {
	*httptest.Server
	key []byte

	mu   sync.Mutex
	away bool       // whoever connects is hung up on; guarded by mu, as all below
	lose int        // of so many requests to come the answer is lost
	got  []delivery // whatever came in, those whose answer was lost included
}

// flaky hangs up on whoever connects while the pager is away.
type flaky struct {
	net.Listener
	p *pager
}

// Accept implements net.Listener.
func (f flaky) Accept() (net.Conn, error) {
	for {
		conn, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		f.p.mu.Lock()
		away := f.p.away
		f.p.mu.Unlock()
		if !away {
			return conn, nil
		}
		_ = conn.Close() // that is what being away comes to
	}
}

func newPager(t *testing.T) *pager {
	t.Helper()

	p := &pager{key: []byte("0123456789abcdef0123456789abcdef")}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(p.take))
	p.Listener = flaky{p.Listener, p}
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func (p *pager) take(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed
	}
	p.mu.Lock()
	p.got = append(p.got, delivery{r.Header.Clone(), body})
	isLost := p.lose > 0
	p.lose--
	p.mu.Unlock()
	if isLost {
		panic(http.ErrAbortHandler)
	}
}

// isAway has the pager go, or come back.
func (p *pager) isAway(away bool) {
	p.mu.Lock()
	p.away = away
	p.mu.Unlock()
	p.CloseClientConnections()
}

func (p *pager) deliveries() []delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// hook has a site tell the pager, as the documentation says.
func (x *site) hook(t *testing.T, p *pager) {
	t.Helper()

	config, err := os.ReadFile(x.config)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"pager-secret":          "whsec_" + base64.StdEncoding.EncodeToString(p.key) + "\n",
		"pager-ca.pem":          string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})),
		filepath.Base(x.config): string(config) + fmt.Sprintf("webhooks:\n  - {name: pager, url: %q, pools: [pool], secret_file: %[2]s/pager-secret, ca: %[2]s/pager-ca.pem, max_age: 24h}\n", p.URL+"/trustpool", x.dir),
	} {
		if err := os.WriteFile(filepath.Join(x.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// expected is the documented message of each change that a server knows of, by its id: what the API says in its own bytes, in the order of the changes.
func (x *site) expected(t *testing.T) (ids []string, messages map[string]any) {
	t.Helper()

	type message struct {
		generation float64
		id         string
	}
	var all []message
	messages = make(map[string]any)
	p := x.person(t)
	for _, n := range x.nodes {
		status, text := p.asks(x, "/v1/nodes/"+n.name+"/history?limit=1000")
		var page struct{ Changes []map[string]any }
		if err := json.Unmarshal([]byte(text), &page); err != nil || status != http.StatusOK {
			t.Fatalf("%d %.300s, %v", status, text, err)
		}
		for _, change := range page.Changes {
			at, err := time.Parse(time.RFC3339, fmt.Sprint(change["changed_at"]))
			if err != nil {
				t.Fatal(err)
			}
			generation := change["generation"].(float64)
			id := fmt.Sprintf("verdict_%.0f_%d", generation, at.UnixMilli())
			messages[id] = map[string]any{"type": "verdict", "timestamp": change["changed_at"], "data": change}
			all = append(all, message{generation, id})
		}
	}
	slices.SortFunc(all, func(a, b message) int { return int(a.generation - b.generation) })
	for _, m := range all {
		ids = append(ids, m.id)
	}
	return ids, messages
}

// check looks at each delivery: whether it is what it has to be, signed by the specification's words (Standard Webhooks 1.0.0, "Verifying webhook authenticity"). It returns their ids.
func (p *pager) check(t *testing.T, x *site) (ids []string) {
	t.Helper()

	deliveries := p.deliveries() // before asking for the changes, which go on
	_, messages := x.expected(t)
	for _, d := range deliveries {
		id, at := d.header.Get("webhook-id"), d.header.Get("webhook-timestamp")
		mac := hmac.New(sha256.New, p.key)
		_, _ = io.WriteString(mac, id+"."+at+"."+string(d.body))
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); d.header.Get("webhook-signature") != want {
			t.Errorf("%s is signed by %s, not %s", id, d.header.Get("webhook-signature"), want)
		}
		seconds, err := strconv.ParseInt(at, 10, 64)
		if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Hour || d.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", id, d.header)
		}
		var got any
		if err := json.Unmarshal(d.body, &got); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(messages[id], got); diff != "" {
			t.Errorf("%s (-documented +got):\n%s", id, diff)
		}
		ids = append(ids, id)
	}
	return ids
}

// TestAWebhookIsToldOfEachChangeThroughDeathsAndAbsences has two servers on PostgreSQL tell a receiver of real nodes that boot what they should not. The receiver goes away, the server that was telling it
// is killed, and the receiver comes back.
func TestAWebhookIsToldOfEachChangeThroughDeathsAndAbsences(t *testing.T) {
	t.Parallel()

	p := newPager(t)
	one := newSite(t, 2, 3*time.Second, pgtest.Start(t).Database(t))
	one.hook(t, p)
	two := one.replica(t)
	one.start(t)
	two.start(t)
	one.furnish(t)
	bad := one.nodes[1]
	boots := func(what tpmsim.Scenario, at *site) {
		t.Helper()
		bad.reboot(t, what)
		at.waitUntil(t, "the verdicts are right", (&witness{site: at}).allRight)
	}
	told := func(at *site, times int) (want []string) { // of all changes that there are, with some of them told several times
		t.Helper()
		want, _ = at.expected(t)
		at.waitUntil(t, "the receiver was told of all changes", func(context.Context) bool { return len(p.deliveries()) >= len(want)+times })
		return want
	}
	one.waitUntil(t, "the verdicts are right", (&witness{site: one}).allRight)
	boots(tpmsim.OtherHypervisor, one)
	told(one, 0)
	if !slices.ContainsFunc(p.deliveries(), func(d delivery) bool {
		var m api.Delivery
		err := json.Unmarshal(d.body, &m)
		c := m.Data
		return err == nil && c.Node == bad.name && c.Pool == "pool" && c.Trust == api.Untrusted && c.Reason == "pcr_mismatch" && c.Rebooted && strings.Contains(c.Detail, "PCR 17")
	}) {
		t.Errorf("of the bad hypervisor it was not told: %s", p.deliveries())
	}

	// The receiver goes. Whoever tries to tell it is killed, and more happens.
	p.isAway(true)
	boots(tpmsim.NoLaunch, one)
	var teller *site
	one.waitUntil(t, "a server fails to tell", func(context.Context) bool {
		for _, x := range []*site{one, two} {
			if strings.Contains(x.said.String(), "a webhook can't be told of changes") {
				teller = x
			}
		}
		return teller != nil
	})
	other := map[*site]*site{one: two, two: one}[teller]
	teller.kill()
	boots(tpmsim.Trusted, other)
	p.isAway(false)
	want := told(other, 0)
	if diff := cmp.Diff(want, p.check(t, other)[:len(want)]); diff != "" {
		t.Errorf("it was not told of each change once and in order (-changes +deliveries):\n%s", diff)
	}

	// An answer that is lost is asked for again.
	teller.start(t)
	p.mu.Lock()
	p.lose = 1
	p.mu.Unlock()
	boots(tpmsim.OtherHypervisor, other)
	want = told(other, 1)
	ids := p.check(t, other)
	if diff := cmp.Diff(want, slices.Compact(slices.Clone(ids))[:len(want)]); diff != "" {
		t.Errorf("it was not told of each change in order (-changes +deliveries):\n%s", diff)
	}
	if once := slices.Compact(slices.Clone(ids)); len(once) != len(ids)-1 {
		t.Errorf("of %d deliveries %d are of different changes, and one answer was lost", len(ids), len(once))
	}
}
