package main

import (
	"context"
	_ "embed"
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/tpmsim"
)

// screenshots is where pictures for the documentation are to be written.
var screenshots = flag.String("screenshots", "", "write pictures of the page into this `folder`")

//go:embed testdata/a11y.js
var a11y string

// accessible looks for what keeps people from using a page who do not see it, or do not use a mouse: landmarks, headings, names of what can be used, tables, contrast, and width.
func (b *browser) accessible(t *testing.T, where string) {
	t.Helper()

	for _, problem := range eval[[]string](t, b, a11y) {
		t.Errorf("%s: %s", where, problem)
	}
}

// TestThePageInABrowser is a person's first minutes with the page of a real server and real nodes.
func TestThePageInABrowser(t *testing.T) {
	t.Parallel()

	x := newSite(t, 4, 2*time.Second, "")
	x.start(t)
	x.furnish(t)
	trusted := func(ctx context.Context) bool {
		hosts, err := x.client.QueryHosts(ctx, x.names())
		if err != nil {
			return false
		}
		for _, h := range hosts {
			if h.Trust != api.Trusted {
				return false
			}
		}
		return true
	}
	x.waitUntil(t, "all nodes are trusted", trusted)
	url := "https://" + x.address
	b := newBrowser(t)

	// Strangers see a form, and no token is no way in.
	b.do(t, chromedp.Navigate(url), see("#token"))
	b.accessible(t, "signing in")
	b.shoot(t, "sign-in")
	b.do(t, write("#token", "trustpool_wrong"+kb.Enter), see(".problem"))
	b.reads(t, "That is no token that counts here.")
	b.do(t, write("#token", x.token+kb.Enter), see("#pools"))
	b.reads(t, "All 4 nodes are trusted", "Nothing needs attention.")
	b.calm(t, "status of 401")
	b.accessible(t, "overview")
	b.shoot(t, "overview-calm")

	// A node reboots into another hypervisor: the page tells by itself, without being loaded anew.
	eval[bool](t, b, "window.sameDocument = true")
	x.nodes[2].reboot(t, tpmsim.OtherHypervisor)
	b.reads(t, "1 of 4 nodes is not trusted", "node2.example booted something that is not known good", "PCR 17, event")
	if !eval[bool](t, b, "window.sameDocument === true") {
		t.Error("the whole page was loaded anew")
	}
	b.accessible(t, "overview with a refused node")

	// The first link there leads to why.
	b.do(t, click(".cause.untrusted a"), see("#why"))
	b.reads(t, "Why it is untrusted", "PCR 17, event", "Expected", "Got", "tboot module 0", "What can be done", "checks passed")
	b.accessible(t, "a refused node")
	eval[bool](t, b, "window.sameDocument = true")
	eval[bool](t, b, "document.querySelector('#checks summary').focus(), document.getElementById('checks').open = true")
	x.nodes[2].reboot(t, tpmsim.NoLaunch)
	b.reads(t, "It booted without a measured launch", "rebooted")
	if !eval[bool](t, b, "document.getElementById('checks').open && document.activeElement.tagName === 'SUMMARY'") {
		t.Error("what was open is shut, or the focus is lost")
	}
	x.nodes[2].reboot(t, tpmsim.OtherHypervisor)
	b.reads(t, "It booted something that is not known good")
	if !eval[bool](t, b, "window.sameDocument === true") {
		t.Error("the whole page was loaded anew")
	}
	b.calm(t)
	x.tour(t, b)
	x.withoutScript(t, b)
	x.leaves(t, b)
}

// tour goes to all other pages, light and dark, on a desk and on a phone.
func (x *site) tour(t *testing.T, b *browser) {
	t.Helper()

	url := "https://" + x.address
	set, err := x.client.PutSet(t.Context(), "xen-next", api.SetSpec{Part: "hypervisor", Pools: []string{"pool"}, KnownGood: x.known, Description: "the same once more", Source: "node0.example"}, 0)
	if err != nil || set.State != "draft" {
		t.Fatal(set, err)
	}
	if _, err := x.client.AddNode(t.Context(), api.NodeSpec{Name: "node9.example", Address: x.nodes[0].address, Pool: "pool", Binding: "chain", Aliases: []string{"node0.example"}}); err == nil {
		t.Fatal("a second claim to a name was taken")
	}
	for _, page := range []struct {
		name, path string
		selector   chromedp.CSS
	}{
		{"overview", "/page/", "#attention"},
		{"node", "/page/nodes/node2.example", ".differences"},
		{"nodes", "/page/nodes", "table"},
		{"pool", "/page/pools/pool", "#demands"},
		{"sets", "/page/sets", "table"},
		{"set", "/page/sets/xen", "#values"},
		{"draft", "/page/sets/xen-next", "#change"},
		{"alarms", "/page/alarms", ".causes"},
		{"log", "/page/log", "table"},
		{"lost", "/page/nothing", "h1"},
	} {
		b.do(t, chromedp.Navigate(url+page.path))
		for _, view := range []struct {
			name, scheme string
			width        int64
		}{{"", "light", 1200}, {"-dark", "dark", 1200}, {"-phone", "light", 360}, {"-phone-dark", "dark", 360}} {
			height := int64(900)
			if view.width < 500 {
				height = 780
			}
			b.do(t, scheme(view.scheme), window(view.width, height), see(page.selector))
			b.accessible(t, page.name+view.name)
			b.shoot(t, page.name+view.name)
		}
	}
	b.do(t, scheme("light"), window(1200, 900), chromedp.Navigate(url+"/page/sets/xen"), click("#change ~ form button"), see("caption"))
	b.reads(t, "It would condemn", "Nothing was changed")
	b.accessible(t, "effect")
	b.shoot(t, "effect")
	b.calm(t, "status of 404")

	// By keys alone: the first is the way past the navigation.
	b.do(t, chromedp.Navigate(url+"/page/"), see("#attention"), chromedp.KeyEvent(kb.Tab))
	if got := eval[string](t, b, "document.activeElement.className"); got != "skip" {
		t.Errorf("the first key leads to %q", got)
	}
	b.do(t, chromedp.KeyEvent(kb.Enter))
	if got := eval[string](t, b, "document.activeElement.id"); got != "main" {
		t.Errorf("the way past the navigation leads to %q", got)
	}
}

// withoutScript reads the same.
func (x *site) withoutScript(t *testing.T, b *browser) {
	t.Helper()

	tab := b.tab(t, noScripts(), chromedp.Navigate("https://"+x.address+"/page/"), see("#attention"))
	html := tab.html(t)
	tab.do(t, click(".cause.untrusted a"), see("#why"))
	if !strings.Contains(html, `http-equiv="refresh"`) || !strings.Contains(html, "This page is loaded anew every 30 s.") {
		t.Error("without the script nothing has the page loaded anew")
	}
	html = tab.html(t)
	for _, want := range []string{"PCR 17, event", "Expected", "Got"} {
		if !strings.Contains(html, want) {
			t.Errorf("without the script the page does not say %q", want)
		}
	}
	tab.calm(t)
}

// leaves signs out, and finds the door shut; and so does whoever's token is removed.
func (x *site) leaves(t *testing.T, b *browser) {
	t.Helper()

	b.do(t, click(".who button"), see("#token"), chromedp.NavigateBack(), see("#token"))
	text, err := x.client.AddToken(t.Context(), api.TokenSpec{Name: "bob", Role: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	b.do(t, write("#token", text.Token+kb.Enter), see(".who button"))
	if err := x.client.RemoveToken(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	b.do(t, chromedp.Reload(), see("#token"))
}
