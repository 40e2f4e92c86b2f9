package tpm

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/tpmsim"
)

// testAK is where the AK of these tests sits.
const testAK tpm2.TPMHandle = 0x8101f000

var secretOfVerifier = []byte("a secret of 32 bytes, or so it is")[:32]

// persistAK makes an AK persistent and returns its Name.
func persistAK(t testing.TB, tpm transport.TPM, alg KeyAlgorithm, generation uint32, handle tpm2.TPMHandle) []byte {
	t.Helper()

	public, err := template(alg, generation)
	must(t, err)

	return persistKey(t, tpm, public, handle).Buffer
}

// credential does what a verifier does.
func credential(t testing.TB, ek EK, akName []byte) (blob, encrypted []byte) {
	t.Helper()

	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](ek.Public)
	must(t, err)

	key, err := tpm2.ImportEncapsulationKey(public)
	must(t, err)

	blob, encrypted, err = tpm2.CreateCredential(rand.Reader, key, akName, secretOfVerifier)
	must(t, err)

	return blob, encrypted
}

// mustActivate checks that a good credential opens.
func mustActivate(t testing.TB, tpm transport.TPM, auths Auths, ek EK, name []byte) {
	t.Helper()

	blob, encrypted := credential(t, ek, name)

	opened, err := activate(tpm, auths, ek, testAK, name, blob, encrypted)
	must(t, err)

	if !bytes.Equal(opened, secretOfVerifier) {
		t.Errorf("the credential holds %x, opened was %x", secretOfVerifier, opened)
	}
}

func mustReadEKs(t testing.TB, tpm transport.TPM, auths Auths) []EK {
	t.Helper()

	eks, err := readEKs(tpm, auths, "")
	must(t, err)

	return eks
}

// derivedEKs returns an EK of each template, none of them persistent.
func derivedEKs(t testing.TB, tpm transport.TPM) []EK {
	t.Helper()

	var eks []EK

	f := ekFinder{tpm: tpm, nv: &nvReader{}, derived: make(map[string]*ekKey)}
	for _, template := range ekTemplates() {
		key, err := f.derive(&template)
		must(t, err)

		if key == nil {
			t.Fatalf("the TPM makes no key of template %s", template.name)
		}

		eks = append(eks, f.describe(&foundEK{key: key}, nil, nil))
	}

	return eks
}

func TestEachKindOfEKOpensCredentials(t *testing.T) {
	t.Parallel()

	var name []byte
	tpm := watched(t, func(node *tpmsim.Node) { name = persistAK(t, node, ECDSAP256, 0, testAK) })

	for _, ek := range append(mustReadEKs(t, tpm, Auths{}), derivedEKs(t, tpm)...) {
		t.Log(ek.KeySource)
		mustActivate(t, tpm, Auths{}, ek, name)
	}
}

func TestEachKindOfAKIsActivated(t *testing.T) {
	t.Parallel()

	for _, alg := range KeyAlgorithms() {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()

			var name []byte
			tpm := watched(t, func(node *tpmsim.Node) { name = persistAK(t, node, alg, 0, testAK) })

			for _, ek := range mustReadEKs(t, tpm, Auths{}) {
				mustActivate(t, tpm, Auths{}, ek, name)
			}
		})
	}
}

func TestACredentialForAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()

	const otherAK = testAK + 1

	var name, other []byte

	tpm := watched(t, func(node *tpmsim.Node) {
		name = persistAK(t, node, ECDSAP256, 0, testAK)
		other = persistAK(t, node, ECDSAP256, 1, otherAK)
	})

	eks := mustReadEKs(t, tpm, Auths{})
	for i, ek := range eks {
		blob, encrypted := credential(t, ek, name)
		otherBlob, otherEncrypted := credential(t, ek, other)
		foreignBlob, foreignEncrypted := credential(t, eks[1-i], name)

		for _, test := range []struct {
			what            string
			handle          tpm2.TPMHandle
			name            []byte
			blob, encrypted []byte
		}{
			{"for another name", testAK, name, otherBlob, otherEncrypted},
			{"replayed for another AK", otherAK, other, blob, encrypted},
			{"for another EK", testAK, name, foreignBlob, foreignEncrypted},
			{"blob of one, secret of another", testAK, name, blob, otherEncrypted},
		} {
			if _, err := activate(tpm, Auths{}, ek, test.handle, test.name, test.blob, test.encrypted); !errors.Is(err, ErrCredential) {
				t.Errorf("%s, %s: got %v, want ErrCredential", ek.KeySource, test.what, err)
			}
		}

		mustActivate(t, tpm, Auths{}, ek, name)
	}
}

func TestEachChangedByteOfACredentialIsRefused(t *testing.T) {
	t.Parallel()

	var name []byte
	tpm := watched(t, func(node *tpmsim.Node) { name = persistAK(t, node, ECDSAP256, 0, testAK) })

	for _, ek := range mustReadEKs(t, tpm, Auths{}) {
		blob, encrypted := credential(t, ek, name)

		for _, part := range [][]byte{blob, encrypted} {
			for i := range part {
				part[i] ^= 0x01

				if _, err := activate(tpm, Auths{}, ek, testAK, name, blob, encrypted); !errors.Is(err, ErrCredential) {
					t.Errorf("%s, byte %d of %d: got %v, want ErrCredential", ek.KeySource, i, len(part), err)
				}

				part[i] ^= 0x01
			}
		}

		opened, err := activate(tpm, Auths{}, ek, testAK, name, blob, encrypted)
		if err != nil || !bytes.Equal(opened, secretOfVerifier) {
			t.Errorf("%s: unchanged it gives %x, %v", ek.KeySource, opened, err)
		}
	}
}

// crafted are parts of credentials that no verifier makes, by the type of the EK.
func crafted(t *testing.T, ek EK, blob, encrypted []byte) map[string][2][]byte {
	t.Helper()

	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](ek.Public)
	must(t, err)

	parts := map[string][2][]byte{
		"nothing":               {nil, nil},
		"no blob":               {nil, encrypted},
		"no secret":             {blob, nil},
		"size beyond the blob":  {append([]byte{0xff, 0xff}, blob[2:]...), encrypted},
		"empty HMAC":            {append([]byte{0, 0}, blob[34:]...), encrypted},
		"blob cut":              {blob[:len(blob)-1], encrypted},
		"blob too long":         {make([]byte, maxIDObject+1), encrypted},
		"longest blob":          {make([]byte, maxIDObject), encrypted},
		"secret cut":            {blob, encrypted[:len(encrypted)-1]},
		"secret too long":       {blob, make([]byte, maxEncryptedSecret+1)},
		"longest secret":        {blob, make([]byte, maxEncryptedSecret)},
		"more than a u16 tells": {blob, make([]byte, 0x10000+len(encrypted))},
		"secret of zeros":       {blob, make([]byte, len(encrypted))},
		"secret of FF":          {blob, bytes.Repeat([]byte{0xff}, len(encrypted))},
	}

	key, err := tpm2.Pub(*public)
	must(t, err)

	if key, isRSA := key.(*rsa.PublicKey); isRSA {
		for what, seed := range map[string]int{"seed too long": 33, "seed that fills the block": 190} {
			block, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, key, make([]byte, seed), []byte("IDENTITY\x00"))
			must(t, err)

			parts[what] = [2][]byte{blob, block}
		}

		block, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, key, make([]byte, 32), []byte("DUPLICATE\x00"))
		must(t, err)

		parts["seed for another purpose"] = [2][]byte{blob, block}
	} else {
		point := binary.BigEndian.AppendUint16(nil, 48)
		point = append(point, make([]byte, 48)...)
		parts["point not on the curve"] = [2][]byte{blob, append(point, point...)}
		parts["point at infinity"] = [2][]byte{blob, {0, 0, 0, 0}}
	}

	return parts
}

func TestACraftedCredentialIsTheCallersError(t *testing.T) {
	t.Parallel()

	var name []byte
	tpm := watched(t, func(node *tpmsim.Node) { name = persistAK(t, node, ECDSAP256, 0, testAK) })

	for _, ek := range mustReadEKs(t, tpm, Auths{}) {
		blob, encrypted := credential(t, ek, name)

		for what, parts := range crafted(t, ek, blob, encrypted) {
			if _, err := activate(tpm, Auths{}, ek, testAK, name, parts[0], parts[1]); !errors.Is(err, ErrCredential) {
				t.Errorf("%s, %s: got %v, want ErrCredential", ek.KeySource, what, err)
			}
		}

		mustActivate(t, tpm, Auths{}, ek, name)
	}
}
