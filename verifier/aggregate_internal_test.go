package verifier

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
)

// TestAggregatedExtraDataIsThatOfTheContract has the values that the contract names, which a few lines of another language computed from its text.
func TestAggregatedExtraDataIsThatOfTheContract(t *testing.T) {
	t.Parallel()

	const inner = "918cfa53e211b380edd794c40d68f754dfe5adc822a372dc1b28162e6db3deb2"
	for _, tc := range []struct {
		index, size uint32
		extraData   string
		proof       []string
	}{
		{0, 1, "7b0284a2e077953519fd7fb66cf988df6a2d45040873daf80009e8020785a952d82c", nil},
		{2, 3, "7b0252ccd46993687adf0c32f98622f0e3947c9ec2a42f64eaad81e43d77352150ae", []string{inner}},
		{2, 5, "7b02e39354fa0b30390bf7e89d661ebe1d6cb712012504fd4e71a5f4e79e5ebba330", []string{
			"a80a6cbb33fb133920ac69b3f5b9f1d480831d258e3b415722c1a192771bba30", inner, "3b03f01f05ba8fb338a4888fbd14e63e0d0825abe786979c6c34558919fe6570",
		}},
		{4, 5, "7b02e39354fa0b30390bf7e89d661ebe1d6cb712012504fd4e71a5f4e79e5ebba330", []string{
			"03cf5e1bc0ac2b79a61fd4a268e32a8b29bb5c61543eaadb2053de14f0269cf2",
		}},
	} {
		a := Aggregation{Salt: bytes.Repeat([]byte{0x10 + byte(tc.index)}, 32), Index: tc.index, Size: tc.size}
		for _, h := range tc.proof {
			p, err := hex.DecodeString(h)
			if err != nil {
				t.Fatal(err)
			}
			a.Proof = append(a.Proof, p)
		}
		bound := append([]byte{0x7B, 0x01}, bytes.Repeat([]byte{0xA0 + byte(tc.index)}, 32)...)
		if got, err := a.extraData(bound); err != nil || hex.EncodeToString(got) != tc.extraData {
			t.Errorf("%d of %d: got %x, %v, want %s", tc.index, tc.size, got, err, tc.extraData)
		}
	}
}

// merkleTree has the leaf hashes 0, 1, 2...
func merkleTree(size uint64) *testonly.Tree {
	tree := testonly.New(rfc6962.DefaultHasher)
	for i := range size {
		tree.AppendData([]byte{byte(i >> 8), byte(i)})
	}
	return tree
}

// includes tells whether a leads from the leaf to the root.
func (a *Aggregation) includes(leaf, root []byte) bool {
	got, err := a.root(leaf)
	return err == nil && bytes.Equal(got, root)
}

// TestInclusionIsThatOfTheLibrary takes each leaf of trees of many sizes, by the proof that another implementation makes, and each such proof changed in its length.
func TestInclusionIsThatOfTheLibrary(t *testing.T) {
	t.Parallel()

	tree := merkleTree(maxAggregate)
	sizes := []uint64{65, 100, 127, 128, 129, 255, 256, 257, 500, 511, 512, 513, 1000, 1023, 1024}
	for size := uint64(1); size <= 64; size++ {
		sizes = append(sizes, size)
	}

	for _, size := range sizes {
		root := tree.HashAt(size)
		for index := range size {
			path, err := tree.InclusionProof(index, size)
			if err != nil {
				t.Fatal(err)
			}
			leaf := tree.LeafHash(index)
			a := Aggregation{Index: uint32(index), Size: uint32(size), Proof: path}
			if !a.includes(leaf, root) || proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf, path, root) != nil {
				t.Fatalf("leaf %d of %d is refused", index, size)
			}

			a.Proof = append(slices.Clone(path), leaf)
			if _, err := a.root(leaf); err == nil {
				t.Fatalf("leaf %d of %d: a proof of one hash more has the right length", index, size)
			}
			if len(path) == 0 {
				continue
			}
			for _, shorter := range [][][]byte{path[1:], path[:len(path)-1]} {
				a.Proof = shorter
				if _, err := a.root(leaf); err == nil {
					t.Fatalf("leaf %d of %d: a proof of one hash less has the right length", index, size)
				}
			}
		}
	}
}

// TestNoOtherPlaceFitsAProof moves each leaf of small trees to each other place and size, by our check and by the library's. The tree's size is not in its root: that it is signed beside the root is
// what tells sizes apart.
func TestNoOtherPlaceFitsAProof(t *testing.T) {
	t.Parallel()

	const most = 24
	tree := merkleTree(most)
	for size := uint64(1); size <= most; size++ {
		root := tree.HashAt(size)
		for index := range size {
			path, err := tree.InclusionProof(index, size)
			if err != nil {
				t.Fatal(err)
			}
			leaf := tree.LeafHash(index)
			for otherSize := uint64(1); otherSize <= most; otherSize++ {
				for other := range otherSize {
					a := Aggregation{Index: uint32(other), Size: uint32(otherSize), Proof: path}
					got := a.includes(leaf, root)
					if library := proof.VerifyInclusion(rfc6962.DefaultHasher, other, otherSize, leaf, path, root) == nil; got != library {
						t.Fatalf("the proof of %d of %d, as %d of %d: taken by us %t, by the library %t", index, size, other, otherSize, got, library)
					}
					if got && size == otherSize && index != other {
						t.Fatalf("the proof of %d of %d is taken for %d", index, size, other)
					}
				}
			}
		}
	}
}

// FuzzInclusion compares our way to the root with that of the library.
func FuzzInclusion(f *testing.F) {
	tree := merkleTree(70)
	for _, at := range [][2]uint64{{0, 1}, {1, 2}, {2, 3}, {6, 7}, {64, 65}, {13, 70}} {
		path, err := tree.InclusionProof(at[0], at[1])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(at[0]), uint32(at[1]), tree.LeafHash(at[0]), bytes.Join(path, nil))
	}
	f.Add(uint32(1024), uint32(1025), []byte{1}, []byte{2})
	f.Add(uint32(0), uint32(0), []byte{}, []byte{})

	f.Fuzz(func(t *testing.T, index, size uint32, leaf, path []byte) {
		sum := sha256.Sum256(leaf)
		a := Aggregation{Salt: make([]byte, saltSize), Index: index, Size: size, Proof: slices.Collect(slices.Chunk(path, sha256.Size))}
		e := newExam(&Evidence{Aggregation: &a}, &Policy{BindMode: BindBound})
		if err := e.checkAggregation(); err != nil {
			if size > 0 && size <= maxAggregate && index < size {
				t.Errorf("%d of %d is refused: %v", index, size, err)
			}
			return
		}

		got, err := a.root(sum[:])
		whole := len(path)%sha256.Size == 0 // the library leaves the size of each hash to its caller
		want, libraryErr := proof.RootFromInclusionProof(rfc6962.DefaultHasher, uint64(index), uint64(size), sum[:], a.Proof)
		if taken := libraryErr == nil && whole; (err == nil) != taken || taken && !bytes.Equal(got, want) {
			t.Errorf("%d of %d: got %x, %v, the library %x, %v", index, size, got, err, want, libraryErr)
		}
	})
}
