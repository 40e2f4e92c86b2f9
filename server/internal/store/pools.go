package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/trustpool/trustpool/server/internal/trust"
)

const poolColumns = "name, description, requires, bindings, allow_simulated_nodes, revision"

// Pools returns all pools by name.
func (s *Store) Pools(ctx context.Context) ([]trust.Pool, error) {
	var pools []trust.Pool
	err := s.look(ctx, func(t tx) error {
		return t.rows("SELECT "+poolColumns+" FROM pools ORDER BY name", nil, func(scan func(...any) error) error {
			p, err := scanPool(scan)
			pools = append(pools, p)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the pools: %w", err)
	}
	return pools, nil
}

// Pool returns one pool, ErrNotFound if there is none.
func (s *Store) Pool(ctx context.Context, name string) (p trust.Pool, err error) {
	err = s.look(ctx, func(t tx) error {
		p, err = t.pool(name)
		return err
	})
	if err != nil {
		return trust.Pool{}, fmt.Errorf("reading the pool %s: %w", name, err)
	}
	return p, nil
}

// PutPool makes a pool, if revision is 0, or replaces the one that has this revision. What its nodes' verdicts rested on may be gone: they are unknown until the next quote, which is due at once.
func (s *Store) PutPool(ctx context.Context, a Act, p trust.Pool, revision int64) (trust.Pool, error) {
	err := s.act(ctx, a, func(t tx) (entry, error) {
		if err := p.Check(); err != nil {
			return entry{}, invalid(err)
		}
		p.Revision = revision + 1
		if err := t.putPool(p, revision); err != nil {
			return entry{}, err
		}
		err := errors.Join(t.withdraw(a, "node_id IN (SELECT id FROM nodes WHERE pool = $1)", p.Name), t.hurry(a, "pool = $1", p.Name), t.bumpPolicy())
		return entry{"pool.put", p.Name, map[string]any{
			"requires": p.Requires, "bindings": p.Bindings, "allow_simulated_nodes": p.AllowSimulatedNodes, "revision": p.Revision,
		}}, err
	})
	if err != nil {
		return trust.Pool{}, fmt.Errorf("writing the pool %s: %w", p.Name, err)
	}
	return p, nil
}

func (t tx) putPool(p trust.Pool, revision int64) error {
	requires, err := json.Marshal(p.Requires)
	if err != nil {
		return err
	}
	bindings, err := json.Marshal(p.Bindings)
	if err != nil {
		return err
	}
	statement := "UPDATE pools SET description = $2, requires = $3, bindings = $4, allow_simulated_nodes = $5, revision = $6 WHERE name = $1 AND revision = $6 - 1"
	if revision == 0 {
		statement = "INSERT INTO pools (" + poolColumns + ") VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING"
	}
	n, err := t.exec(statement, p.Name, p.Description, string(requires), string(bindings), p.AllowSimulatedNodes, p.Revision)
	if err != nil || n == 1 {
		return err
	}
	there, err := t.pool(p.Name)
	if errors.Is(err, ErrNotFound) {
		return err
	}
	return errors.Join(err, changed("pool "+p.Name, there.Revision, revision))
}

// DeletePool removes a pool without nodes.
func (s *Store) DeletePool(ctx context.Context, a Act, name string) error {
	err := s.act(ctx, a, func(t tx) (entry, error) {
		var nodes int64
		if err := t.row("SELECT count(*) FROM nodes WHERE pool = $1 AND state <> $2", []any{name, trust.Decommissioned}, &nodes); err != nil {
			return entry{}, err
		}
		if nodes > 0 {
			return entry{}, conflictf("there are %d nodes in the pool: move or decommission them first", nodes)
		}
		n, err := t.exec("DELETE FROM pools WHERE name = $1", name)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return entry{"pool.delete", name, nil}, errors.Join(err, t.bumpPolicy())
	})
	if err != nil {
		return fmt.Errorf("deleting the pool %s: %w", name, err)
	}
	return nil
}

func (t tx) pool(name string) (trust.Pool, error) {
	return scanPool(func(into ...any) error {
		return t.row("SELECT "+poolColumns+" FROM pools WHERE name = $1", []any{name}, into...)
	})
}

func scanPool(scan func(...any) error) (p trust.Pool, err error) {
	var requires, bindings string
	if err := scan(&p.Name, &p.Description, &requires, &bindings, &p.AllowSimulatedNodes, &p.Revision); err != nil {
		return trust.Pool{}, err
	}
	return p, errors.Join(json.Unmarshal([]byte(requires), &p.Requires), json.Unmarshal([]byte(bindings), &p.Bindings))
}
