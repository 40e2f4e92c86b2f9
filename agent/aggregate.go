package agent

import (
	"context"

	"github.com/trustpool/trustpool/agent/internal/aggregate"
	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// signed is a quote, and how the caller's BOUND value is in it: nil, if it is the extraData itself.
type signed struct {
	*tpm.Quote

	aggregation *agentv1.Aggregation
}

// signOne has the TPM sign what is for one caller: together with what others wait for, if the caller can do with that. A bare nonce is never signed in that way: the caller
// wants to find it in extraData, and could choose it such that it is a leaf for something else.
func (s *quoteService) signOne(ctx context.Context, parsed quoteRequest, akName, extraData []byte) (signed, error) {
	if !parsed.aggregated || parsed.bindMode != agentv1.BindMode_BIND_MODE_BOUND || len(extraData) != aggregate.BoundSize {
		quote, err := s.tpm.Quote(ctx, tpm.Request{ExtraData: extraData, Selections: parsed.selections, AKName: akName})

		return signed{Quote: quote}, err
	}

	share, err := s.tpm.QuoteTogether(ctx, tpm.Together{AKName: akName, Selections: parsed.selections, Bound: [aggregate.BoundSize]byte(extraData)})
	if err != nil {
		return signed{}, err
	}

	proof, err := share.Tree.Proof(share.Index)
	if err != nil {
		return signed{}, err
	}

	return signed{share.Quote, &agentv1.Aggregation{
		Salt:           share.Leaf.Salt[:],
		Index:          uint32(share.Index),       // #nosec G115 -- below the size
		Size:           uint32(share.Tree.Size()), // #nosec G115 -- at most aggregate.MaxLeaves
		InclusionProof: proof,
	}}, nil
}
