// Package aggregate makes one extraData of the BIND_MODE_BOUND values of many callers, so that one TPM2_Quote answers all of them.
//
// The construction is defined at message Aggregation of the contract (proto/trustpool/agent/v1/quote.proto), with test vectors, and in short is
//
//	extraData = 7B 02 || SHA-256("trustpool-aggregate-v1" 00 || u32 size || root)
//
// where root is the Merkle Tree Hash (RFC 9162, 2.1.1) of the entries salt || bound.
//
// What it proves: a root that holds a caller's nonce is younger than that nonce, and so is the quote that signs the root. The leaf holds the whole BOUND value, which binds the caller's own
// connection, the AK and the logs of the reply; so the leaf of one caller is of no use to another, and the caller checks everything but the PCR selection, which the quote itself
// signs, as if it had been alone. The size is signed as well: one root can't be read as that of trees of two sizes. The mark 7B 02 keeps these extraData apart from all
// others that the agent signs, also from nonces, which may not begin so.
//
// What a caller learns of the others: how many leaves there were and which one is its own, from the size and the index. The hashes in its proof are of leaves with salts that it does not know, so
// that it can't even find out whether a value that it guesses is among them.
//
// The tree is built by a library whose makers run Certificate Transparency logs with it; the check of a proof is the verifier's own.
package aggregate

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

const (
	// BoundSize is the size of a BIND_MODE_BOUND value: a mark and a SHA-256.
	BoundSize = 2 + sha256.Size
	// SaltSize is that of a leaf's salt.
	SaltSize = 32
	// MaxLeaves is how many leaves a tree has at most.
	MaxLeaves = 256
)

// Leaf is one caller's part of a tree.
type Leaf struct {
	// Salt is told to the leaf's caller alone.
	Salt [SaltSize]byte
	// Bound is what would have been signed for the caller alone. Nothing that a caller may choose byte for byte becomes a leaf.
	Bound [BoundSize]byte
}

// NewLeaf returns a leaf with a fresh salt.
func NewLeaf(bound [BoundSize]byte) Leaf {
	leaf := Leaf{Bound: bound}
	_, _ = rand.Read(leaf.Salt[:]) // never fails

	return leaf
}

// Tree is a batch of leaves under one root. It is not changed after it was made, so many may ask it for their proofs.
type Tree struct {
	size  int
	root  []byte
	nodes map[compact.NodeID][]byte
}

// New builds the tree of 1 to MaxLeaves leaves, in their order.
func New(leaves []Leaf) (*Tree, error) {
	if len(leaves) == 0 || len(leaves) > MaxLeaves {
		return nil, fmt.Errorf("aggregating: %d leaves, not 1 to %d", len(leaves), MaxLeaves)
	}

	tree := &Tree{size: len(leaves), nodes: make(map[compact.NodeID][]byte, 2*len(leaves))}
	keep := func(id compact.NodeID, hash []byte) { tree.nodes[id] = hash }
	factory := &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	all := factory.NewEmptyRange(0)

	for i := range leaves {
		var entry [SaltSize + BoundSize]byte

		copy(entry[:], leaves[i].Salt[:])
		copy(entry[SaltSize:], leaves[i].Bound[:])

		if err := all.Append(rfc6962.DefaultHasher.HashLeaf(entry[:]), keep); err != nil {
			return nil, fmt.Errorf("aggregating: %w", err)
		}
	}

	root, err := all.GetRootHash(nil)
	if err != nil {
		return nil, fmt.Errorf("aggregating: %w", err)
	}

	tree.root = root

	return tree, nil
}

// Size is the number of leaves.
func (t *Tree) Size() int { return t.size }

// ExtraData returns what the TPM is to sign: 34 bytes.
func (t *Tree) ExtraData() []byte {
	message := append([]byte("trustpool-aggregate-v1"), 0)
	message = binary.BigEndian.AppendUint32(message, uint32(t.size)) // #nosec G115 -- at most MaxLeaves
	sum := sha256.Sum256(append(message, t.root...))

	return append([]byte{0x7B, 0x02}, sum[:]...)
}

// Proof returns the inclusion proof of a leaf (RFC 9162, 2.1.3.1), from the leaf upwards; nil for the only leaf of a tree.
func (t *Tree) Proof(index int) ([][]byte, error) {
	if index < 0 || index >= t.size {
		return nil, fmt.Errorf("proving leaf %d of %d: there is no such leaf", index, t.size)
	}

	beside, err := proof.Inclusion(uint64(index), uint64(t.size)) // #nosec G115 -- an index into leaves, never negative
	if err != nil {
		return nil, fmt.Errorf("proving leaf %d of %d: %w", index, t.size, err)
	}

	hashes := make([][]byte, 0, len(beside.IDs))
	for _, id := range beside.IDs {
		hashes = append(hashes, t.nodes[id])
	}

	hashes, err = beside.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
	if err != nil {
		return nil, fmt.Errorf("proving leaf %d of %d: %w", index, t.size, err)
	}

	return hashes, nil
}
