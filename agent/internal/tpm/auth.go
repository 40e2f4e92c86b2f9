package tpm

import "github.com/google/go-tpm/tpm2"

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
// The session is bound to the hierarchy: the value makes the session key (TPM 2.0 Part 1, 19.6.8), where zeros at its end make no difference to the HMAC. Given as the
// session's own authorisation, go-tpm would cut it off at its first zero byte, and the TPM only where all that follows is zero.
func hierarchy(handle tpm2.TPMHandle, value []byte) tpm2.AuthHandle {
	if len(value) == 0 {
		return tpm2.AuthHandle{Handle: handle, Auth: tpm2.PasswordAuth(nil)}
	}

	return tpm2.AuthHandle{Handle: handle, Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16, tpm2.Bound(handle, tpm2.HandleName(handle), value))}
}
