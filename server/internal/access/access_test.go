package access_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/server/internal/access"
	"github.com/trustpool/trustpool/server/internal/store"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "trustpool.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func addToken(t *testing.T, s *store.Store, name string, role access.Role, expires time.Time) string {
	t.Helper()
	text, kept, err := access.NewToken(name, role, expires)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddToken(t.Context(), store.Act{By: "alice", At: noon}, kept); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(kept.SHA256), text) || strings.HasSuffix(text, kept.ID) {
		t.Error("what is kept tells the token")
	}
	return text
}

func TestOnlyAWholeTokenIsKnown(t *testing.T) {
	t.Parallel()

	s := newStore(t)
	good := addToken(t, s, "nova", access.Reader, time.Time{})
	other := addToken(t, s, "ops", access.Admin, noon.Add(time.Hour))
	removed := addToken(t, s, "old", access.Admin, time.Time{})
	if err := s.RemoveToken(t.Context(), store.Act{By: "alice", At: noon}, "old"); err != nil {
		t.Fatal(err)
	}
	half := func(text string, first bool) string {
		i := strings.LastIndex(text[:30], "_")
		if first {
			return text[:i]
		}
		return text[i:]
	}
	guard := access.NewGuard(s, nil)
	for name, test := range map[string]struct {
		header string
		at     time.Time
		want   access.Caller
	}{
		"a reader":                      {"Bearer " + good, noon, access.Caller{Name: "token:nova", Role: access.Reader}},
		"the scheme in small letters":   {"bearer " + good, noon, access.Caller{Name: "token:nova", Role: access.Reader}},
		"an admin":                      {"Bearer " + other, noon, access.Caller{Name: "token:ops", Role: access.Admin}},
		"an admin whose time is over":   {"Bearer " + other, noon.Add(time.Hour), access.Caller{}},
		"a token that was removed":      {"Bearer " + removed, noon, access.Caller{}},
		"no header":                     {"", noon, access.Caller{}},
		"no token":                      {"Bearer ", noon, access.Caller{}},
		"another scheme":                {"Basic " + good, noon, access.Caller{}},
		"the ID alone":                  {"Bearer " + half(good, true), noon, access.Caller{}},
		"the secret alone":              {"Bearer " + half(good, false), noon, access.Caller{}},
		"one's ID and another's secret": {"Bearer " + half(good, true) + half(other, false), noon, access.Caller{}},
		"a letter more":                 {"Bearer " + good + "A", noon, access.Caller{}},
		"a letter less":                 {"Bearer " + good[:len(good)-1], noon, access.Caller{}},
		"a secret of zeros":             {"Bearer tp_0000000000000000_" + strings.Repeat("A", 43), noon, access.Caller{}},
	} {
		r := &http.Request{Header: http.Header{}}
		if test.header != "" {
			r.Header.Set("Authorization", test.header)
		}
		got, err := guard.Caller(r, test.at)
		if got != test.want || (err == nil) != (test.want.Role != access.Nobody) || err != nil && !errors.Is(err, access.ErrNobody) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestACertificateIsKnownByItsNames(t *testing.T) {
	t.Parallel()

	spiffe, err := url.Parse("spiffe://example/publisher")
	if err != nil {
		t.Fatal(err)
	}
	guard := access.NewGuard(newStore(t), map[string]access.Role{"dns:ops.example": access.Admin, "uri:spiffe://example/publisher": access.Reader})
	for name, test := range map[string]struct {
		leaf     *x509.Certificate
		verified bool
		want     access.Role
	}{
		"a DNS name":              {&x509.Certificate{DNSNames: []string{"other.example", "OPS.example"}}, true, access.Admin},
		"a URI":                   {&x509.Certificate{URIs: []*url.URL{spiffe}}, true, access.Reader},
		"the strongest of two":    {&x509.Certificate{DNSNames: []string{"ops.example"}, URIs: []*url.URL{spiffe}}, true, access.Admin},
		"a name that nobody has":  {&x509.Certificate{DNSNames: []string{"node1.example"}}, true, access.Nobody},
		"the subject's name":      {&x509.Certificate{}, true, access.Nobody},
		"what TLS did not verify": {&x509.Certificate{DNSNames: []string{"ops.example"}}, false, access.Nobody},
	} {
		state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{test.leaf}}
		if test.verified {
			state.VerifiedChains = [][]*x509.Certificate{{test.leaf}}
		}
		got, err := guard.Caller(&http.Request{TLS: state, Header: http.Header{}}, noon)
		if got.Role != test.want || (err == nil) != (test.want != access.Nobody) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		// A token that is wrong is not made up for by a certificate.
		wrong := &http.Request{TLS: state, Header: http.Header{"Authorization": {"Bearer x"}}}
		if _, err := guard.Caller(wrong, noon); !errors.Is(err, access.ErrNobody) {
			t.Errorf("%s, with a wrong token: %v", name, err)
		}
	}
}

func TestRolesHaveAnOrder(t *testing.T) {
	t.Parallel()

	for i, word := range []string{"nobody", "reader", "operator", "admin"} {
		if access.Role(i).String() != word {
			t.Errorf("%d is %s", i, access.Role(i))
		}
		if role, err := access.ParseRole(word); (err == nil) != (i > 0) || int(role) != i {
			t.Errorf("%s: %v, %v", word, role, err)
		}
	}
	if _, _, err := access.NewToken("x", access.Nobody, time.Time{}); err == nil {
		t.Error("a token for nobody")
	}
	if access.Role(9).String() != "nobody" {
		t.Error("a role that is none has a word")
	}
}
