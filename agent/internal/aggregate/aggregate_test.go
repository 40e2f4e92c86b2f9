package aggregate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// vectors are the leaves of the contract's test vectors.
func vectors(n int) []Leaf {
	leaves := make([]Leaf, n)
	for i := range leaves {
		copy(leaves[i].Salt[:], bytes.Repeat([]byte{byte(0x10 + i)}, SaltSize))
		copy(leaves[i].Bound[:], append([]byte{0x7B, 0x01}, bytes.Repeat([]byte{byte(0xA0 + i)}, 32)...))
	}

	return leaves
}

func mustTree(t *testing.T, leaves []Leaf) *Tree {
	t.Helper()

	tree, err := New(leaves)
	if err != nil {
		t.Fatal(err)
	}

	return tree
}

func TestTheContractsVectors(t *testing.T) {
	t.Parallel()

	for size, want := range map[int][2]string{
		1: {"68fe7c7039faedc4e527f468360e80f2aca37e975166b1601a358067e3c2cfa4", "7b0284a2e077953519fd7fb66cf988df6a2d45040873daf80009e8020785a952d82c"},
		3: {"c36d0025f81f425b0a12055eb722c5566bf8931ae3af0c7dbe91d79c476f80f7", "7b0252ccd46993687adf0c32f98622f0e3947c9ec2a42f64eaad81e43d77352150ae"},
		5: {"237276a6e0fd573aef246b2bf0c234076c001b6668af1f4c5d38a3d7f4a29376", "7b02e39354fa0b30390bf7e89d661ebe1d6cb712012504fd4e71a5f4e79e5ebba330"},
	} {
		tree := mustTree(t, vectors(size))
		if got := [2]string{hex.EncodeToString(tree.root), hex.EncodeToString(tree.ExtraData())}; got != want {
			t.Errorf("size %d: got %v, want %v", size, got, want)
		}
	}

	for index, want := range map[int]string{
		2: "a80a6cbb33fb133920ac69b3f5b9f1d480831d258e3b415722c1a192771bba30918cfa53e211b380edd794c40d68f754dfe5adc822a372dc1b28162e6db3deb2" +
			"3b03f01f05ba8fb338a4888fbd14e63e0d0825abe786979c6c34558919fe6570",
		4: "03cf5e1bc0ac2b79a61fd4a268e32a8b29bb5c61543eaadb2053de14f0269cf2",
	} {
		hashes, err := mustTree(t, vectors(5)).Proof(index)
		if got := hex.EncodeToString(bytes.Join(hashes, nil)); err != nil || got != want {
			t.Errorf("proof of %d in 5: %s, %v", index, got, err)
		}
	}
}

func TestEveryLeafOfEverySizeHasItsProof(t *testing.T) {
	t.Parallel()

	for size := 1; size <= MaxLeaves; size += 1 + size/9 {
		leaves := make([]Leaf, size)
		for i := range leaves {
			leaves[i] = NewLeaf(vectors(1)[0].Bound) // the salts alone make a difference
		}

		tree := mustTree(t, leaves)

		for i, leaf := range leaves {
			hashes, err := tree.Proof(i)
			if err != nil {
				t.Fatal(err)
			}

			hash := sha256.Sum256(append(append([]byte{0}, leaf.Salt[:]...), leaf.Bound[:]...))
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(i), uint64(size), hash[:], hashes, tree.root); err != nil {
				t.Errorf("leaf %d of %d: %v", i, size, err)
			}
		}
	}
}

func TestTreesHaveBounds(t *testing.T) {
	t.Parallel()

	for _, size := range []int{0, MaxLeaves + 1} {
		if _, err := New(make([]Leaf, size)); err == nil {
			t.Errorf("a tree of %d leaves", size)
		}
	}

	for _, index := range []int{-1, 3} {
		if _, err := mustTree(t, vectors(3)).Proof(index); err == nil {
			t.Errorf("a proof of leaf %d of 3", index)
		}
	}
}

// TestWhoKnowsAllButTheSaltFindsNobodysLeaf: the hashes in a proof would otherwise show a guess of another caller's value to be right.
func TestWhoKnowsAllButTheSaltFindsNobodysLeaf(t *testing.T) {
	t.Parallel()

	seen := map[[SaltSize]byte]bool{{}: true}

	for range 1000 {
		salt := NewLeaf(vectors(1)[0].Bound).Salt
		if seen[salt] {
			t.Fatalf("the salt %x is not fresh", salt)
		}

		seen[salt] = true
	}
}

func BenchmarkTree(b *testing.B) {
	leaves := make([]Leaf, MaxLeaves)

	for b.Loop() {
		tree, err := New(leaves)
		if err != nil {
			b.Fatal(err)
		}

		for i := range leaves {
			if _, err := tree.Proof(i); err != nil {
				b.Fatal(err)
			}
		}
	}
}
