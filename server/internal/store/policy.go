package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// Policy returns all that decides on the nodes of a pool now, but for the Validity, which is the server's. Drafts and retired sets are not in it.
func (s *Store) Policy(ctx context.Context, pool string) (trust.Policy, error) {
	var p trust.Policy
	err := s.view(ctx, func(t tx) (err error) {
		if p.Pool, err = t.pool(pool); err != nil {
			return err
		}
		if p.Sets, err = t.sets(SetFilter{State: trust.InForce, Pool: pool}); err != nil {
			return err
		}
		refused, err := t.refused()
		for _, r := range refused {
			p.RefusedAKs = append(p.RefusedAKs, r.Name)
		}
		return errors.Join(err, t.row("SELECT revision FROM policy_revision", nil, &p.Revision))
	})
	if err != nil {
		return trust.Policy{}, fmt.Errorf("reading the policy of the pool %s: %w", pool, err)
	}
	return p, nil
}

// PolicyRevision changes whenever a pool, a set in force or the list of refused AKs does.
func (s *Store) PolicyRevision(ctx context.Context) (revision int64, err error) {
	err = s.look(ctx, func(t tx) error { return t.row("SELECT revision FROM policy_revision", nil, &revision) })
	if err != nil {
		return 0, fmt.Errorf("reading the revision of the policy: %w", err)
	}
	return revision, nil
}

func (t tx) bumpPolicy() error {
	_, err := t.exec("UPDATE policy_revision SET revision = revision + 1")
	return err
}

// RefusedAK is an AK that is trusted no more.
type RefusedAK struct {
	Name verifier.Hex
	Note string
	By   string
	At   time.Time
}

// RefusedAKs returns the refuse list.
func (s *Store) RefusedAKs(ctx context.Context) (refused []RefusedAK, err error) {
	err = s.look(ctx, func(t tx) error {
		refused, err = t.refused()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the refuse list: %w", err)
	}
	return refused, nil
}

func (t tx) refused() ([]RefusedAK, error) {
	var refused []RefusedAK
	err := t.rows("SELECT name, note, actor, at FROM refused_aks ORDER BY name", nil, func(scan func(...any) error) error {
		var (
			r    RefusedAK
			name string
			at   int64
		)
		if err := scan(&name, &r.Note, &r.By, &at); err != nil {
			return err
		}
		raw, err := hex.DecodeString(name)
		r.Name, r.At = raw, moment(at)
		refused = append(refused, r)
		return err
	})
	return refused, err
}

// RefuseAK puts an AK on the refuse list. Verdicts of nodes that have it are unknown from this moment on, and these nodes are asked at once.
func (s *Store) RefuseAK(ctx context.Context, a Act, name verifier.Hex, note string) error {
	err := s.act(ctx, a, func(t tx) (entry, error) {
		if _, err := verifier.ParseRefuseList([]byte(name.String())); err != nil {
			return entry{}, invalid(err)
		}
		_, err := t.exec("INSERT INTO refused_aks (name, note, actor, at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING", name.String(), note, a.By, millis(a.At))
		err = errors.Join(err, t.withdraw(a, "node_id IN (SELECT id FROM nodes WHERE "+hasAK+")", name.String()), t.hurry(a, hasAK, name.String()), t.bumpPolicy())
		return entry{"ak.refuse", name.String(), note}, err
	})
	if err != nil {
		return fmt.Errorf("refusing the AK %s: %w", name, err)
	}
	return nil
}

// hasAK selects the nodes that are enrolled with an AK. Its Name is in hexadecimal digits: they match nothing but themselves.
const hasAK = "record LIKE '%' || $1 || '%'"

// AllowAK takes an AK off the refuse list. Nodes that have it are asked at once.
func (s *Store) AllowAK(ctx context.Context, a Act, name verifier.Hex) error {
	err := s.act(ctx, a, func(t tx) (entry, error) {
		n, err := t.exec("DELETE FROM refused_aks WHERE name = $1", name.String())
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return entry{"ak.allow", name.String(), nil}, errors.Join(err, t.hurry(a, hasAK, name.String()), t.bumpPolicy())
	})
	if err != nil {
		return fmt.Errorf("taking the AK %s off the refuse list: %w", name, err)
	}
	return nil
}
