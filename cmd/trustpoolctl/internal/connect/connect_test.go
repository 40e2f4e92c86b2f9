package connect

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func TestFlagsGoBeforeTheEnvironmentAndThatBeforeTheFile(t *testing.T) {
	t.Parallel()

	file := filepath.Join(t.TempDir(), "ctl.yaml")
	write(t, file, "server: https://file:1\nca: file-ca.pem\ncert: file.pem\nkey: file-key.pem\nserver_name: file\n")
	inFile := func(name string) string { return filepath.Join(filepath.Dir(file), name) }

	for name, test := range map[string]struct {
		flags       settings
		environment map[string]string
		want        settings
	}{
		"the file alone, whose paths count from its folder": {
			want: settings{Server: "https://file:1", CA: inFile("file-ca.pem"), Cert: inFile("file.pem"), Key: inFile("file-key.pem"), ServerName: "file"},
		},
		"a token of the environment leaves out the certificate of the file": {
			environment: map[string]string{"TRUSTPOOL_SERVER": "https://env:1", "TRUSTPOOL_TOKEN_FILE": "env-token"},
			want:        settings{Server: "https://env:1", CA: inFile("file-ca.pem"), TokenFile: "env-token", ServerName: "file"},
		},
		"a certificate of flags leaves out the token of the environment": {
			flags:       settings{Cert: "flag.pem", Key: "flag-key.pem"},
			environment: map[string]string{"TRUSTPOOL_TOKEN_FILE": "env-token", "TRUSTPOOL_CA": "env-ca.pem", "TRUSTPOOL_SERVER_NAME": "env"},
			want:        settings{Server: "https://file:1", CA: "env-ca.pem", Cert: "flag.pem", Key: "flag-key.pem", ServerName: "env"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := (&Flags{given: test.flags}).settings(func(key string) string { return test.environment[key] }, file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsMissingIsWrongUsage(t *testing.T) {
	t.Parallel()

	unknown := filepath.Join(t.TempDir(), "ctl.yaml")
	write(t, unknown, "server: https://file:1\ntoken: secret\n")
	for want, test := range map[string]struct {
		flags settings
		file  string
	}{
		"there is no server":       {settings{TokenFile: "token"}, ""},
		"nothing says who":         {settings{Server: "https://s:1"}, filepath.Join(t.TempDir(), "missing")},
		"--cert and --key go":      {settings{Server: "https://s:1", Cert: "c.pem"}, ""},
		`unknown key "token"`:      {settings{TokenFile: "token"}, unknown},
		"--cert and --key go toge": {settings{Server: "https://s:1", TokenFile: "token", Key: "k.pem"}, ""},
	} {
		_, err := (&Flags{given: test.flags}).settings(func(string) string { return "" }, test.file)
		if _, usage := errors.AsType[daemon.UsageError](err); !usage || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestATokenFileHoldsOneTokenAndIsForItsOwner(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	for name, test := range map[string]struct {
		content string
		mode    os.FileMode
		token   string
		warned  bool
	}{
		"a token and a line break":      {"abc\n", 0o600, "abc", false},
		"a token that others may read":  {"abc", 0o644, "abc", true},
		"an empty file":                 {"\n", 0o600, "", false},
		"two tokens":                    {"abc\ndef\n", 0o600, "", false},
		"more than a token":             {strings.Repeat("a", maxToken+1), 0o600, "", false},
		"a token with an explanation 1": {"token: abc", 0o600, "", false},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		write(t, path, test.content)
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		token, err := New(&console.Output{Stderr: &stderr}).readToken(path)
		if token != test.token || (err == nil) != (test.token != "") || strings.Contains(stderr.String(), "chmod 600") != test.warned {
			t.Errorf("%s: token %q, error %v, stderr %q", name, token, err, &stderr)
		}
	}
}

func TestWhatTheServerRefusesSaysWhatToDo(t *testing.T) {
	t.Parallel()

	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusPreconditionFailed, http.StatusServiceUnavailable} {
		if err := explain(&api.Problem{Status: status}); console.Hint(err) == "" || api.StatusOf(err) != status {
			t.Errorf("status %d: %v, hint %q", status, err, console.Hint(err))
		}
	}
	if err := explain(nil); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
