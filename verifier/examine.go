package verifier

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
)

// ekExam is one EK and what the checks found of it. A field is set once the check that fills it passed.
type ekExam struct {
	checklist
	policy *EnrollPolicy
	wire   EndorsementKey

	ek   *ek
	key  crypto.PublicKey
	cert *ekCertificate
	ways [][]*x509.Certificate
}

// chooseEK returns the first EK that passes, else the one with the most checks that do.
func chooseEK(eks []EndorsementKey, p *EnrollPolicy) *ekExam {
	if len(eks) == 0 {
		eks = []EndorsementKey{{}} // fails the checks as an EK that is missing
	}
	var best *ekExam
	for _, wire := range eks[:min(len(eks), maxEKs)] {
		x := &ekExam{policy: p, wire: wire}
		x.examine()
		if best == nil || x.score() > best.score() {
			best = x
		}
	}
	return best
}

// score counts the checks that do not refuse.
func (x *ekExam) score() int {
	n := 0
	for _, c := range x.checks {
		if c.Outcome == Passed || c.Outcome == NotAsked {
			n++
		}
	}
	return n
}

func (x *ekExam) examine() {
	x.run(CheckEKStructure, func() (err error) { x.ek, err = parseEK(x.wire.Public); return err })
	x.run(CheckEKAttributes, func() error { return x.ek.checkAttributes() }, CheckEKStructure)
	x.run(CheckEKAlgorithm, func() (err error) { x.key, err = x.ek.publicKey(); return err }, CheckEKStructure)
	x.run(CheckEKCertificate, x.checkCertificate)
	x.run(CheckEKCertificateKey, x.checkCertificateKey, CheckEKCertificate, CheckEKAlgorithm)
	x.run(CheckEKChain, x.checkChain, CheckEKCertificate)
	x.run(CheckEKRevocation, x.checkRevocation, CheckEKChain)
	x.run(CheckEKBinding, x.checkBinding, CheckEKStructure, CheckEKCertificateKey, CheckEKChain, CheckEKRevocation)
}

// noRoots says why a certificate was not looked at.
const noRoots = "no roots are given, so the EK certificate is not judged"

func (x *ekExam) checkCertificate() error {
	if !x.policy.needsCertificate() {
		return notAsked(noRoots)
	}
	if len(x.wire.Certificate) == 0 {
		return errors.New("the EK has no certificate that could lead to a root")
	}
	cert, err := parseEKCertificate(x.wire.Certificate)
	if err != nil {
		return err
	}
	x.cert = cert
	return nil
}

func (x *ekExam) checkCertificateKey() error {
	if x.cert == nil {
		return notAsked(noRoots)
	}
	if !sameKey(x.cert.Certificate, x.key) {
		return errors.New("the EK certificate is for another key than the EK")
	}
	return nil
}

func (x *ekExam) checkChain() (err error) {
	if x.cert == nil {
		return notAsked(noRoots)
	}
	x.ways, err = x.policy.Roots.verify(x.cert, x.wire.Chain, x.policy.At)
	return err
}

func (x *ekExam) checkRevocation() error {
	if x.cert == nil {
		return notAsked(noRoots)
	}
	return checkRevocation(x.policy.CRLs, x.ways, x.policy.At)
}

func (x *ekExam) checkBinding() error { return x.policy.checkBinding(x.ek, x.certified()) }

// certified returns the certificate if it is this EK's and has led to a root, else nil.
func (x *ekExam) certified() *ekCertificate {
	if !x.passed(CheckEKCertificate, CheckEKCertificateKey, CheckEKChain) {
		return nil
	}
	return x.cert
}

// tpm returns what the certificate says, also of one that nobody has judged.
func (x *ekExam) tpm() TPMInfo {
	if cert := x.certified(); cert != nil {
		info := cert.tpm
		info.Certified = true
		return info
	}
	cert, err := parseEKCertificate(x.wire.Certificate)
	if err != nil {
		return TPMInfo{}
	}
	return cert.tpm
}

// akExam is one AK and what the checks found of it. A field is set once the check that fills it passed.
type akExam struct {
	checklist
	wire AttestationKey

	ak       *ak
	key      *signingKey
	creation creation
}

func examineAK(aks []AttestationKey, p *EnrollPolicy) *akExam {
	x := &akExam{}
	x.run(CheckAKStructure, func() error { return x.choose(aks, p.AKName) })
	x.run(CheckAKAttributes, func() error { return x.ak.checkAttributes() }, CheckAKStructure)
	x.run(CheckAKAlgorithm, func() (err error) { x.key, err = x.ak.signingKey(); return err }, CheckAKStructure)
	x.run(CheckAKNotRefused, func() error { return checkNotRefused(p.RefusedAKs, x.ak.name) }, CheckAKStructure)
	x.run(CheckAKCreationData, func() error { return x.creation.parseData(x.wire.CreationData) }, CheckAKStructure)
	x.run(CheckAKParent, x.creation.checkParent, CheckAKCreationData)
	x.run(CheckAKCertifyInfo, func() error { return x.creation.parseCertified(x.wire.CertifyInfo) }, CheckAKStructure)
	x.run(CheckAKCertifySignature, x.checkSignature, CheckAKAlgorithm)
	x.run(CheckAKCertifyNonce, func() error { return x.creation.checkNonce(p.Nonce) }, CheckAKCertifyInfo)
	x.run(CheckAKCertifiedObject, func() error { return x.creation.checkObject(x.ak, x.wire.CreationData) }, CheckAKCertifyInfo, CheckAKStructure)
	x.run(CheckAKCertifySigner, func() error { return x.creation.checkSigner(x.ak) }, CheckAKCertifyInfo, CheckAKStructure)
	x.run(CheckAKCertificate, func() error { return checkAKCertificate(x.wire.Certificate, x.key) }, CheckAKAlgorithm)
	return x
}

func (x *akExam) choose(aks []AttestationKey, asked []byte) (err error) {
	if x.wire, err = chooseAK(aks, asked); err != nil {
		return err
	}
	x.ak, err = parseAK(x.wire.Public)
	return err
}

func (x *akExam) checkSignature() error {
	sig, err := parseSignature(x.wire.CertifySignature)
	if err != nil {
		return fmt.Errorf("certify_%w", err)
	}
	return x.key.verify(x.wire.CertifyInfo, sig)
}
