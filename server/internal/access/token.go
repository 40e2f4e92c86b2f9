package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
)

// A token is trustpool_ID_SECRET: ID is 8 random bytes in hexadecimal digits, by which the server finds it; SECRET is 32 random bytes in base64url (RFC 4648, 5), of which the server keeps
// the SHA-256. Nobody guesses 256 bits, so that a digest without salt and work will do. The word in front is for scanners that look for leaked secrets.
const (
	tokenWord   = "trustpool_"
	idBytes     = 8
	secretBytes = 32
	// tokenSize is how long the text of every token is.
	tokenSize = len(tokenWord) + 2*idBytes + 1 + (8*secretBytes+5)/6
)

// errNoToken is the same for all texts that are no token.
var errNoToken = errors.New("this is no token of trustpool-server")

// NewToken makes a token of that name and role, which ends at a time; zero: never. The text goes to its user and is kept nowhere; what the server keeps goes to store.AddToken.
func NewToken(name string, role Role, expires time.Time) (text string, kept store.Token, err error) {
	if _, err := trust.ParseWord(name); err != nil {
		return "", store.Token{}, fmt.Errorf("making a token: %w", err)
	}
	if _, err := ParseRole(role.String()); err != nil {
		return "", store.Token{}, fmt.Errorf("making a token: %w", err)
	}
	id, secret := make([]byte, idBytes), make([]byte, secretBytes)
	_, _ = rand.Read(id) // never fails
	_, _ = rand.Read(secret)

	digest := sha256.Sum256(secret)
	kept = store.Token{Name: name, ID: hex.EncodeToString(id), Role: role.String(), SHA256: digest[:], ExpiresAt: expires}
	return tokenWord + kept.ID + "_" + base64.RawURLEncoding.EncodeToString(secret), kept, nil
}

// parseToken takes a token's text apart.
func parseToken(text string) (id string, digest [sha256.Size]byte, err error) {
	rest, ours := strings.CutPrefix(text, tokenWord)
	id, coded, whole := strings.Cut(rest, "_") // base64url has a _ too, but the first one is ours
	if len(text) != tokenSize || !ours || !whole || len(id) != hex.EncodedLen(idBytes) {
		return "", digest, errNoToken
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(coded)
	if err != nil || len(secret) != secretBytes {
		return "", digest, errNoToken
	}
	return id, sha256.Sum256(secret), nil
}
