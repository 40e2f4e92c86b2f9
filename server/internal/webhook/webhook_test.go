package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/rest"
	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

func generations(t *testing.T, got []received) (all []int64) {
	t.Helper()
	for i := range got {
		all = append(all, got[i].generation(t))
	}
	return all
}

func TestAHookIsToldOfEachChangeInOrderAsTheEventsTellIt(t *testing.T) {
	t.Parallel()
	c, r := newCloud(t), newReceiver(t)
	c.known(r.target("pager"))
	c.change("a.example", "b.example", "c.example")
	c.run("one", r.target("pager"))
	got := r.wait(t, 3)
	changes, err := c.Store.Events(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		var d api.Delivery
		if err := json.Unmarshal(got[i].body, &d); err != nil {
			t.Fatal(err)
		}
		want := api.Delivery{Type: "verdict", Timestamp: changes[i].Verdict.ChangedAt, Data: rest.ChangeOf(&changes[i])}
		if diff := cmp.Diff(want, d); diff != "" {
			t.Error(diff)
		}
	}
	c.change("d.example")
	if got := r.wait(t, 4); !slices.IsSorted(generations(t, got)) {
		t.Errorf("in another order: %v", generations(t, got))
	}
}

func TestANewHookIsToldOfWhatHappensFromThenOn(t *testing.T) {
	t.Parallel()
	c, r := newCloud(t), newReceiver(t)
	c.change("before.example")
	c.known(r.target("pager"))
	c.run("one", r.target("pager"))
	c.change("after.example")
	if got := r.wait(t, 1); !strings.Contains(string(got[0].body), "after.example") {
		t.Errorf("it was told of %s", got[0].body)
	}
}

// signatureOf is made by the specification's words, and not by what is tested.
func signatureOf(t *testing.T, secret string, r *received) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, r.id+"."+r.timestamp+"."+string(r.body))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func TestADeliveryIsSignedByEachSecretOfItsFile(t *testing.T) {
	t.Parallel()
	c, r := newCloud(t), newReceiver(t)
	c.known(r.target("pager"))
	c.run("one", r.target("pager"))
	c.change("a.example")
	first := r.wait(t, 1)[0]
	if want := signatureOf(t, secret, &first); first.signature != want {
		t.Errorf("the signature is %s, not %s", first.signature, want)
	}
	if seconds, err := strconv.ParseInt(first.timestamp, 10, 64); err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute {
		t.Errorf("it is dated %s", first.timestamp)
	}
	r.write(t, "secret", newSecret+"\n"+secret+"\n")
	c.change("b.example")
	second := r.wait(t, 2)[1]
	if want := signatureOf(t, newSecret, &second) + " " + signatureOf(t, secret, &second); second.signature != want {
		t.Errorf("the signatures are %s, not %s", second.signature, want)
	}
	if first.id == second.id {
		t.Error("two changes have one id")
	}
}

func TestAHookThatFailsIsToldAgainUnderTheSameID(t *testing.T) {
	t.Parallel()
	c, r := newCloud(t), newReceiver(t)
	r.answers(func(n int, w http.ResponseWriter) {
		switch n {
		case 0:
			w.WriteHeader(http.StatusInternalServerError)
		case 1:
			w.WriteHeader(http.StatusBadRequest)
		case 2:
			panic(http.ErrAbortHandler) // it got it, and nobody knows
		}
	})
	c.known(r.target("pager"))
	running := c.run("one", r.target("pager"))
	c.change("a.example", "b.example")
	got := r.wait(t, 5)
	g := generations(t, got)
	if g[0] != g[1] || g[1] != g[2] || g[2] != g[3] || g[4] <= g[3] {
		t.Errorf("told of %v", g)
	}
	for i := range 4 {
		if got[i].id != got[0].id || string(got[i].body) != string(got[0].body) {
			t.Errorf("attempt %d is another message: %+v", i, got[i])
		}
	}
	until(t, "both are delivered", func() bool { return running.count(t, "delivered") == 2 })
	running.stop()
	want := `# HELP trustpool_server_webhook_deliveries_total Attempts to tell webhooks of changes, by what came of them: delivered, failed (it is tried again), dropped (too old).
# TYPE trustpool_server_webhook_deliveries_total counter
trustpool_server_webhook_deliveries_total{outcome="delivered",webhook="pager"} 2
trustpool_server_webhook_deliveries_total{outcome="dropped",webhook="pager"} 0
trustpool_server_webhook_deliveries_total{outcome="failed",webhook="pager"} 3
`
	if err := testutil.GatherAndCompare(running.registry, strings.NewReader(want), "trustpool_server_webhook_deliveries_total"); err != nil {
		t.Error(err)
	}
}

func TestNothingIsLostOverARestart(t *testing.T) {
	t.Parallel()
	c, r := newCloud(t), newReceiver(t)
	c.known(r.target("pager"))
	first := c.run("one", r.target("pager"))
	c.change("a.example")
	until(t, "the first is delivered", func() bool { return first.count(t, "delivered") == 1 })
	r.answers(func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
	c.change("b.example", "c.example")
	r.wait(t, 3)
	first.stop()
	c.change("d.example")

	r.mu.Lock()
	before := len(r.got)
	r.answer = func(int, http.ResponseWriter) {}
	r.mu.Unlock()
	c.run("two", r.target("pager")) // at once: the first gave its claim up
	changes, err := c.Store.Events(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	last := changes[len(changes)-3:]
	want := []int64{last[0].Verdict.Generation, last[1].Verdict.Generation, last[2].Verdict.Generation}
	for n := before + len(want); ; n++ {
		var got []int64
		for _, g := range generations(t, r.wait(t, n))[before:] {
			if !slices.Contains(got, g) { // what the first sent at its end may come in after it, once more
				got = append(got, g)
			}
		}
		if slices.Equal(got, want) {
			break
		}
		if len(got) >= len(want) {
			t.Fatalf("after the restart it was told of %v, not of %v", got, want)
		}
	}
}

func TestASlowHookStopsNoOther(t *testing.T) {
	t.Parallel()
	c, slow, quick := newCloud(t), newReceiver(t), newReceiver(t)
	let := make(chan struct{})
	slow.answers(func(int, http.ResponseWriter) { <-let })
	defer close(let)
	c.known(slow.target("slow"), quick.target("quick"))
	c.run("one", slow.target("slow"), quick.target("quick"))
	c.change("a.example", "b.example", "c.example")
	quick.wait(t, 3)
}

func TestOfTwoServersOneTellsAHook(t *testing.T) {
	t.Parallel()
	c, r := newCloud(t), newReceiver(t)
	c.known(r.target("pager"))
	first, second := c.run("one", r.target("pager")), c.run("two", r.target("pager"))
	names := []string{"a.example", "b.example", "c.example", "d.example", "e.example"}
	c.change(names...)
	until(t, "all are delivered", func() bool { return first.count(t, "delivered")+second.count(t, "delivered") >= float64(len(names)) })
	first.stop()
	second.stop()
	all := generations(t, r.wait(t, len(names)))
	if len(all) != len(names) || !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("told of %v", all)
	}
	if one, two := first.count(t, "delivered"), second.count(t, "delivered"); one > 0 && two > 0 {
		t.Errorf("one told of %v changes, and the other of %v", one, two)
	}
}

func TestAHookIsToldOfItsPoolsOnly(t *testing.T) {
	t.Parallel()
	c, r := newCloud(t), newReceiver(t)
	other, ours := r.target("other"), r.target("ours")
	other.Pools, ours.Pools = []string{"elsewhere"}, []string{"elsewhere", "pool"}
	other.URL += "/other"
	c.known(other, ours)
	running := c.run("one", other, ours)
	c.change("a.example")
	until(t, "ours is told", func() bool { return running.count(t, "delivered") == 1 })
	running.stop()
	for _, got := range r.wait(t, 1) {
		if got.path != "/hook" {
			t.Errorf("%s was told", got.path)
		}
	}
}

func TestTheHookOfThePoolThatANodeLeavesIsTold(t *testing.T) {
	t.Parallel()
	c, r := newCloud(t), newReceiver(t)
	target := r.target("old")
	target.Pools = []string{"pool"}
	c.known(target)
	c.change("a.example")
	act := store.Act{By: "admin", At: time.Now()}
	if _, err := c.Store.PutPool(t.Context(), act, trust.Pool{Name: "new"}, 0); err != nil {
		t.Fatal(err)
	}
	n, err := c.Store.Node(t.Context(), "a.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Store.UpdateNode(t.Context(), act, n.Name, n.Revision, func(n *trust.Node) { n.Pool = "new" }); err != nil {
		t.Fatal(err)
	}
	c.run("one", target)
	var said []string
	for _, got := range r.wait(t, 2) {
		var d api.Delivery
		if err := json.Unmarshal(got.body, &d); err != nil {
			t.Fatal(err)
		}
		said = append(said, d.Data.Pool+" "+string(d.Data.Trust))
	}
	if want := []string{"pool trusted", "pool unknown"}; !slices.Equal(said, want) {
		t.Errorf("told %q, not %q", said, want)
	}
}

func TestWhatIsTooOldIsDroppedAndSaidSo(t *testing.T) {
	t.Parallel()
	c, r := newCloud(t), newReceiver(t)
	target := r.target("pager")
	c.known(target)
	c.change("old.example")
	target.MaxAge = time.Nanosecond
	dropping := c.run("one", target)
	until(t, "the change is dropped", func() bool { return dropping.count(t, "dropped") == 1 })
	dropping.stop()
	if !strings.Contains(dropping.log.String(), "node=old.example") {
		t.Errorf("the log does not say what was dropped: %s", dropping.log)
	}
	c.run("two", r.target("pager"))
	c.change("new.example")
	if got := r.wait(t, 1); !strings.Contains(string(got[0].body), "new.example") {
		t.Errorf("it was told of %s", got[0].body)
	}
}

func TestNoRedirectIsFollowedAndNoAddressLogged(t *testing.T) {
	t.Parallel()
	c, r, elsewhere := newCloud(t), newReceiver(t), newReceiver(t)
	r.answers(func(_ int, w http.ResponseWriter) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	target, gone := r.target("pager"), r.target("gone")
	gone.URL = "https://127.0.0.1:1/the-secret-path"
	c.known(target, gone)
	running := c.run("one", target, gone)
	c.change("a.example")
	r.wait(t, 3)
	until(t, "what refuses connections is complained of", func() bool { return strings.Contains(running.log.String(), "calling 127.0.0.1:1:") })
	running.stop()
	if len(elsewhere.wait(t, 0)) > 0 {
		t.Error("a redirect was followed")
	}
	log := running.log.String()
	if !strings.Contains(log, "not followed") || strings.Contains(log, "secret-path") || strings.Count(log, "307") != 1 {
		t.Errorf("the log says: %s", log)
	}
}

func TestOnlyTheNamedAuthorityVouchesForAReceiver(t *testing.T) {
	t.Parallel()
	c, r := newCloud(t), newReceiver(t)
	target := r.target("pager")
	target.CA = ""
	c.known(target)
	running := c.run("one", target)
	c.change("a.example")
	until(t, "the certificate is refused", func() bool { return strings.Contains(running.log.String(), "certificate") })
	running.stop()
	if len(r.wait(t, 0)) > 0 {
		t.Error("it was told")
	}
}

func TestFilesThatCanNotBeUsedAreNamed(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	for want, content := range map[string]string{
		"line 1 is no secret": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
		"24 to 64 random":     "whsec_c2hvcnQ=",
		"line 2 is no secret": secret + "\nwhsec_!",
		"it is empty":         "\n\n",
		"at most 4":           strings.Repeat(secret+"\n", 5),
		"more than":           strings.Repeat("\n", 2<<20),
	} {
		r.write(t, "secret", content)
		if err := r.target("pager").CheckFiles(os.ReadFile); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "pager") {
			t.Errorf("%v, want %s", err, want)
		} else if strings.Contains(err.Error(), "MDEyMzQ1") {
			t.Errorf("the secret is in the error: %v", err)
		}
	}
	r.write(t, "secret", secret)
	if err := os.Chmod(r.target("pager").SecretFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.target("pager").CheckFiles(os.ReadFile); err == nil || !strings.Contains(err.Error(), "chmod o= ") {
		t.Errorf("everybody may read the secret: %v", err)
	}
	if err := os.Chmod(r.target("pager").SecretFile, 0o600); err != nil {
		t.Fatal(err)
	}
	r.write(t, "ca.pem", "no certificate")
	if err := r.target("pager").CheckFiles(os.ReadFile); err == nil || !strings.Contains(err.Error(), "ca.pem: it has no certificate") {
		t.Error(err)
	}
}
