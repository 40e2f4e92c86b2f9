package agent

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/tpm"
)

// KeyInTPM as tls.key says that the server's private key is in the TPM.
const KeyInTPM = "tpm"

// handshakeWait is how long a handshake may wait for its signature: less than the default of listen.handshake_timeout.
const handshakeWait = 4 * time.Second

// TLSKey is the server's private key in the TPM, for a tls.Certificate. A new one has no TPM: New gives it the one that the agent owns, by Deps.TLSKey, and until that is open
// nobody knows which key it is.
type TLSKey struct {
	owner   atomic.Pointer[tpm.TPM]
	state   atomic.Pointer[tpm.State] // the last one that tells of the key; nil before there was one
	changed chan struct{}
}

// NewTLSKey returns a key that waits for its TPM.
func NewTLSKey() *TLSKey {
	return &TLSKey{changed: make(chan struct{}, 1)}
}

// Changed tells one reader each time when something else became known of the TPM's key: which one it is, that it can't be used, that it can be used again. What Signer took or
// refused before has then to be looked at again.
func (k *TLSKey) Changed() <-chan struct{} { return k.changed }

// Signer returns what signs for a public key, which is that of the server's certificate. It fails if it is known that the TPM has another one. As long as nothing is known, it
// takes any key on ECDSA P-256: a wrong one then fails each handshake, since the TPM signs for its own key only.
func (k *TLSKey) Signer(public crypto.PublicKey) (crypto.Signer, error) {
	key, ok := public.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the TLS key in the TPM is an ECDSA key on P-256, the certificate's is not")
	}

	switch state := k.state.Load(); {
	case state == nil:
		return &tlsSigner{key: k, public: key}, nil
	case state.TLSErr != nil:
		return nil, fmt.Errorf("the TLS key in the TPM can't be used: %w", state.TLSErr)
	case !state.TLS.Key.Equal(key):
		return nil, errors.New("the certificate is for another key than the TLS key in this TPM; trustpool-agent identity tls-csr prints a request for a new one")
	default:
		return &tlsSigner{key: k, public: key}, nil
	}
}

// stateChanged notes what is known of the key.
func (k *TLSKey) stateChanged(state tpm.State) {
	if state.TLS == nil && state.TLSErr == nil || k.isKnown(state) {
		return
	}

	k.state.Store(&state)

	select {
	case k.changed <- struct{}{}:
	default: // nobody has looked since the last time
	}
}

// isKnown says whether a state tells nothing new of the key.
func (k *TLSKey) isKnown(state tpm.State) bool {
	switch known := k.state.Load(); {
	case known == nil:
		return false
	case known.TLSErr != nil || state.TLSErr != nil:
		return known.TLSErr != nil && state.TLSErr != nil && known.TLSErr.Error() == state.TLSErr.Error()
	default:
		return known.TLS.Key.Equal(state.TLS.Key)
	}
}

// tlsSigner is the TLS key as crypto/tls and crypto/x509 take it.
type tlsSigner struct {
	key    *TLSKey
	public *ecdsa.PublicKey
	hello  *tls.ClientHelloInfo // of the handshake; nil for other signatures
}

// Public implements crypto.Signer.
func (s *tlsSigner) Public() crypto.PublicKey { return s.public }

// Sign implements crypto.Signer. It waits for the TPM, but not for long, and only as long as the client does: see tpm.TPM.SignTLS.
func (s *tlsSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 {
		return nil, fmt.Errorf("the TLS key in the TPM signs digests of SHA-256 only, not of %v", opts.HashFunc())
	}

	owner := s.key.owner.Load()
	if owner == nil {
		return nil, tpm.ErrAbsent
	}

	ctx, cancel := context.WithTimeout(context.Background(), handshakeWait)
	defer cancel()

	if s.hello != nil {
		var (
			leave func()
			err   error
		)

		if ctx, leave, err = enterFrom(ctx, s.hello); err != nil {
			return nil, fmt.Errorf("waiting for other handshakes from this address: %w", err)
		}
		defer leave()
	}

	return owner.SignTLS(ctx, s.public, digest)
}

// tlsExtraData returns the extraData of TlsKeyCertification.certify_info, as that is defined there.
func tlsExtraData(nonce []byte) []byte {
	message := append([]byte("trustpool-tls-key-v1"), 0)
	message = binary.BigEndian.AppendUint16(message, uint16(len(nonce))) // #nosec G115 -- bounded by ParseNonce
	sum := sha256.Sum256(append(message, nonce...))

	return append([]byte{mark, markCertified}, sum[:]...)
}

// tlsHandle returns where the TLS key sits; 0 if it is in a file.
func (c Config) tlsHandle() tpm2.TPMHandle {
	switch {
	case c.TLS.Key != KeyInTPM:
		return 0
	case c.TLS.TPMHandle != 0:
		return tpm2.TPMHandle(c.TLS.TPMHandle)
	default:
		return tpm2.TPMHandle(c.TPM.AK.Handle) + tpm.TLSHandleOffset
	}
}
