package store

import (
	"context"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
)

// Token is what the server keeps of a bearer token: enough to know it again, not enough to use it.
type Token struct {
	// Name is what people call it, and what the admin log shows. ID is the part of the token that is no secret.
	Name string
	ID   string
	// Role is what it may do.
	Role string
	// SHA256 is the digest of its secret part.
	SHA256    []byte
	CreatedBy string
	CreatedAt time.Time
	// ExpiresAt is zero if it does not expire.
	ExpiresAt time.Time
}

const tokenColumns = "name, id, role, sha256, created_by, created_at, expires_at" // #nosec G101 -- names of columns

// AddToken keeps a token; ErrExists if there is one of this name.
func (s *Store) AddToken(ctx context.Context, a Act, token Token) error {
	err := s.act(ctx, a, func(t tx) (entry, error) {
		if _, err := trust.ParseWord(token.Name); err != nil {
			return entry{}, invalid(err)
		}
		n, err := t.exec("INSERT INTO tokens ("+tokenColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
			token.Name, token.ID, token.Role, token.SHA256, a.By, millis(a.At), millis(token.ExpiresAt))
		if err == nil && n == 0 {
			err = ErrExists
		}
		return entry{"token.add", token.Name, map[string]any{"role": token.Role, "expires_at": millis(token.ExpiresAt)}}, err
	})
	if err != nil {
		return fmt.Errorf("adding the token %.64s: %w", token.Name, err)
	}
	return nil
}

// RemoveToken ends a token.
func (s *Store) RemoveToken(ctx context.Context, a Act, name string) error {
	err := s.act(ctx, a, func(t tx) (entry, error) {
		n, err := t.exec("DELETE FROM tokens WHERE name = $1", name)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return entry{"token.remove", name, nil}, err
	})
	if err != nil {
		return fmt.Errorf("removing the token %.64s: %w", name, err)
	}
	return nil
}

// TokenByID returns the token of that ID, ErrNotFound if there is none.
func (s *Store) TokenByID(ctx context.Context, id string) (token Token, err error) {
	err = s.look(ctx, func(t tx) error {
		token, err = scanToken(func(into ...any) error {
			return t.row("SELECT "+tokenColumns+" FROM tokens WHERE id = $1", []any{id}, into...)
		})
		return err
	})
	if err != nil {
		return Token{}, fmt.Errorf("looking a token up: %w", err)
	}
	return token, nil
}

// Tokens returns all tokens by name.
func (s *Store) Tokens(ctx context.Context) (tokens []Token, err error) {
	err = s.look(ctx, func(t tx) error {
		return t.rows("SELECT "+tokenColumns+" FROM tokens ORDER BY name", nil, func(scan func(...any) error) error {
			token, err := scanToken(scan)
			tokens = append(tokens, token)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the tokens: %w", err)
	}
	return tokens, nil
}

func scanToken(scan func(...any) error) (token Token, err error) {
	var created, expires int64
	err = scan(&token.Name, &token.ID, &token.Role, &token.SHA256, &token.CreatedBy, &created, &expires)
	token.CreatedAt, token.ExpiresAt = moment(created), moment(expires)
	return token, err
}
