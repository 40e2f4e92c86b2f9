// Package access says who is calling the server, and what he may do.
//
// A caller shows a bearer token or a client certificate. Of a token the server keeps the SHA-256 of its secret part, which is 32 random bytes, so that whoever reads the database can't use it.
// Who shows neither, or what the server does not know, is nobody: every door answers him the same, whatever he asked for.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
)

// Role is what a caller may do. Each includes those before it. The zero value may do nothing.
type Role uint8

const (
	// Nobody may do nothing.
	Nobody Role = iota
	// Reader may ask for verdicts, and read all that is known but secrets.
	Reader
	// Operator may have nodes asked at once, add and remove them, and write drafts of known-good sets.
	Operator
	// Admin may put sets in force and retire them, change pools, decide on nodes on hold, refuse keys, and manage tokens.
	Admin
)

// roleNames are the words, in the order of the roles.
func roleNames() []string { return []string{"nobody", "reader", "operator", "admin"} }

// String gives the role's word.
func (r Role) String() string {
	if int(r) >= len(roleNames()) {
		return roleNames()[Nobody]
	}
	return roleNames()[r]
}

// ParseRole reads "reader", "operator" or "admin".
func ParseRole(text string) (Role, error) {
	for i, name := range roleNames() {
		if name == text && Role(i) != Nobody {
			return Role(i), nil
		}
	}
	return Nobody, fmt.Errorf("%.32q is no role: write reader, operator or admin", text)
}

// Caller is somebody whom the server knows.
type Caller struct {
	// Name is what the admin log shows: "token:nova" or "certificate:dns:ops.example".
	Name string
	Role Role
}

// ErrNobody says that the caller is not known. It says no more.
var ErrNobody = errors.New("no token or certificate that is known")

const (
	prefix     = "tp_"
	idSize     = 8  // bytes
	secretSize = 32 // bytes
)

// NewToken makes a token: the text that the caller shows, which is to be told to him once, and what the store keeps.
func NewToken(name string, role Role, expires time.Time) (string, store.Token, error) {
	if role == Nobody {
		return "", store.Token{}, errors.New("a token needs a role")
	}
	id, secret := make([]byte, idSize), make([]byte, secretSize)
	if _, err := rand.Read(id); err != nil {
		return "", store.Token{}, fmt.Errorf("making a token: %w", err)
	}
	if _, err := rand.Read(secret); err != nil {
		return "", store.Token{}, fmt.Errorf("making a token: %w", err)
	}
	digest := sha256.Sum256(secret)
	kept := store.Token{Name: name, ID: hex.EncodeToString(id), Role: role.String(), SHA256: digest[:], ExpiresAt: expires}
	return prefix + kept.ID + "_" + base64.RawURLEncoding.EncodeToString(secret), kept, nil
}

// Guard knows callers. It is safe for concurrent use.
type Guard struct {
	store        *store.Store
	certificates map[string]Role
}

// NewGuard returns a Guard. certificates are the roles by subject alternative name of client certificates, written "dns:NAME" or "uri:URI"; TLS has verified the certificate itself.
func NewGuard(s *store.Store, certificates map[string]Role) *Guard {
	return &Guard{store: s, certificates: certificates}
}

// Caller says who made a request, by "Authorization: Bearer TOKEN" or by the client certificate of its connection. Who shows a token is judged by it alone. ErrNobody is in the chain of the error if the
// caller is not known; any other error is the server's own trouble, and nobody is let in.
func (g *Guard) Caller(r *http.Request, now time.Time) (Caller, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return Caller{}, ErrNobody
		}
		return g.Token(r.Context(), strings.TrimSpace(token), now)
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return Caller{}, ErrNobody
	}
	return g.certificate(r.TLS.VerifiedChains[0][0])
}

// Token says whose token this is.
func (g *Guard) Token(ctx context.Context, text string, now time.Time) (Caller, error) {
	id, secret, ok := parseToken(text)
	if !ok {
		return Caller{}, ErrNobody
	}
	kept, err := g.store.TokenByID(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Caller{}, err
	}
	// An ID that is not known takes as long as a secret that is wrong.
	digest, want := sha256.Sum256(secret), make([]byte, sha256.Size)
	copy(want, kept.SHA256)
	if subtle.ConstantTimeCompare(digest[:], want) != 1 || err != nil {
		return Caller{}, ErrNobody
	}
	if !kept.ExpiresAt.IsZero() && !now.Before(kept.ExpiresAt) {
		return Caller{}, ErrNobody
	}
	role, err := ParseRole(kept.Role)
	if err != nil {
		return Caller{}, ErrNobody
	}
	return Caller{Name: "token:" + kept.Name, Role: role}, nil
}

// parseToken takes a token's text apart.
func parseToken(text string) (id string, secret []byte, ok bool) {
	id, encoded, ok := strings.Cut(strings.TrimPrefix(text, prefix), "_")
	if !ok || !strings.HasPrefix(text, prefix) || len(id) != 2*idSize || len(encoded) != base64.RawURLEncoding.EncodedLen(secretSize) {
		return "", nil, false
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	return id, secret, err == nil
}

// certificate finds the strongest role among the names in a client certificate.
func (g *Guard) certificate(leaf *x509.Certificate) (Caller, error) {
	var names []string
	for _, name := range leaf.DNSNames {
		names = append(names, "dns:"+strings.ToLower(name))
	}
	for _, uri := range leaf.URIs {
		names = append(names, "uri:"+uri.String())
	}
	var caller Caller
	for _, name := range names {
		if role := g.certificates[name]; role > caller.Role {
			caller = Caller{Name: "certificate:" + name, Role: role}
		}
	}
	if caller.Role == Nobody {
		return Caller{}, ErrNobody
	}
	return caller, nil
}
