package knowngood

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
)

// plan is what decides in a pool, and what would.
type plan struct {
	before, after trust.Policy
	// byName: a set is for one node, so that no two nodes are alike.
	byName bool
	// alike are the verdicts on nodes that measured the same.
	alike map[[sha256.Size]byte]verdicts
}

// verdicts are those on one node.
type verdicts struct{ before, after trust.Verdict }

// plan makes the policies of all pools that a change touches.
func (t *Tools) plan(ctx context.Context, c Change) ([]*plan, error) {
	added, retired, pools, err := t.resolve(ctx, c)
	if err != nil {
		return nil, err
	}
	plans := make([]*plan, 0, len(pools))
	for _, name := range pools {
		before, err := t.store.Policy(ctx, name)
		if err != nil {
			return nil, err
		}
		after := before
		after.Sets = slices.DeleteFunc(slices.Clone(before.Sets), func(s trust.Set) bool { return slices.Contains(retired, s.Name) })
		after.Sets = append(after.Sets, added...) // each counts only in its own pools
		if i := slices.IndexFunc(c.Pools, func(p trust.Pool) bool { return p.Name == name }); i >= 0 {
			after.Pool = c.Pools[i]
		}
		byName := slices.ContainsFunc(slices.Concat(before.Sets, after.Sets), func(s trust.Set) bool { return s.Part == trust.HostSpecific })
		plans = append(plans, &plan{before: before, after: after, byName: byName, alike: make(map[[sha256.Size]byte]verdicts)})
	}
	return plans, nil
}

// judge judges a node by what is in force and by what would be. Of nodes that were trusted by evidence of the same measurements, one is judged for all: the signature of each was verified when it came.
func (p *plan) judge(n *store.NodeEvidence, now time.Time) (before, after trust.Verdict) {
	ev := n.Evidence
	sure := n.Good && p.signed(&n.Node, &ev.Evidence)
	var key [sha256.Size]byte
	if sure {
		key = p.class(&n.Node, &ev.Evidence)
		if known, have := p.alike[key]; have {
			return known.before, known.after
		}
	}
	answer := trust.Answer{Evidence: ev.Evidence, Nonce: ev.Nonce, QuotedAt: ev.QuotedAt}
	before = p.before.Judge(&n.Node, answer, nil, now).Verdict
	after = p.after.Judge(&n.Node, answer, before.Sets, now).Verdict
	if sure {
		p.alike[key] = verdicts{before, after}
	}
	return before, after
}

// signed tells whether the key that signed is still one of the node's, and not refused since.
func (p *plan) signed(node *trust.Node, ev *verifier.Evidence) bool {
	if node.Record == nil || node.Record.Name != node.Name || len(ev.AKPublic) == 0 {
		return false
	}
	i := slices.IndexFunc(node.Record.AKs, func(ak verifier.AKRecord) bool { return bytes.Equal(ak.Public, ev.AKPublic) })
	return i >= 0 && !slices.ContainsFunc(p.before.RefusedAKs, func(refused verifier.Hex) bool { return bytes.Equal(refused, node.Record.AKs[i].Name) })
}

// class names all that two verdicts on authentic evidence can differ by: the enrolment, what the node says of its TPM, the values, and the logs.
func (p *plan) class(node *trust.Node, ev *verifier.Evidence) [sha256.Size]byte {
	h := sha256.New()
	write := func(part []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	write([]byte(node.Record.Binding))
	write([]byte(ev.Hints[client.HintSimulated]))
	if p.byName {
		write([]byte(node.Name))
	}
	for _, bank := range ev.PCRs {
		write(binary.BigEndian.AppendUint16(nil, uint16(bank.Alg)))
		for _, v := range bank.Values {
			write([]byte{byte(v.Index)}) //nolint:gosec // 0 to 23
			write(v.Value)
		}
	}
	for _, log := range ev.Logs {
		digest := sha256.Sum256(log.Raw)
		write([]byte(log.Source))
		write(digest[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}
