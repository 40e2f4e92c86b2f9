package verifier_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"log"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-attestation/attest"
	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/client"
	"github.com/trustpool/trustpool/verifier/saved"
)

// Challenge a node, and judge what it answers by what an administrator declared good.
func Example_verify() {
	node := startExampleNode() // a node of yours; here a simulated one
	defer node.close()
	ctx := context.Background()

	conn, err := client.Dial(client.Options{Address: node.address, TLS: node.tls})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	// What is good comes from a file that somebody approved: verifier.ParseKnownGood. This one is learned from the node itself.
	knownGood := learnFrom(conn)

	nonce, err := client.NewNonce()
	if err != nil {
		log.Fatal(err)
	}
	reply, err := conn.Quote(ctx, client.QuoteOptions{Nonce: nonce, WantLogs: []string{"txt"}})
	if err != nil {
		log.Fatal(err)
	}
	result := verifier.Verify(reply.Evidence, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound, KnownGood: knownGood})
	fmt.Println(result.Verdict)

	// The same evidence is no answer to another nonce.
	other, err := client.NewNonce()
	if err != nil {
		log.Fatal(err)
	}
	result = verifier.Verify(reply.Evidence, verifier.Policy{Nonce: other, BindMode: verifier.BindBound, KnownGood: knownGood})
	fmt.Println(result.Verdict, result.Check(verifier.CheckNonce).Outcome)

	// Output:
	// trusted
	// refused failed
}

// learnFrom takes what the node has booted for good.
func learnFrom(conn *client.Client) verifier.KnownGood {
	nonce := must(client.NewNonce())
	reply := must(conn.Quote(context.Background(), client.QuoteOptions{Nonce: nonce, WantLogs: []string{"txt"}}))
	return must(verifier.Learn(reply.Evidence, verifier.Policy{Nonce: nonce, BindMode: verifier.BindBound}))
}

// Bind a node's attestation key to its TPM and the TPM to the node's name, and verify with that from then on.
func Example_enroll() {
	node := startExampleNode()
	defer node.close()
	ctx := context.Background()

	conn, err := client.Dial(client.Options{Address: node.address, TLS: node.tls})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	nonce, err := client.NewNonce()
	if err != nil {
		log.Fatal(err)
	}
	reply, err := conn.Identity(ctx, nonce)
	if err != nil {
		log.Fatal(err)
	}
	enrollment := verifier.Enroll(reply.Identity, verifier.EnrollPolicy{
		Node: "node1.example", Nonce: nonce, At: time.Now(),
		// First use proves nothing about hardware. Against an inventory of EKs: BindingInventory and Inventory; by the TPM makers' CAs: BindingChain and Roots.
		Binding: verifier.BindingFirstUse,
	})
	challenge, err := enrollment.Challenge()
	if err != nil {
		log.Fatal(err) // it names the check that failed
	}
	secret, err := conn.ActivateCredential(ctx, challenge)
	if err != nil {
		log.Fatal(err)
	}
	record, err := enrollment.Finish(secret, node.address, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(record.Name, record.Binding)

	// Output: node1.example first_use
}

// A raw quote in a folder, as trustpoolctl quote --raw --out DIR writes it, is verified with go-attestation alone.
func Example_goAttestation() {
	dir, nonce, done := exampleFolder()
	defer done()

	ak, err := attest.ParseAKPublic(read(dir, "ak.pub")[2:]) // without the size prefix of TPM2B_PUBLIC
	if err != nil {
		log.Fatal(err)
	}
	var pcrs []attest.PCR
	for i, value := range values(dir) {
		pcrs = append(pcrs, attest.PCR{Index: 17 + i, Digest: value, DigestAlg: crypto.SHA256})
	}
	fmt.Println(ak.Verify(attest.Quote{Quote: read(dir, "quote.msg"), Signature: read(dir, "quote.sig")}, pcrs, nonce))

	// Output: <nil>
}

// The same with go-tpm, step by step.
func Example_goTPM() {
	dir, nonce, done := exampleFolder()
	defer done()

	public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](read(dir, "ak.pub"))
	if err != nil {
		log.Fatal(err)
	}
	ak, err := public.Contents()
	if err != nil {
		log.Fatal(err)
	}
	signature, err := tpm2.Unmarshal[tpm2.TPMTSignature](read(dir, "quote.sig"))
	if err != nil {
		log.Fatal(err)
	}
	key, err := tpm2.Pub(*ak)
	if err != nil {
		log.Fatal(err)
	}
	ecc, err := signature.Signature.ECDSA()
	if err != nil {
		log.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(ecc.SignatureR.Buffer), new(big.Int).SetBytes(ecc.SignatureS.Buffer)
	signed := sha256.Sum256(read(dir, "quote.msg"))
	fmt.Println("signature:", ecdsa.Verify(key.(*ecdsa.PublicKey), signed[:], r, s))

	quoted, err := tpm2.Unmarshal[tpm2.TPMSAttest](read(dir, "quote.msg"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("by a TPM:", quoted.Magic == tpm2.TPMGeneratedValue && ak.ObjectAttributes.Restricted && ak.ObjectAttributes.FixedTPM)
	fmt.Println("nonce:", bytes.Equal(quoted.ExtraData.Buffer, nonce))
	quote, err := quoted.Attested.Quote()
	if err != nil {
		log.Fatal(err)
	}
	digest := sha256.Sum256(read(dir, "quote.pcrs"))
	fmt.Println("PCRs:", bytes.Equal(quote.PCRDigest.Buffer, digest[:]))

	// Output:
	// signature: true
	// by a TPM: true
	// nonce: true
	// PCRs: true
}

// exampleFolder has a node quoted into a folder, and returns the nonce that it was asked with.
func exampleFolder() (dir string, nonce []byte, done func()) {
	node := startExampleNode()
	conn := must(client.Dial(client.Options{Address: node.address, TLS: node.tls}))
	nonce = must(client.NewNonce())
	reply := must(conn.Quote(context.Background(), client.QuoteOptions{Nonce: nonce, Raw: true}))
	dir = filepath.Join(node.dir, "evidence")
	check(saved.Write(dir, reply.Evidence))
	return dir, nonce, func() {
		check(conn.Close())
		node.close()
	}
}

func read(dir, name string) []byte {
	return must(os.ReadFile(filepath.Join(dir, name)))
}

// values are the PCRs of quote.pcrs, one after the other.
func values(dir string) (all [][]byte) {
	raw := read(dir, "quote.pcrs")
	for ; len(raw) > 0; raw = raw[sha256.Size:] {
		all = append(all, raw[:sha256.Size])
	}
	return all
}
