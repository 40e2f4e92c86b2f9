package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// step is something that a person does.
type step = chromedp.Action[chromedp.Void]

// browser is a real one, without a window.
type browser struct {
	context.Context

	mu       sync.Mutex
	problems []string // what its console complained of; guarded by mu
}

// newBrowser starts Debian's chromium.
func newBrowser(t *testing.T) *browser {
	t.Helper()

	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("the page is tried in a real browser: install the package chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.IgnoreCertErrors, chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("font-render-hinting", "none"))
	allocated, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	tab, closeTab := chromedp.NewContext(allocated)
	t.Cleanup(closeTab)
	b := &browser{Context: tab}
	b.watch(t)
	b.do(t, window(1200, 900))
	return b
}

// tab opens another one in the same browser, which is signed in wherever the first is.
func (b *browser) tab(t *testing.T, first ...step) *browser {
	t.Helper()

	ctx, closeTab := chromedp.NewContext(b.Context)
	t.Cleanup(closeTab)
	other := &browser{Context: ctx}
	other.watch(t)
	other.do(t, first...)
	return other
}

// watch notes what the console says: errors of scripts, and what the content security policy refused.
func (b *browser) watch(t *testing.T) {
	t.Helper()

	note := func(text string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, text)
	}
	err := chromedp.Listen(b.Context, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			note(fmt.Sprintf("%s: %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
				note(fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL))
			}
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
				note(fmt.Sprintf("console: %+v", e.Args))
			}
		}
	})
	if err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
}

// calm wants nothing to have been complained of, apart from what may be.
func (b *browser) calm(t *testing.T, maybe ...string) {
	t.Helper()

	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, problem := range b.problems {
		for _, known := range maybe {
			if strings.Contains(problem, known) {
				continue next
			}
		}
		t.Errorf("the browser's console: %s", problem)
	}
	b.problems = nil
}

// do has the browser do something, within a minute.
func (b *browser) do(t *testing.T, steps ...step) {
	t.Helper()

	ctx, cancel := context.WithTimeout(b.Context, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("in the browser: %v, at:\n%s", err, b.text(t))
	}
}

// text is what a person reads there.
func (b *browser) text(t *testing.T) string {
	t.Helper()

	ctx, cancel := context.WithTimeout(b.Context, 10*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil {
		return err.Error() // it is going somewhere
	}
	return text
}

// html is what the page is made of.
func (b *browser) html(t *testing.T) string {
	t.Helper()

	html, err := chromedp.Run(b.Context, chromedp.OuterHTML(chromedp.CSS("html")))
	if err != nil {
		t.Fatal(err)
	}
	return html
}

// reads wants the page to say something sooner or later.
func (b *browser) reads(t *testing.T, want ...string) {
	t.Helper()

	late := time.After(30 * time.Second)
	for {
		text := strings.Join(strings.Fields(b.text(t)), " ")
		missing := ""
		for _, one := range want {
			if !strings.Contains(text, one) {
				missing = one
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-late:
			t.Fatalf("the page never says %q:\n%s", missing, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// eval asks the page for a value.
func eval[V any](t *testing.T, b *browser, script string) V {
	t.Helper()

	value, err := chromedp.Run(b.Context, chromedp.Evaluate[V](script))
	if err != nil {
		t.Fatalf("asking the page: %v", err)
	}
	return value
}

// scheme has the page be light or dark.
func scheme(name string) step {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return err
	})
}

// window has the page be so wide and high.
func window(width, height int64) step { return chromedp.EmulateViewport(width, height) }

// noScripts switches the page's script off.
func noScripts() step {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})
}

// see waits until something is there to be seen.
func see(selector chromedp.CSS) step { return chromedp.WaitVisible(selector) }

// write types into a field.
func write(selector chromedp.CSS, keys string) step { return chromedp.SendKeys(selector, keys) }

// click clicks on the first one.
func click(selector chromedp.CSS) step { return chromedp.Click(selector) }

// shoot writes a picture of the page, if pictures are wanted.
func (b *browser) shoot(t *testing.T, name string) {
	t.Helper()

	if *screenshots == "" {
		return
	}
	picture, err := chromedp.Run(b.Context, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if len(picture) > 150<<10 {
		t.Errorf("the picture %s has %d bytes", name, len(picture))
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), picture, 0o600); err != nil {
		t.Fatal(err)
	}
}
