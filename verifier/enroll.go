package verifier

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// The checks of an enrolment, in the order in which they are listed. CheckAKStructure, CheckAKAttributes and CheckAKAlgorithm are among them, as in a Result.
const (
	// CheckEnrollPolicy: the caller's demands make sense.
	CheckEnrollPolicy CheckName = "enroll_policy"
	// CheckEKStructure: the EK is one canonical TPMT_PUBLIC with nothing after it (Part 2, 12.2.4).
	CheckEKStructure CheckName = "ek_structure"
	// CheckEKAttributes: the EK is a restricted decryption key that never leaves its TPM (Part 2, 8.3).
	CheckEKAttributes CheckName = "ek_attributes"
	// CheckEKAlgorithm: the EK is RSA with 2048 to 4096 bits, or ECC P-256 to P-521, and protects by AES.
	CheckEKAlgorithm CheckName = "ek_algorithm"
	// CheckEKCertificate: the EK's certificate follows TCG's EK Credential Profile. Asked only where roots are given, as the next three.
	CheckEKCertificate CheckName = "ek_certificate"
	// CheckEKCertificateKey: the certificate is for this very EK.
	CheckEKCertificateKey CheckName = "ek_certificate_key"
	// CheckEKChain: the certificate leads to a root that is trusted, and is valid.
	CheckEKChain CheckName = "ek_chain"
	// CheckEKRevocation: no certificate on that way was revoked. Asked only where CRLs are given.
	CheckEKRevocation CheckName = "ek_revocation"
	// CheckEKBinding: the EK is that of the node, as far as the binding can tell.
	CheckEKBinding CheckName = "ek_binding"
	// CheckAKNotRefused: the AK is not on the refuse list.
	CheckAKNotRefused CheckName = "ak_not_refused"
	// CheckAKCreationData: the creation data is one canonical TPMS_CREATION_DATA with nothing after it (Part 2, 15.1).
	CheckAKCreationData CheckName = "ak_creation_data"
	// CheckAKParent: the AK is a primary key of the endorsement hierarchy, by its creation data.
	CheckAKParent CheckName = "ak_parent"
	// CheckAKCertifyInfo: what was certified is one canonical TPMS_ATTEST of type TPM_ST_ATTEST_CREATION that a TPM made (Part 2, 10.12.12).
	CheckAKCertifyInfo CheckName = "ak_certify_info"
	// CheckAKCertifySignature: the AK itself signed it, in the AK's scheme.
	CheckAKCertifySignature CheckName = "ak_certify_signature"
	// CheckAKCertifyNonce: the caller's own nonce is signed in it.
	CheckAKCertifyNonce CheckName = "ak_certify_nonce"
	// CheckAKCertifiedObject: it is about this AK and this creation data.
	CheckAKCertifiedObject CheckName = "ak_certified_object"
	// CheckAKCertifySigner: its signer is a primary key of the endorsement hierarchy with this AK's Name.
	CheckAKCertifySigner CheckName = "ak_certify_signer"
	// CheckAKCertificate: the AK's certificate, if there is one, is for this very AK.
	CheckAKCertificate CheckName = "ak_certificate"
	// CheckCredential: the TPM opened a credential that was made for this EK and this AK: both live in it. Nothing before proves that, since software can write all of it.
	CheckCredential CheckName = "credential"
)

// Enrollment is one attempt to enrol one node: Enroll, then Challenge and Finish. It is not safe for concurrent use.
type Enrollment struct {
	// Checks holds each check and what became of it. CheckCredential, the last, is not run before Finish.
	Checks []Check `json:"checks"`
	// EKBinding is what the enrolment claims if all checks pass.
	EKBinding EKBinding `json:"ek_binding,omitempty"`
	// EKName and AKName are the Names of the keys that were looked at; empty if they do not parse.
	EKName Hex `json:"ek_name,omitempty"`
	AKName Hex `json:"ak_name,omitempty"`
	// TPM is what the EK's certificate says of the TPM.
	TPM TPMInfo `json:"tpm"`

	node      string
	recorded  *NodeRecord
	ek        *ekExam
	ak        *akExam
	tls       *tlsExam
	challenge *Challenge
}

// Enroll runs every check that needs no further word of the node. Of several EKs it takes the first that passes; if none does, the Enrollment tells of the one that came furthest.
func Enroll(id Identity, p EnrollPolicy) *Enrollment {
	e := &Enrollment{EKBinding: p.binding(), node: p.Node, recorded: p.Record}
	var first checklist
	first.run(CheckEnrollPolicy, p.check)

	e.ek = chooseEK(id.EKs, &p)
	e.ak = examineAK(id.AKs, &p)
	e.tls = examineTLSKey(id.TLS, e.ak, &p)
	e.Checks = slices.Concat(first.checks, e.ek.checks, e.ak.checks, e.tls.checks, []Check{{Name: CheckCredential, Outcome: NotRun, Detail: "the TPM was not asked yet"}})
	e.TPM = e.ek.tpm()
	if e.ek.ek != nil {
		e.EKName = e.ek.ek.name
	}
	if e.ak.ak != nil {
		e.AKName = e.ak.ak.name
	}
	return e
}

// Check returns the check of that name; of an Enrollment that does not hold it, one that failed.
func (e *Enrollment) Check(name CheckName) Check {
	list := checklist{e.Checks}
	return list.check(name)
}

// Failures returns the checks that speak against the enrolment so far, that of the credential left out while it was not run.
func (e *Enrollment) Failures() []Check {
	var failures []Check
	for _, c := range e.Checks {
		if c.Outcome == Passed || c.Outcome == NotAsked || (c.Name == CheckCredential && c.Outcome == NotRun) {
			continue
		}
		failures = append(failures, c)
	}
	return failures
}

// Enrolled tells whether every check passed, that of the credential among them.
func (e *Enrollment) Enrolled() bool {
	return len(e.Failures()) == 0 && e.Check(CheckCredential).Outcome == Passed
}

// Challenge makes the credential that the TPM has to open. It fails where a check has failed: a node that is refused anyway is asked nothing more.
func (e *Enrollment) Challenge() (*Challenge, error) {
	if err := e.refusal(); err != nil {
		return nil, err
	}
	if e.challenge != nil {
		return nil, errors.New("challenging: this enrolment has its credential already")
	}
	var err error
	e.challenge, err = NewChallenge(e.ek.ek.raw, e.ak.ak.name)
	return e.challenge, err
}

// Finish takes the secret that the TPM found in the credential, and returns the node's record. address is kept in it, at is when the node was
// enrolled. Where the policy had a Record, it is that one with one AK more.
func (e *Enrollment) Finish(secret []byte, address string, at time.Time) (NodeRecord, error) {
	if e.challenge == nil {
		return NodeRecord{}, errors.New("finishing an enrolment: no credential was made")
	}
	e.Checks[len(e.Checks)-1] = newCheck(CheckCredential, e.challenge.Answer(secret))
	if err := e.refusal(); err != nil {
		return NodeRecord{}, err
	}
	return e.record(address, at)
}

// refusal returns all that speaks against the enrolment, nil if nothing does.
func (e *Enrollment) refusal() error {
	if len(e.Checks) == 0 {
		return errors.New("enrolling: nothing was checked")
	}
	var errs []error
	for _, c := range e.Failures() {
		errs = append(errs, fmt.Errorf("enrolling %s: %s: %s", safeText(e.node), c.Name, c.Detail))
	}
	return errors.Join(errs...)
}

// checklist runs checks one after the other.
type checklist struct{ checks []Check }

// run runs the check if those that it needs have passed, or were not asked for.
func (l *checklist) run(name CheckName, check func() error, needs ...CheckName) {
	for _, need := range needs {
		if outcome := l.check(need).Outcome; outcome != Passed && outcome != NotAsked {
			l.checks = append(l.checks, Check{Name: name, Outcome: NotRun, Detail: fmt.Sprintf("builds on %s, which did not pass", need)})
			return
		}
	}
	l.checks = append(l.checks, newCheck(name, check()))
}

func (l *checklist) check(name CheckName) Check {
	for _, c := range l.checks {
		if c.Name == name {
			return c
		}
	}
	return Check{Name: name, Detail: "not among the checks"}
}

func (l *checklist) passed(names ...CheckName) bool {
	return !slices.ContainsFunc(names, func(n CheckName) bool { return l.check(n).Outcome != Passed })
}
