package verifier_test

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// node is a simulated node with a key to quote with.
type node struct {
	*tpmsim.Node
	tpm    transport.TPM
	key    tpm2.AuthHandle
	public []byte
	scheme tpm2.TPMTSigScheme
}

// keyKind is what a node quotes with.
type keyKind struct {
	hierarchy tpm2.TPMHandle
	template  tpm2.TPMTPublic
}

// startNode starts a node whose AK is a primary key of the kind.
func startNode(t testing.TB, scenario tpmsim.Scenario, kind keyKind) *node {
	t.Helper()
	n := &node{Node: tpmsimtest.Start(t, tpmsim.Options{Scenario: scenario})}
	n.tpm = n.Node
	n.makeKey(t, kind)
	return n
}

// makeKey makes the node's key. A reboot loses it; made again it is the same key.
func (n *node) makeKey(t testing.TB, kind keyKind) {
	t.Helper()
	created, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: kind.hierarchy, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(kind.template),
	}.Execute(n.tpm)
	if err != nil {
		t.Fatalf("creating the key: %v", err)
	}
	n.key = tpm2.AuthHandle{Handle: created.ObjectHandle, Name: created.Name, Auth: tpm2.PasswordAuth(nil)}
	n.public = created.OutPublic.Bytes()
	n.scheme = schemeOf(t, kind.template)
}

// schemeOf is the scheme that an unrestricted key has to be told; a restricted one has it already.
func schemeOf(t testing.TB, template tpm2.TPMTPublic) tpm2.TPMTSigScheme {
	t.Helper()
	if template.ObjectAttributes.Restricted {
		return tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}
	}
	return tpm2.TPMTSigScheme{
		Scheme:  tpm2.TPMAlgECDSA,
		Details: tpm2.NewTPMUSigScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSchemeHash{HashAlg: tpm2.TPMAlgSHA256}),
	}
}

// evidence quotes the selection.
func (n *node) evidence(t testing.TB, nonce []byte, selection ...verifier.Selection) verifier.Evidence {
	t.Helper()
	wire := tpm2.TPMLPCRSelection{}
	for _, s := range selection {
		indices := make([]uint, 0, len(s.PCRs))
		for _, p := range s.PCRs {
			indices = append(indices, uint(p))
		}
		wire.PCRSelections = append(wire.PCRSelections, tpm2.TPMSPCRSelection{
			Hash:      tpm2.TPMAlgID(s.Alg),
			PCRSelect: tpm2.PCClientCompatible.PCRs(indices...),
		})
	}
	quote, err := tpm2.Quote{
		SignHandle:     n.key,
		QualifyingData: tpm2.TPM2BData{Buffer: nonce},
		InScheme:       n.scheme,
		PCRSelect:      wire,
	}.Execute(n.tpm)
	if err != nil {
		t.Fatalf("quoting: %v", err)
	}

	ev := verifier.Evidence{
		Quoted:    quote.Quoted.Bytes(),
		Signature: tpm2.Marshal(quote.Signature),
		AKPublic:  n.public,
		Nonce:     nonce,
	}
	for _, s := range selection {
		ev.PCRs = append(ev.PCRs, n.readBank(t, s))
	}
	if log := n.EventLog(); log != nil {
		ev.Logs = []verifier.Log{{Source: "txt", Raw: log}}
	}
	return ev
}

func (n *node) readBank(t testing.TB, s verifier.Selection) verifier.PCRBank {
	t.Helper()
	bank := verifier.PCRBank{Alg: s.Alg}
	for _, p := range s.PCRs {
		read, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
			{Hash: tpm2.TPMAlgID(s.Alg), PCRSelect: tpm2.PCClientCompatible.PCRs(uint(p))},
		}}}.Execute(n.tpm)
		if err != nil || len(read.PCRValues.Digests) != 1 {
			t.Fatalf("reading %s PCR %d: %v", s.Alg, p, err)
		}
		bank.Values = append(bank.Values, verifier.PCRValue{Index: p, Value: read.PCRValues.Digests[0].Buffer})
	}
	return bank
}

func p256() keyKind {
	return eccKind(tpm2.TPMECCNistP256, tpm2.TPMAlgSHA256)
}

func p384() keyKind {
	return eccKind(tpm2.TPMECCNistP384, tpm2.TPMAlgSHA384)
}

func eccKind(curve tpm2.TPMECCCurve, hash tpm2.TPMAlgID) keyKind {
	return keyKind{tpm2.TPMRHEndorsement, tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgECC,
		NameAlg:          hash,
		ObjectAttributes: akAttributes(),
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			CurveID:   curve,
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: hash}),
			},
			KDF: tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
		}),
	}}
}

func rsa2048() keyKind {
	return keyKind{tpm2.TPMRHEndorsement, tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgRSA,
		NameAlg:          tpm2.TPMAlgSHA256,
		ObjectAttributes: akAttributes(),
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			KeyBits:   2048,
			Scheme: tpm2.TPMTRSAScheme{
				Scheme:  tpm2.TPMAlgRSASSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
		}),
	}}
}

func akAttributes() tpm2.TPMAObject {
	return tpm2.TPMAObject{
		FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true,
	}
}

func newNonce(t testing.TB) []byte {
	t.Helper()
	nonce := make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		t.Fatal(err)
	}
	return nonce
}

func sha256PCRs(pcrs ...int) verifier.Selection {
	return verifier.Selection{Alg: eventlog.AlgSHA256, PCRs: pcrs}
}

// rawPolicy is the policy of a caller that asked with this nonce.
func rawPolicy(known verifier.KnownGood, nonce []byte, selection ...verifier.Selection) verifier.Policy {
	return verifier.Policy{Nonce: nonce, BindMode: verifier.BindRaw, KnownGood: known, Selection: selection}
}

// learn learns from good evidence.
func learn(t testing.TB, ev verifier.Evidence, selection ...verifier.Selection) verifier.KnownGood {
	t.Helper()
	known, err := verifier.Learn(ev, rawPolicy(verifier.KnownGood{}, ev.Nonce, selection...))
	if err != nil {
		t.Fatal(err)
	}
	return known
}

// clone makes a copy of ev that can be changed.
func clone(ev verifier.Evidence) verifier.Evidence {
	out := ev
	out.Quoted, out.Signature = bytes.Clone(ev.Quoted), bytes.Clone(ev.Signature)
	out.AKPublic, out.Nonce = bytes.Clone(ev.AKPublic), bytes.Clone(ev.Nonce)
	out.PCRs, out.Logs = nil, nil
	for _, b := range ev.PCRs {
		copied := verifier.PCRBank{Alg: b.Alg}
		for _, v := range b.Values {
			copied.Values = append(copied.Values, verifier.PCRValue{Index: v.Index, Value: bytes.Clone(v.Value)})
		}
		out.PCRs = append(out.PCRs, copied)
	}
	for _, l := range ev.Logs {
		out.Logs = append(out.Logs, verifier.Log{Source: l.Source, Raw: bytes.Clone(l.Raw)})
	}
	return out
}

// wantRefused fails the test unless the check is the first that failed.
func wantRefused(t testing.TB, r verifier.Result, name verifier.CheckName) {
	t.Helper()
	if r.Verdict != verifier.Refused {
		t.Fatalf("verdict is %s, want refused by %s", r.Verdict, name)
	}
	for _, c := range r.Checks {
		if c.Outcome != verifier.Failed {
			continue
		}
		if c.Name != name {
			t.Fatalf("refused by %s (%s), want by %s", c.Name, c.Detail, name)
		}
		return
	}
	t.Fatalf("no check failed, want %s", name)
}

// wantOnly fails the test unless the check is the only one that failed.
func wantOnly(t testing.TB, r verifier.Result, name verifier.CheckName) {
	t.Helper()
	wantRefused(t, r, name)
	for _, c := range r.Checks {
		if c.Outcome == verifier.Failed && c.Name != name {
			t.Fatalf("%s failed too: %s", c.Name, c.Detail)
		}
	}
}
