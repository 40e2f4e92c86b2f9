package verifier_test

import (
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/verifier"
)

// TestAnAKOfAnotherParentIsRefused has creation data that is certified as it should be, and tells of another parent in one of its three ways.
func TestAnAKOfAnotherParentIsRefused(t *testing.T) {
	t.Parallel()
	nonce := newNonce(t)
	for rule, made := range map[string]func(*tpm2.TPMSCreationData){
		"its nameAlg":        func(d *tpm2.TPMSCreationData) { d.ParentNameAlg = tpm2.TPMAlgSHA256 },
		"its Name":           func(d *tpm2.TPMSCreationData) { d.ParentName.Buffer = []byte{0x40, 0, 0, 1} },
		"its Qualified Name": func(d *tpm2.TPMSCreationData) { d.ParentQualifiedName.Buffer = []byte{0x40, 0, 0, 1} },
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			f.made = made
			id := softwareIdentity(t, nonce)
			id.AKs = []verifier.AttestationKey{f.attestationKey(t, nonce)}
			wantEnrollment(t, verifier.Enroll(id, firstUse(nonce)), verifier.CheckAKParent)
		})
	}
}
