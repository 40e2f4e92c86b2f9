package store

import (
	"context"
	"fmt"
	"time"
)

// Session is a browser that showed a token.
type Session struct {
	// SHA256 is the digest of what the browser keeps.
	SHA256 []byte
	// TokenID is the ID of the token.
	TokenID string
	EndsAt  time.Time
}

// MaxSessions bounds the sessions of one token. Beyond it, the one ends that would have ended first.
const MaxSessions = 100

// AddSession keeps a session; ErrNotFound if its token is not there any more. Sessions that have ended go.
func (s *Store) AddSession(ctx context.Context, one Session, now time.Time) error {
	err := s.change(ctx, func(t tx) error {
		if _, err := t.exec("DELETE FROM sessions WHERE ends_at <= $1 OR token_id NOT IN (SELECT id FROM tokens)", millis(now)); err != nil {
			return err
		}
		others := "SELECT sha256 FROM sessions WHERE token_id = $1 ORDER BY ends_at DESC, sha256 LIMIT $2"
		if _, err := t.exec("DELETE FROM sessions WHERE token_id = $1 AND sha256 NOT IN ("+others+")", one.TokenID, MaxSessions-1); err != nil {
			return err
		}
		n, err := t.exec("INSERT INTO sessions (sha256, token_id, ends_at) SELECT $1, id, $3 FROM tokens WHERE id = $2", one.SHA256, one.TokenID, millis(one.EndsAt))
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("beginning a session: %w", err)
	}
	return nil
}

// SessionToken returns the token of a session that has not ended, ErrNotFound if there is none. sha256 is as in Session.
func (s *Store) SessionToken(ctx context.Context, sha256 []byte, now time.Time) (token Token, err error) {
	err = s.look(ctx, func(t tx) error {
		token, err = scanToken(func(into ...any) error {
			return t.row("SELECT "+tokenColumns+" FROM tokens WHERE id = (SELECT token_id FROM sessions WHERE sha256 = $1 AND ends_at > $2)", []any{sha256, millis(now)}, into...)
		})
		return err
	})
	if err != nil {
		return Token{}, fmt.Errorf("looking a session up: %w", err)
	}
	return token, nil
}

// RemoveSession ends a session, if it is there.
func (s *Store) RemoveSession(ctx context.Context, sha256 []byte) error {
	err := s.change(ctx, func(t tx) error {
		_, err := t.exec("DELETE FROM sessions WHERE sha256 = $1", sha256)
		return err
	})
	if err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return nil
}
