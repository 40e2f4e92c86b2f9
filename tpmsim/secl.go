package tpmsim

import "github.com/google/go-tpm/tpm2"

// What Intel SecL's trust agent leaves in the TPM of a SecLHost. The real values
// are random; these are known so that tests can use them.
const (
	SecLHandle          tpm2.TPMHandle = 0x81018000 // of its attestation key
	SecLOwnerAuth                      = "simulated owner"
	SecLEndorsementAuth                = "simulated endorsement"
)

// installSecL does what SecL's trust agent does when it takes ownership. Doing it
// again changes nothing.
func (a admin) installSecL() error {
	if err := a.setAuths([]byte(SecLOwnerAuth), []byte(SecLEndorsementAuth)); err != nil {
		return err
	}
	return a.occupy(SecLHandle)
}
