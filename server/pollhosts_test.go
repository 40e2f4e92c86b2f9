package server_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/nodetest"
	"github.com/trustpool/trustpool/server/internal/pollhosts"
	"github.com/trustpool/trustpool/tpmsim/pki"
)

// poll sends what OpenStack's TrustedFilter sends, to the byte of its headers, over TLS as its library opens it: without a client certificate, TLS 1.2 or newer.
func (s *site) poll(t *testing.T, path, method, body string, header ...string) (*http.Response, string) {
	t.Helper()

	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"User-Agent": "python-requests/2.28.1", "Accept-Encoding": "gzip, deflate", "Accept": "application/json", "Connection": "keep-alive", "Content-Type": "application/json",
	} {
		request.Header.Set(name, value)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	response, err := s.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(response.Body)
	if closeErr := response.Body.Close(); err != nil || closeErr != nil {
		t.Fatalf("%v, %v", err, closeErr)
	}
	return response, string(raw)
}

// aPoll is a request of the filter's.
const aPoll = `{"count": 2, "hosts": ["node1", "nobody"]}`

// wantUsed fails unless the filter can use an answer to aPoll: 200, JSON, a string as vtime in each entry. It returns the levels.
func wantUsed(t *testing.T, response *http.Response, body string) []string {
	t.Helper()

	var answer struct {
		Hosts []struct {
			Name  string  `json:"host_name"`
			Level string  `json:"trust_lvl"`
			VTime *string `json:"vtime"`
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || response.StatusCode != http.StatusOK || len(answer.Hosts) != 2 {
		t.Fatalf("%s: %s, %v", response.Status, body, err)
	}
	if response.Header.Get("Content-Type") != "application/json" || response.Header.Get("Content-Encoding") != "" || response.ContentLength != int64(len(body)) {
		t.Errorf("headers %v of %d bytes", response.Header, len(body))
	}
	var levels []string
	for i, name := range []string{"node1", "nobody"} {
		entry := answer.Hosts[i]
		if entry.VTime == nil || entry.Name != name {
			t.Fatalf("the filter dies of %s", body)
		}
		if at, err := time.Parse("2006-01-02T15:04:05Z", *entry.VTime); err != nil || at.After(time.Now()) {
			t.Errorf("vtime %q: %v", *entry.VTime, err)
		}
		levels = append(levels, entry.Level)
	}
	return levels
}

func TestPollHostsAnswersTheFilterAtBothPathsByEachHeader(t *testing.T) {
	t.Parallel()

	onBoth(t, func(t *testing.T, database string) {
		s := newSiteOn(t, database, lasting())
		for _, path := range pollhosts.Paths() {
			for _, header := range []string{"x-auth-blob", "Auth_blob"} {
				response, body := s.poll(t, path, http.MethodPost, aPoll, header, s.token)
				if got := fmt.Sprint(wantUsed(t, response, body)); got != "[trusted unknown]" {
					t.Errorf("%s, %s: %s", path, header, got)
				}
			}
			response, body := s.poll(t, path, http.MethodPost, `{"count": 1, "hosts": "node1"}`, "x-auth-blob", s.token)
			if response.StatusCode != http.StatusOK || !strings.HasPrefix(body, `{"hosts":[{"host_name":"node1","trust_lvl":"trusted","vtime":"`) {
				t.Errorf("the filter of Folsom: %s %s", response.Status, body)
			}
		}
	})
}

// TestPollHostsNeverCrashesTheFilter: it dies of a 204 and of a 2xx without JSON. Whatever else comes, it trusts nobody.
func TestPollHostsNeverCrashesTheFilter(t *testing.T) {
	t.Parallel()

	onBoth(t, func(t *testing.T, database string) {
		s := newSiteOn(t, database, lasting())
		path := pollhosts.Paths()[0]
		for name, row := range map[string]struct {
			path, method, body string
			header             []string
			status             int
		}{
			"no blob":             {path, http.MethodPost, aPoll, nil, http.StatusUnauthorized},
			"an empty blob":       {path, http.MethodPost, aPoll, []string{"x-auth-blob", ""}, http.StatusUnauthorized},
			"a wrong blob":        {path, http.MethodPost, aPoll, []string{"x-auth-blob", "s3cret"}, http.StatusUnauthorized},
			"a blob cut short":    {path, http.MethodPost, aPoll, []string{"x-auth-blob", s.token[:len(s.token)-1]}, http.StatusUnauthorized},
			"a blob of others":    {path, http.MethodPost, aPoll, []string{"x-auth-blob", otherToken(t)}, http.StatusUnauthorized},
			"the wrong path":      {"/OpenAttestationWebServices/V1.0/pollhosts", http.MethodPost, aPoll, []string{"x-auth-blob", s.token}, http.StatusNotFound},
			"a doubled slash":     {"/OpenAttestationWebServices/V1.0//PollHosts", http.MethodPost, aPoll, []string{"x-auth-blob", s.token}, http.StatusNotFound},
			"the wrong method":    {path, http.MethodGet, "", []string{"x-auth-blob", s.token}, http.StatusMethodNotAllowed},
			"no hosts":            {path, http.MethodPost, `{"count": 0}`, []string{"x-auth-blob", s.token}, http.StatusBadRequest},
			"a body that is huge": {path, http.MethodPost, `{"hosts":["` + strings.Repeat("x", 1<<20) + `"]}`, []string{"x-auth-blob", s.token}, http.StatusRequestEntityTooLarge},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()

				response, body := s.poll(t, row.path, row.method, row.body, row.header...)
				if response.StatusCode != row.status || !json.Valid([]byte(body)) || strings.Contains(body, "trust_lvl") {
					t.Errorf("%s %s, want %d", response.Status, body, row.status)
				}
			})
		}
	})
}

// otherToken is one that no server has handed out to this site.
func otherToken(t *testing.T) string {
	t.Helper()

	text, _, err := access.NewToken("other", access.Admin, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPollHostsForgetsABlobThatWasRemoved(t *testing.T) {
	t.Parallel()

	onBoth(t, func(t *testing.T, database string) {
		s := newSiteOn(t, database, lasting())
		made, err := s.admin.AddToken(t.Context(), api.TokenSpec{Name: "nova", Role: "reader"})
		if err != nil {
			t.Fatal(err)
		}
		response, body := s.poll(t, pollhosts.Paths()[0], http.MethodPost, aPoll, "x-auth-blob", made.Token)
		wantUsed(t, response, body)
		if err := s.admin.RemoveToken(t.Context(), "nova"); err != nil {
			t.Fatal(err)
		}
		if response, body := s.poll(t, pollhosts.Paths()[0], http.MethodPost, aPoll, "x-auth-blob", made.Token); response.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s", response.Status, body)
		}
	})
}

// TestPollHostsAnswersWhileNoNodeDoes: the filter waits for ever, and Nova with it. What is stored is answered, whatever the nodes do.
func TestPollHostsAnswersWhileNoNodeDoes(t *testing.T) {
	t.Parallel()

	onBoth(t, func(t *testing.T, database string) {
		s := newSiteOn(t, database, lasting())
		s.fleet.Fail("node1.example", nodetest.ErrHang)
		asked := s.fleet.Asked("node1.example")
		if err := s.admin.AttestNode(t.Context(), "node1.example"); err != nil {
			t.Fatal(err)
		}
		s.until(t, "asked", func() bool { return s.fleet.Asked("node1.example") > asked })
		for range 3 {
			start := time.Now()
			response, body := s.poll(t, pollhosts.Paths()[0], http.MethodPost, aPoll, "x-auth-blob", s.token)
			if got := fmt.Sprint(wantUsed(t, response, body)); got != "[trusted unknown]" || time.Since(start) > time.Minute {
				t.Errorf("%s after %v", got, time.Since(start))
			}
		}
	})
}

// TestPollHostsIsOverTLSThatTheFilterCanCheck: with attestation_server_ca_file it knows the server by that CA, without by those of the system; it has no client certificate to show.
func TestPollHostsIsOverTLSThatTheFilterCanCheck(t *testing.T) {
	t.Parallel()

	s := newSite(t, lasting())
	other, err := pki.New("other")
	if err != nil {
		t.Fatal(err)
	}
	for name, roots := range map[string]*x509.CertPool{"another CA": other.Pool(), "the CAs of the system": nil} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots})
		if err == nil {
			t.Errorf("%s vouches for the server: %v", name, conn.Close())
		}
	}

	// Plain HTTP is no way in, and what comes back is no 2xx either.
	response, err := http.Post("http"+strings.TrimPrefix(s.url, "https")+pollhosts.Paths()[0], "application/json", strings.NewReader(aPoll)) //nolint:noctx // it is answered at once
	if err == nil {
		raw, readErr := bufio.NewReader(response.Body).ReadString(0)
		if response.StatusCode < 300 {
			t.Errorf("%s %q, %v", response.Status, raw, readErr)
		}
		_ = response.Body.Close()
	}
}
