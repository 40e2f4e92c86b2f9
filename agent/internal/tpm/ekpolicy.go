package tpm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// ekPolicy tells how a key of the profile is used: by the endorsement hierarchy's authorisation (PolicyA, low range), or by that or what an NV index holds
// (PolicyB, high range). The EK's own authorisation is never used, even where userWithAuth allows it: EKs are under dictionary-attack protection.
type ekPolicy struct {
	// or is what TPM2_PolicyOR takes after TPM2_PolicySecret(TPM_RH_ENDORSEMENT); nil for PolicyA.
	or [][]byte
}

// policyOf returns the policy of a key.
func policyOf(public *tpm2.TPMTPublic) (ekPolicy, error) {
	alg := public.NameAlg
	if alg != tpm2.TPMAlgSHA256 && alg != tpm2.TPMAlgSHA384 {
		return ekPolicy{}, fmt.Errorf("EK with name algorithm 0x%04x", uint16(alg))
	}

	switch {
	case bytes.Equal(public.AuthPolicy.Buffer, policyA(alg)):
		return ekPolicy{}, nil
	case bytes.Equal(public.AuthPolicy.Buffer, policyB(alg)):
		return ekPolicy{or: [][]byte{policyA(alg), policyC(alg)}}, nil
	default:
		return ekPolicy{}, fmt.Errorf("EK with policy %x, which is not the TCG's", public.AuthPolicy.Buffer)
	}
}

// withEKPolicy opens a policy session that may use the EK, and flushes it after use.
func withEKPolicy(tpm transport.TPM, auths Auths, ek EK, use func(tpm2.Session) error) (err error) {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](ek.Public)
	if err != nil {
		return fmt.Errorf("parsing the EK: %w", err)
	}

	policy, err := policyOf(public)
	if err != nil {
		return err
	}

	session, flush, err := tpm2.PolicySession(tpm, public.NameAlg, 16)
	if err != nil {
		return fmt.Errorf("opening a policy session: %w", err)
	}

	defer func() {
		if flushErr := flush(); flushErr != nil {
			err = errors.Join(err, fmt.Errorf("flushing the policy session: %w", flushErr))
		}
	}()

	if err := policy.satisfy(tpm, auths, session); err != nil {
		return err
	}

	return use(session)
}

// satisfy performs TPM2_PolicySecret and TPM2_PolicyOR (TPM 2.0 Part 3, 23.4 and 23.6) in a session.
func (p ekPolicy) satisfy(tpm transport.TPM, auths Auths, session tpm2.Session) error {
	_, err := tpm2.PolicySecret{AuthHandle: auths.endorsement(), PolicySession: session.Handle(), NonceTPM: session.NonceTPM()}.Execute(tpm)
	if err != nil {
		return fmt.Errorf("authorising the EK's use: %w", endorsementError(err))
	}

	if p.or == nil {
		return nil
	}

	if _, err := (tpm2.PolicyOr{PolicySession: session.Handle(), PHashList: digestList(p.or...)}).Execute(tpm); err != nil {
		return fmt.Errorf("authorising the EK's use: %w", err)
	}

	return nil
}

// policyA is TPM2_PolicySecret(TPM_RH_ENDORSEMENT): TCG EK Credential Profile, Annex B, "Computing PolicyA".
func policyA(alg tpm2.TPMIAlgHash) []byte {
	return policyDigest(alg, tpm2.PolicySecret{AuthHandle: tpm2.TPMRHEndorsement})
}

// policyB is PolicyA or PolicyC: TCG EK Credential Profile, Annex B, "Computing PolicyB".
func policyB(alg tpm2.TPMIAlgHash) []byte {
	return policyDigest(alg, tpm2.PolicyOr{PHashList: digestList(policyA(alg), policyC(alg))})
}

// policyC is TPM2_PolicyAuthorizeNV with the NV index that the profile reserves for the name algorithm: TCG EK Credential Profile, Annex B, "Computing PolicyC".
func policyC(alg tpm2.TPMIAlgHash) []byte {
	if alg == tpm2.TPMAlgSHA384 {
		return []byte("\xd6\x03\x2c\xe6\x1f\x2f\xb3\xc2\x40\xeb\x3c\xf6\xa3\x32\x37\xef\x2b\x6a\x16\xf4\x29\x3c\x22\xb4" +
			"\x55\xe2\x61\xcf\xfd\x21\x7a\xd5\xb4\x94\x7c\x2d\x73\xe6\x30\x05\xee\xd2\xdc\x2b\x35\x93\xd1\x65")
	}

	return []byte("\x37\x67\xe2\xed\xd4\x3f\xf4\x5a\x3a\x7e\x1e\xae\xfc\xef\x78\x64\x3d\xca\x96\x46\x32\xe7\xaa\xd8\x2c\x67\x3a\x30\xd8\x63\x3f\xde")
}

// policyDigest returns the digest of a policy of one command (TPM 2.0 Part 1, 19.7); nil if the algorithm has no hash, which no template's does.
func policyDigest(alg tpm2.TPMIAlgHash, command tpm2.PolicyCommand) []byte {
	policy, err := tpm2.NewPolicyCalculator(alg)
	if err != nil {
		return nil
	}

	if err := command.Update(policy); err != nil {
		return nil
	}

	return policy.Hash().Digest
}

func digestList(digests ...[]byte) tpm2.TPMLDigest {
	var list tpm2.TPMLDigest
	for _, d := range digests {
		list.Digests = append(list.Digests, tpm2.TPM2BDigest{Buffer: d})
	}

	return list
}
