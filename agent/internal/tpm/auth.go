package tpm

import (
	"bytes"

	"github.com/google/go-tpm/tpm2"
)

// Auths are the authorisation values that an operator gave to hierarchies; empty where none was set. There is none for lockout: the agent never uses it.
type Auths struct {
	Owner, Endorsement []byte
}

// owner authorises as TPM_RH_OWNER. The handle is for one command.
func (a Auths) owner() tpm2.AuthHandle {
	return hierarchy(tpm2.TPMRHOwner, a.Owner)
}

// endorsement authorises as TPM_RH_ENDORSEMENT. The handle is for one command.
func (a Auths) endorsement() tpm2.AuthHandle {
	return hierarchy(tpm2.TPMRHEndorsement, a.Endorsement)
}

// hierarchy uses a password session for an empty value, which hides nothing, and an HMAC session otherwise, so that the value never travels to the TPM.
//
// The session is bound to the hierarchy (TPM 2.0 Part 1, 19.6.8): the value goes into the session key. Otherwise go-tpm would put it into the HMAC key cut off at its
// first zero byte, where the TPM only drops zeros at the end.
func hierarchy(handle tpm2.TPMHandle, value []byte) tpm2.AuthHandle {
	value = bytes.TrimRight(value, "\x00")
	if len(value) == 0 {
		return tpm2.AuthHandle{Handle: handle, Auth: tpm2.PasswordAuth(nil)}
	}

	bound := tpm2.Bound(handle, tpm2.HandleName(handle), value)

	return tpm2.AuthHandle{Handle: handle, Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16, bound, tpm2.Auth(value))}
}
