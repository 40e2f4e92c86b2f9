package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/server/internal/access"
)

const (
	audience = "https://broker.example.org" // as the page has it
	aNonce   = "dGhpcyBpcyBhIG5vbmNl"
)

// keySet asks as a stranger.
func (s *site) keySet(t *testing.T) jose.JSONWebKeySet {
	t.Helper()
	a := s.ask(t, "", http.MethodGet, "/.well-known/jwks.json", "")
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(a.body), &keys); err != nil || a.status != http.StatusOK || a.header.Get("Content-Type") != "application/jwk-set+json" {
		t.Fatal(a, err)
	}
	return keys
}

// verified are the claims of a token by a key of the set.
func verified(t *testing.T, keys jose.JSONWebKeySet, token string) (claims api.EAR) {
	t.Helper()
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	header := signed.Signatures[0].Header
	found := keys.Key(header.KeyID)
	if len(found) != 1 || header.ExtraHeaders[jose.HeaderType] != "eat+jwt" {
		t.Fatalf("the header %+v names none of the keys", header)
	}
	payload, err := signed.Verify(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestASignedVerdictSaysWhatTheAnswerSays(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	client, keys := s.as(t, access.Reader), s.keySet(t)
	for name, want := range map[string]struct {
		status  api.Tier
		subject string
		vector  api.TrustVector
	}{
		"GOOD":           {api.TierAffirming, "good.example", api.TrustVector{InstanceIdentity: 2, Executables: 3}},
		"bad.example":    {api.TierContraindicated, "bad.example", api.TrustVector{Executables: 33}},
		"silent.example": {api.TierNone, "silent.example", api.TrustVector{}},
		"nobody.example": {api.TierNone, "nobody.example", api.TrustVector{}},
	} {
		before := time.Now().Unix()
		token, err := client.SignedVerdict(t.Context(), name, api.SignOptions{Audience: audience, Nonce: aNonce})
		if err != nil {
			t.Fatal(err)
		}
		host, err := client.Host(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		got := verified(t, keys, token)
		if got.Status != want.status || got.Submods[api.EARHost].Status != want.status || got.Subject != want.subject || got.Submods[api.EARHost].Vector != want.vector {
			t.Errorf("%s: %+v", name, got)
		}
		if diff := cmp.Diff(host, got.Verdict.Host); diff != "" {
			t.Errorf("%s: the claim is not the answer (-answer +claim):\n%s", name, diff)
		}
		if got.Profile != api.EARProfile || got.Issuer != "trustpool-server" || got.Audience != audience || got.Nonce != aNonce || got.IssuedAt < before || got.NotYet != got.IssuedAt {
			t.Errorf("%s: %+v", name, got)
		}
		if ends := host.ExpiresAt.Unix(); host.Trust != api.Unknown && got.Expires != ends || host.Trust == api.Unknown && got.Expires != got.IssuedAt+60 {
			t.Errorf("%s: the token ends at %d, the verdict at %d", name, got.Expires, ends)
		}
	}
}

func TestManyVerdictsAreSignedInTheirOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	names := []string{"bad.example", "good", "nobody", "good.example"}
	signed, err := s.as(t, access.Reader).SignedVerdicts(t.Context(), names, api.SignOptions{Audience: audience})
	if err != nil || len(signed) != len(names) {
		t.Fatal(signed, err)
	}
	keys := s.keySet(t)
	for i, want := range []api.Tier{api.TierContraindicated, api.TierAffirming, api.TierNone, api.TierAffirming} {
		claims := verified(t, keys, signed[i].JWT)
		if signed[i].Host != names[i] || claims.Verdict.Host.Host != names[i] || claims.Status != want || claims.Audience != audience {
			t.Errorf("%s: %+v", names[i], claims)
		}
	}
	many := `{"hosts":["a"` + strings.Repeat(`,"a"`, api.MaxSignQuery) + `]}`
	if a := s.ask(t, s.tokens[access.Reader], http.MethodPost, "/v1/hosts:sign", many, "Content-Type", "application/json"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("more than can be asked for at once: %d", a.status)
	}
}

func TestWhatIsNoNonceOrAudienceIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	long := strings.Repeat("A", 86)
	for query, want := range map[string]int{
		"":                                http.StatusOK,
		"nonce=" + aNonce:                 http.StatusOK,
		"nonce=AAAAAAAAAAA%3D":            http.StatusOK,                  // 8 bytes, padded
		"nonce=AAAAAAAAAAA":               http.StatusUnprocessableEntity, // 8 bytes in 11 characters
		"nonce=AAAAAAAAAA%3D%3D":          http.StatusUnprocessableEntity, // 7 bytes
		"nonce=" + long:                   http.StatusOK,                  // 64 bytes
		"nonce=" + long + "AA":            http.StatusUnprocessableEntity,
		"nonce=" + long + "%3D":           http.StatusUnprocessableEntity, // padded wrongly
		"nonce=AAAAAAAAAAAAAAAAAAAAAAB":   http.StatusUnprocessableEntity, // bits that mean nothing
		"nonce=AAAAAAAAAAAAAA%2F%2B":      http.StatusUnprocessableEntity, // the other alphabet
		"nonce=%22AAAAAAAAAAAAA%22":       http.StatusUnprocessableEntity,
		"aud=a%20b":                       http.StatusUnprocessableEntity,
		"aud=" + strings.Repeat("a", 257): http.StatusUnprocessableEntity,
		"audience=a":                      http.StatusUnprocessableEntity,
	} {
		if a := s.ask(t, s.tokens[access.Reader], http.MethodGet, "/v1/hosts/good/verdict.jwt?"+query, ""); a.status != want {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestTheKeySetTellsEverybodyTheSame(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var answers []answer
	for _, token := range []string{"", "x", s.tokens[access.Reader], s.tokens[access.Admin]} {
		for _, query := range []string{"", "?name=good.example"} {
			a := s.ask(t, token, http.MethodGet, "/.well-known/jwks.json"+query, "")
			a.header.Del("Date")
			answers = append(answers, a)
		}
	}
	for _, a := range answers {
		if diff := cmp.Diff(answers[0], a, cmp.AllowUnexported(answer{})); diff != "" || a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, diff)
		}
	}
	if got := answers[0].header.Get("Cache-Control"); got != "public, max-age=300" {
		t.Errorf("Cache-Control: %s", got)
	}
	if raw, err := s.as(t, access.Reader).KeySet(t.Context()); err != nil || string(raw) != answers[0].body {
		t.Errorf("the client was told %s, %v", raw, err)
	}
	for _, private := range []string{`"d"`, "good", "pool"} {
		if strings.Contains(answers[0].body, private) {
			t.Errorf("%s is told: %s", private, answers[0].body)
		}
	}
}

// pythonOfThePage are the lines by which the documentation verifies a verdict.
func pythonOfThePage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "verdicts.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)\n```python\n(.*?)\n```\n").FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Fatal("docs/verdicts.md has no lines of Python")
	}
	return blocks[0][1]
}

// python runs the lines of the page where these files are, and returns what they print, and the last line of what they complain about.
func python(t *testing.T, lines, keys, token string) (printed, complaint string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"jwks.json": keys, "verdict.jwt": token} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stderr strings.Builder
	command := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", lines)
	command.Dir, command.Stderr = dir, &stderr
	out, err := command.Output()
	if strings.Contains(stderr.String(), "ModuleNotFoundError") || err != nil && stderr.Len() == 0 {
		t.Fatalf("python3-jwt is missing: apt-get install python3-jwt python3-cryptography\n%v %s", err, &stderr)
	}
	complaints := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	return strings.TrimSpace(string(out)), complaints[len(complaints)-1]
}

func TestTheLinesOfThePageVerifyAVerdictFromTheKeySetAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	lines := pythonOfThePage(t)
	keys := s.ask(t, "", http.MethodGet, "/.well-known/jwks.json", "").body
	sign := func(name, aud string) string {
		a := s.ask(t, s.tokens[access.Reader], http.MethodGet, fmt.Sprintf("/v1/hosts/%s/verdict.jwt?aud=%s", name, url.QueryEscape(aud)), "")
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/eat+jwt" {
			t.Fatal(a)
		}
		return a.body
	}
	verdictOf := func(name, aud string) func() string { return func() string { return sign(name, aud) } }
	about := func(name string) string { return strings.ReplaceAll(lines, `"node1.example"`, `"`+name+`"`) }
	good := sign("good", audience)
	parts := strings.Split(good, ".")
	other := emptySite(t).ask(t, "", http.MethodGet, "/.well-known/jwks.json", "").body
	forged := func() string {
		return parts[0] + "." + strings.Split(sign("bad.example", audience), ".")[1] + "." + parts[2]
	}
	for name, test := range map[string]struct {
		lines, keys string
		sign        func() string
		prints      string
		complains   string
	}{
		"trusted":                 {about("good.example"), keys, verdictOf("good", audience), "trusted", ""},
		"of another host":         {about("other.example"), keys, verdictOf("good", audience), "not trusted", ""},
		"untrusted":               {about("bad.example"), keys, verdictOf("bad.example", audience), "not trusted", ""},
		"unknown":                 {about("silent.example"), keys, verdictOf("silent.example", audience), "not trusted", ""},
		"for somebody else":       {about("good.example"), keys, verdictOf("good", "https://other.example.org"), "", "InvalidAudienceError"},
		"for nobody":              {about("good.example"), keys, verdictOf("good", ""), "", `MissingRequiredClaimError`},
		"of another issuer":       {strings.ReplaceAll(about("good.example"), `issuer="trustpool-server"`, `issuer="other"`), keys, verdictOf("good", audience), "", "InvalidIssuerError"},
		"by another server's key": {about("good.example"), other, verdictOf("good", audience), "", "KeyError"},
		"another's claims":        {about("bad.example"), keys, forged, "", "InvalidSignatureError"},
		"without a signature":     {about("good.example"), keys, func() string { return parts[0] + "." + parts[1] + "." }, "", "InvalidSignatureError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signed := time.Now()
			printed, complaint := python(t, test.lines, test.keys, test.sign())
			for strings.Contains(complaint, "ExpiredSignatureError") && time.Since(signed) > time.Minute { // as long as an unknown one holds: a slow machine
				signed = time.Now()
				printed, complaint = python(t, test.lines, test.keys, test.sign())
			}
			if printed != test.prints || !strings.Contains(complaint, test.complains) || (complaint == "") != (test.complains == "") {
				t.Errorf("it printed %q and complained %q", printed, complaint)
			}
		})
	}
}
