package knowngood

import (
	"cmp"
	"context"
	"fmt"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/knowngood"
)

// invalidf is a store.ErrInvalid with a sentence.
func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", store.ErrInvalid, fmt.Sprintf(format, args...))
}

// Import is a set from elsewhere.
type Import struct {
	Format knowngood.Format
	Raw    []byte
	// Name, Part and Node are those of the file if they are empty. Pools are never in a file.
	Name  string
	Part  trust.Part
	Node  string
	Pools []string
}

// Imported is the draft that was made, and what was left out.
type Imported struct {
	Set trust.Set
	// Untrusted are values of SHA-1 banks. They are in no set.
	Untrusted []knowngood.UntrustedValue
	Notes     []string
}

// Import makes a draft of a set from elsewhere. What only has SHA-1 values is an error: no set can be made of them.
func (t *Tools) Import(ctx context.Context, a store.Act, in Import) (Imported, error) {
	done, err := t.importSet(ctx, a, in)
	if err != nil {
		return Imported{}, fmt.Errorf("importing a set: %w", err)
	}
	return done, nil
}

func (t *Tools) importSet(ctx context.Context, a store.Act, in Import) (Imported, error) {
	file, err := knowngood.Import(in.Format, in.Raw)
	if err != nil {
		return Imported{}, fmt.Errorf("%w: %w", store.ErrInvalid, err)
	}
	done := Imported{Untrusted: file.Untrusted}
	if len(file.KnownGood.PCRs) == 0 && len(file.Untrusted) > 0 {
		return Imported{}, invalidf("all %d values are of SHA-1, for which others can make content to match: learn the set anew from a node (capture)", len(file.Untrusted))
	}
	if len(file.Untrusted) > 0 {
		done.Notes = append(done.Notes, fmt.Sprintf("%d values of SHA-1 were left out: nothing may rest on them", len(file.Untrusted)))
	}
	if len(file.KnownGood.AKs) > 0 {
		done.Notes = append(done.Notes, "the attestation keys that the file pins were left out: here, enrolment says which key may sign")
	}

	set := trust.Set{
		Name: cmp.Or(in.Name, file.Name), Description: file.Description, Part: cmp.Or(in.Part, trust.Part(file.Part)), Node: cmp.Or(in.Node, file.Node), Pools: in.Pools, Source: file.Source,
		ValidFrom: file.ValidFrom, ValidUntil: file.ValidUntil, KnownGood: verifier.KnownGood{PCRs: file.KnownGood.PCRs},
	}
	drafts, err := t.putAll(ctx, a, []trust.Set{set})
	if err != nil {
		return Imported{}, err
	}
	done.Set = drafts[0]
	return done, nil
}

// Export writes a set.
func (t *Tools) Export(ctx context.Context, name string, format knowngood.Format) ([]byte, error) {
	set, err := t.store.Set(ctx, name)
	if err != nil {
		return nil, err
	}
	raw, err := knowngood.Export(format, knowngood.Set{
		Name: set.Name, Description: set.Description, Part: string(set.Part), Node: set.Node, Source: set.Source, ValidFrom: set.ValidFrom, ValidUntil: set.ValidUntil, KnownGood: set.KnownGood,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrConflict, err)
	}
	return raw, nil
}

// Compare says how two sets differ.
func (t *Tools) Compare(ctx context.Context, a, b string) ([]knowngood.Difference, error) {
	first, err := t.store.Set(ctx, a)
	if err != nil {
		return nil, err
	}
	second, err := t.store.Set(ctx, b)
	if err != nil {
		return nil, err
	}
	return knowngood.Compare(first.KnownGood, second.KnownGood), nil
}
