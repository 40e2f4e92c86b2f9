package ear

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// key is a private key that signs verdicts.
type key struct {
	private jose.JSONWebKey
	signer  jose.Signer
	// from is when it begins to sign; zero for a key that the configuration names.
	from time.Time
}

// parseKey reads a private key (PEM): ECDSA over P-256 (ES256) or P-384 (ES384), or Ed25519 (EdDSA). What else is in the file, such as the parameters of a curve that openssl writes before the key, is
// passed over.
func parseKey(content []byte) (*key, error) {
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		var (
			private any
			err     error
		)
		switch block.Type {
		case "PRIVATE KEY": // RFC 5958
			private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY": // RFC 5915
			private, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			return nil, fmt.Errorf("it has a PEM block %q; write the key without a passphrase, as openssl genpkey does", block.Type)
		}
		if err != nil {
			return nil, err
		}
		return newKey(private)
	}
	return nil, errors.New("it has no private key in PEM; make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256")
}

func newKey(private any) (*key, error) {
	algorithm, err := algorithmOf(private)
	if err != nil {
		return nil, err
	}
	k := &key{private: jose.JSONWebKey{Key: private, Algorithm: string(algorithm), Use: "sig"}}
	thumbprint, err := k.private.Thumbprint(crypto.SHA256) // RFC 7638, of the public part
	if err != nil {
		return nil, err
	}
	k.private.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	// RFC 8725, 3.11: a type of its own, so that no other JWT is taken for a verdict.
	options := (&jose.SignerOptions{}).WithType("eat+jwt")
	k.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: k.private}, options)
	return k, err
}

func algorithmOf(private any) (jose.SignatureAlgorithm, error) {
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		switch k.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		}
		return "", fmt.Errorf("its curve is %s; make one of P-256 or P-384", k.Curve.Params().Name)
	case ed25519.PrivateKey:
		return jose.EdDSA, nil
	default:
		return "", fmt.Errorf("it is a %T; make one of P-256, P-384 or Ed25519", private)
	}
}

// id is the key's RFC 7638 thumbprint, in base64url.
func (k *key) id() string { return k.private.KeyID }
