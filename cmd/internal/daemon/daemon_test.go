package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		err  error
		code int
	}{
		"no error":                   {nil, 0},
		"failure at run time":        {errors.New("x"), 1},
		"mistake in the usage":       {daemon.UsageError{Err: errors.New("x")}, 2},
		"mistake, wrapped once more": {fmt.Errorf("y: %w", daemon.UsageError{Err: errors.New("x")}), 2},
	} {
		var stderr bytes.Buffer
		if code := daemon.ExitCode(test.err, &stderr); code != test.code {
			t.Errorf("%s: exit code %d, want %d", name, code, test.code)
		}

		if (stderr.Len() > 0) != (test.err != nil) {
			t.Errorf("%s: stderr is %q", name, stderr.String())
		}
	}
}

type kind string

// config is a small one with a rule.
type config struct {
	Name string        `yaml:"name"`
	Wait time.Duration `yaml:"wait"`

	On    bool     `yaml:"on"`
	Count int      `yaml:"count"`
	Rate  float64  `yaml:"rate"`
	Kind  kind     `yaml:"kind"`
	Names []string `yaml:"names"`
	Rules []struct {
		User string `yaml:"user"`
	} `yaml:"rules"`
}

func (c *config) Validate() error {
	if c.Name == "" {
		return errors.New("name: missing, write one")
	}

	return nil
}

func TestConfigFilesAreReadStrictly(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct{ content, want string }{
		"good":                        {"name: a", ""},
		"empty file, invalid default": {"", "name: missing"},
		"unknown key":                 {"name: a\nnome: b", `line 2: unknown key "nome"`},
		"key twice":                   {"name: a\nname: b", "already defined"},
		"two documents":               {"name: a\n---\nname: b", "more than one YAML document"},
		"a time without its unit":     {"name: a\nwait: 30", "line 2: `30` is no time; write one with its unit, e.g. 30s"},
		"a value of several lines":    {"name: a\nwait: \"3\\n4\"", "line 2: `3 4` is no time"},
		"neither true nor false":      {"name: a\non: maybe", "line 2: `maybe` is neither true nor false"},
		"no whole number":             {"name: a\ncount: many", "line 2: `many` is no whole number that can be here"},
		"no number":                   {"name: a\nrate: fast", "line 2: `fast` is no number"},
		"a list for a text":           {"name: [a]", "line 1: no list belongs here"},
		"a list for a kind":           {"name: a\nkind: [b]", "line 2: no list belongs here"},
		"keys for a kind":             {"name: a\nkind: {b: c}", "line 2: a text or a number belongs here, not keys with values"},
		"a text for a list":           {"name: a\nnames: b", "line 2: a list belongs here, not `b`"},
		"keys for a list":             {"name: a\nnames: {b: c}", "line 2: a list belongs here, not keys with values"},
		"a text for keys":             {"name: a\nrules: [b]", "line 2: keys with values belong here, not `b`"},
		"a list for all of it":        {"[a]", "line 1: no list belongs here"},
		"not YAML":                    {"\tname", "cannot start any token"},
		"too large":                   {strings.Repeat("#", 1<<20+1), "more than 1048576 bytes"},
	} {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}

		err := daemon.LoadConfig(path, &config{})
		if test.want == "" && err == nil {
			continue
		}

		if err == nil || !strings.Contains(err.Error(), test.want) || !errors.As(err, new(daemon.UsageError)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTheAdminListenerTellsTheTruth(t *testing.T) {
	t.Parallel()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	ready, healthy := make(chan error, 1), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)

	admin := daemon.Admin{
		Registry: daemon.NewRegistry("test"), Logger: slog.New(slog.DiscardHandler),
		Ready: func() error { return <-ready }, Healthy: func() error { return <-healthy },
	}

	go func() { done <- admin.Serve(ctx, listener) }()

	get := func(path string) (int, string) {
		response, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()

		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}

		return response.StatusCode, string(body)
	}

	ready <- errors.New("no TPM")
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "no TPM") {
		t.Errorf("/readyz: %d %q", code, body)
	}

	ready <- nil
	if code, _ := get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: %d", code)
	}

	healthy <- errors.New("hung")

	if code, body := get("/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "hung") {
		t.Errorf("/healthz: %d %q", code, body)
	}

	healthy <- nil

	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d", code)
	}

	if code, _ := get("/debug/pprof/heap"); code != http.StatusOK {
		t.Errorf("/debug/pprof/heap: %d", code)
	}

	if _, body := get("/metrics"); !strings.Contains(body, `version="devel"} 1`) {
		t.Error("/metrics has no build info")
	}

	stop()

	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestMetricsPassTheLinter(t *testing.T) {
	t.Parallel()

	problems, err := testutil.GatherAndLint(daemon.NewRegistry("test"))
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
