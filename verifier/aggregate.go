package verifier

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Bounds of an aggregation.
const (
	saltSize     = 32
	maxAggregate = 1024 // leaves of one tree; agents make at most 256
)

// The domain of an aggregated extraData, and the prefixes of RFC 9162, 2.1.1.
const (
	aggregateDomain = "trustpool-aggregate-v1\x00"
	leafPrefix      = 0x00
	nodePrefix      = 0x01
)

// Aggregation says how a bound quote was signed together with those of other callers: their BOUND values are the leaves of a Merkle tree (RFC 9162, 2.1.1, with
// SHA-256), and the TPM signed its root. It is the node's word, and proves itself or is refused:
//
//	leaf hash = SHA-256(00 || Salt || bound), bound being the 34 bytes that would be signed for this caller alone (see Binding)
//	node hash = SHA-256(01 || left || right)
//	extraData = 7B 02 || SHA-256("trustpool-aggregate-v1" 00 || u32 Size || root)
//
// It proves as much as a quote of the caller's own: a root that holds the caller's nonce is younger than the nonce, and the leaf binds the caller's connection, the AK
// and the logs. PCRs and their selection are signed in the quote itself.
//
// Say that extraData is what Verify computed, and that whoever chose Salt, Index, Size and Proof did so freely, after he saw the nonce. Then, as long as nobody finds
// two inputs of one SHA-256, or an input of a given one:
//
//   - The signed digest is of this domain, Size and root, since these have a fixed length together. So nothing that is signed under another mark or domain fits (a bound quote has 7B 01 and
//     "trustpool-bound-v1"; agents refuse to sign a bare nonce that reads as either), nor does a tree of another size.
//   - Size and Index give the tree's shape, hence the length of the way down and its turns. Proof has that length exactly, so the honest tree and the one of Proof are equal from the root
//     down to the leaf hash at Index: at each step equal hashes have equal inputs. A node can't pass for a leaf, nor a leaf for a node: they lie at other depths, and begin with other bytes.
//   - Equal leaf hashes have equal inputs, and both parts of a leaf have a fixed length. So Salt is the agent's, and the value of the honest leaf at Index is this caller's, with its nonce,
//     exporter, AK Name and logs. Choosing the salt is one more way to search for an input, at 2^256 tries; and since no more than 1024 leaves count, each root that was
//     signed before the nonce was made spares a forger ten of these 256 bits at most.
//   - The AK's Name is in the leaf. It is taken from the key whose signature was checked, so that a root signed by another AK, of this TPM or another one, fits no leaf.
//
// What it does not prove is what a bound quote does not either: whoever may use the node's TPM can have any extraData signed, and needs no aggregation for that.
type Aggregation struct {
	// Salt is 32 random bytes that the agent drew for this leaf and told to its caller alone: they keep the callers' values from each other.
	Salt []byte
	// Index is the leaf's place, from 0, and Size the number of leaves, at most 1024.
	Index uint32
	Size  uint32
	// Proof holds the hashes beside the way from the leaf up to the root, 32 bytes each (RFC 9162, 2.1.3.1).
	Proof [][]byte
}

// checkAggregation wants an aggregation, if there is one, to be allowed and to have sizes that fit.
func (e *exam) checkAggregation() error {
	a := e.ev.Aggregation
	switch {
	case a == nil:
		return nil
	case e.policy.BindMode != BindBound:
		return errors.New("the quote is said to be signed together with others: only bound ones ever are")
	case e.policy.ForbidAggregation:
		return errors.New("the quote was signed together with others, which the policy forbids")
	case len(a.Salt) != saltSize:
		return fmt.Errorf("the aggregation's salt has %d bytes, not %d", len(a.Salt), saltSize)
	case a.Size > maxAggregate:
		return fmt.Errorf("the aggregation is of %d quotes, more than %d", a.Size, maxAggregate)
	case a.Index >= a.Size:
		return fmt.Errorf("the aggregation's index is %d of %d quotes", a.Index, a.Size)
	}
	return nil
}

// aggregationRemark says that a quote which passed was not signed for the caller alone.
func (e *exam) aggregationRemark() error {
	if e.ev.Aggregation == nil {
		return nil
	}
	aggregated := Aggregated{Index: e.ev.Aggregation.Index, Size: e.ev.Aggregation.Size}
	return remark{Passed, "the nonce that was asked with is signed, " + aggregated.String()}
}

// String says it in words: "together with 12 others".
func (a Aggregated) String() string {
	switch a.Size {
	case 1:
		return "alone, in an aggregate of one"
	case 2:
		return "together with 1 other"
	default:
		return fmt.Sprintf("together with %d others", a.Size-1)
	}
}

// extraData returns what is signed for a tree that holds the BOUND value. Salt, Size and Index were checked before.
func (a *Aggregation) extraData(bound []byte) ([]byte, error) {
	root, err := a.root(hash([]byte{leafPrefix}, a.Salt, bound))
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.AppendUint32(nil, a.Size)
	return append([]byte{mark, markAggregated}, hash([]byte(aggregateDomain), size, root)...), nil
}

// root goes from the leaf hash r to the root: RFC 9162, 2.1.3.2, whose names these are.
func (a *Aggregation) root(r []byte) ([]byte, error) {
	fn, sn := a.Index, a.Size-1
	for _, p := range a.Proof {
		if sn == 0 || len(p) != sha256.Size {
			return nil, fmt.Errorf("the inclusion proof of %d of %d quotes has a hash of another size or too many of them", a.Index, a.Size)
		}
		if fn%2 == 1 || fn == sn {
			r = hash([]byte{nodePrefix}, p, r)
			for fn%2 == 0 && fn != 0 { // the levels at which nothing is beside the leaf's subtree
				fn, sn = fn/2, sn/2
			}
		} else {
			r = hash([]byte{nodePrefix}, r, p)
		}
		fn, sn = fn/2, sn/2
	}
	if sn != 0 {
		return nil, fmt.Errorf("the inclusion proof of %d of %d quotes has too few hashes", a.Index, a.Size)
	}
	return r, nil
}

// unboundDetail says in what way a quote is not the bound one that was wanted, bound being the BOUND value.
func (e *exam) unboundDetail(nonce, bound []byte) string {
	got, aggregated := e.quoted.ExtraData.Buffer, e.ev.Aggregation != nil
	switch {
	case len(nonce) > 0 && bytes.Equal(nonce, got):
		return "the bare nonce was signed where a bound quote was asked for"
	case aggregated && bytes.Equal(bound, got):
		return "the quote was signed for the caller alone, but is said to be signed together with others"
	case aggregated:
		return "TLS ends before the agent, or the quote was relayed: none of those signed together binds the caller's connection, nonce, AK and list of logs at the place that is told"
	case bytes.HasPrefix(got, []byte{mark, markAggregated}):
		return "the quote was signed together with others, and the evidence does not show whether the caller's is among them"
	default:
		return "TLS ends before the agent, or the quote was relayed: it binds another connection, nonce, AK or list of logs than the caller's"
	}
}

// hash returns the SHA-256 of the parts, one after the other.
func hash(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
