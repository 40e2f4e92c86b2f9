package verifier_test

import (
	"crypto/sha256"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// TestEachCheckRefusesAlone makes evidence that is signed and consistent, and wrong in one thing: only the check of that thing fails.
func TestEachCheckRefusesAlone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		rule  string
		check verifier.CheckName
		forge func(f *forgery)                                // before it is signed
		alter func(ev *verifier.Evidence, p *verifier.Policy) // after
	}{
		{rule: "byte after the end of quoted", check: verifier.CheckQuotedStructure, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.Quoted = append(ev.Quoted, 0)
		}},
		{rule: "quoted breaks off", check: verifier.CheckQuotedStructure, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.Quoted = ev.Quoted[:len(ev.Quoted)-1]
		}},
		{rule: "quoted is huge", check: verifier.CheckQuotedStructure, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.Quoted = append(ev.Quoted, make([]byte, 1<<20)...)
		}},
		{rule: "byte after the end of the signature", check: verifier.CheckSignatureStructure, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.Signature = append(ev.Signature, 0)
		}},
		{rule: "byte after the end of the AK", check: verifier.CheckAKStructure, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.AKPublic = append(ev.AKPublic, 0)
		}},
		{rule: "AK named by SHA-1", check: verifier.CheckAKStructure, forge: func(f *forgery) {
			f.area = func(a *tpm2.TPMTPublic, _ *tpm2.TPMSECCParms) { a.NameAlg = tpm2.TPMAlgSHA1 }
		}},
		{rule: "other magic", check: verifier.CheckMagic, forge: func(f *forgery) {
			f.attest = func(a *tpm2.TPMSAttest) { a.Magic = 0xff544348 }
		}},
		{rule: "certification instead of a quote", check: verifier.CheckType, forge: func(f *forgery) {
			f.attest = func(a *tpm2.TPMSAttest) {
				a.Type = tpm2.TPMSTAttestCertify
				a.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify, &tpm2.TPMSCertifyInfo{})
			}
		}},
		{rule: "AK that is not pinned", check: verifier.CheckAKPinned, alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.KnownGood.AKs = []verifier.AKPin{{Name: p.KnownGood.AKs[0].Name, Public: []byte("another"), Binding: verifier.BindingFirstUse}}
		}},
		{rule: "pin of this key under another Name", check: verifier.CheckAKPinned, alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.KnownGood.AKs = []verifier.AKPin{{Name: nameOf(nil), Public: p.KnownGood.AKs[0].Public, Binding: verifier.BindingFirstUse}}
		}},
		{rule: "no AK pinned", check: verifier.CheckAKPinned, alter: func(_ *verifier.Evidence, p *verifier.Policy) { p.KnownGood.AKs = nil }},
		{rule: "unrestricted key", check: verifier.CheckAKAttributes, forge: attributes(func(a *tpm2.TPMAObject) { a.Restricted = false })},
		{rule: "key that can leave its TPM", check: verifier.CheckAKAttributes, forge: attributes(func(a *tpm2.TPMAObject) { a.FixedTPM = false })},
		{rule: "key that can move", check: verifier.CheckAKAttributes, forge: attributes(func(a *tpm2.TPMAObject) { a.FixedParent = false })},
		{rule: "key made outside", check: verifier.CheckAKAttributes, forge: attributes(func(a *tpm2.TPMAObject) { a.SensitiveDataOrigin = false })},
		{rule: "key that does not sign", check: verifier.CheckAKAttributes, forge: attributes(func(a *tpm2.TPMAObject) { a.SignEncrypt = false })},
		{rule: "key that decrypts", check: verifier.CheckAKAttributes, forge: attributes(func(a *tpm2.TPMAObject) { a.Decrypt = true })},
		{rule: "key for certificates", check: verifier.CheckAKAttributes, forge: attributes(func(a *tpm2.TPMAObject) { a.X509Sign = true })},
		{rule: "P-256 with SHA-384", check: verifier.CheckAKAlgorithm, forge: func(f *forgery) {
			f.area = func(_ *tpm2.TPMTPublic, p *tpm2.TPMSECCParms) {
				p.Scheme.Details = tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA384})
			}
		}},
		{rule: "point that is not on its curve", check: verifier.CheckAKAlgorithm, forge: func(f *forgery) {
			f.area = func(_ *tpm2.TPMTPublic, p *tpm2.TPMSECCParms) {
				p.CurveID = tpm2.TPMECCNistP384
				p.Scheme.Details = tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA384})
			}
		}},
		{rule: "signature of another key", check: verifier.CheckSignature, forge: func(f *forgery) {
			f.sign = func(s *tpm2.TPMSSignatureECC, _ *[]byte) { s.SignatureR.Buffer[5] ^= 1 }
		}},
		{rule: "signature that names another hash", check: verifier.CheckSignature, forge: func(f *forgery) {
			f.sign = func(s *tpm2.TPMSSignatureECC, _ *[]byte) { s.Hash = tpm2.TPMAlgSHA384 }
		}},
		{rule: "signature of another scheme", check: verifier.CheckSignature, forge: func(f *forgery) {
			f.sign = func(s *tpm2.TPMSSignatureECC, whole *[]byte) {
				*whole = tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDAA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDAA, s)})
			}
		}},
		{rule: "key of the owner hierarchy", check: verifier.CheckQualifiedSigner, forge: func(f *forgery) {
			f.attest = func(a *tpm2.TPMSAttest) { a.QualifiedSigner.Buffer = nameOf([]byte{0x40, 0, 0, 1}, nameOf(f.public)) }
		}},
		{rule: "key below a primary key", check: verifier.CheckQualifiedSigner, forge: func(f *forgery) {
			f.attest = func(a *tpm2.TPMSAttest) {
				parent := nameOf([]byte{0x40, 0, 0, 0x0B}, nameOf([]byte("parent")))
				a.QualifiedSigner.Buffer = nameOf(parent, nameOf(f.public))
			}
		}},
		{rule: "nonce of another challenge", check: verifier.CheckNonce, alter: func(ev *verifier.Evidence, p *verifier.Policy) {
			ev.Nonce, p.Nonce = nil, make([]byte, 32)
		}},
		{rule: "evidence that names another nonce than it signs", check: verifier.CheckNonce, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.Nonce = make([]byte, 32)
		}},
		{rule: "beginning of the nonce only", check: verifier.CheckNonce, forge: func(f *forgery) {
			f.attest = func(a *tpm2.TPMSAttest) { a.ExtraData.Buffer = f.nonce[:20] }
		}},
		{rule: "PCR left out", check: verifier.CheckSelection, alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.Selection = []verifier.Selection{sha256PCRs(17, 18, 19, 20)}
			p.KnownGood.PCRs = append(p.KnownGood.PCRs, verifier.KnownPCR{Bank: eventlog.AlgSHA256, PCR: 20, Values: []verifier.Hex{make([]byte, 32)}})
		}},
		{rule: "PCR nobody asked for", check: verifier.CheckSelection, alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.Selection = []verifier.Selection{sha256PCRs(17, 18)}
			p.KnownGood.PCRs = p.KnownGood.PCRs[:2]
		}},
		{rule: "values in another order", check: verifier.CheckPCRValues, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			v := ev.PCRs[0].Values
			v[0], v[1] = v[1], v[0]
		}},
		{rule: "value left out", check: verifier.CheckPCRValues, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.PCRs[0].Values = ev.PCRs[0].Values[:2]
		}},
		{rule: "value of another size", check: verifier.CheckPCRValues, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.PCRs[0].Values[2].Value = make([]byte, 20)
		}},
		{rule: "values of another bank", check: verifier.CheckPCRValues, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.PCRs[0].Alg = eventlog.AlgSM3
		}},
		{rule: "bank twice", check: verifier.CheckPCRValues, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.PCRs = append(ev.PCRs, ev.PCRs[0])
		}},
		{rule: "digest of other values", check: verifier.CheckPCRDigest, forge: func(f *forgery) {
			f.info = func(i *tpm2.TPMSQuoteInfo) { sum := sha256.Sum256(nil); i.PCRDigest.Buffer = sum[:] }
		}},
		{rule: "PCR 17 of all FF", check: verifier.CheckLaunch, forge: pcr17(0xFF)},
		{rule: "PCR 17 of all zeros", check: verifier.CheckLaunch, forge: pcr17(0)},
		{rule: "log that does not parse", check: verifier.CheckLogs, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.Logs = append(ev.Logs, verifier.Log{Source: "firmware", Raw: []byte("no log")})
		}},
		{rule: "empty log", check: verifier.CheckLogs, alter: func(ev *verifier.Evidence, _ *verifier.Policy) { ev.Logs[0].Raw = nil }},
		{rule: "log with padding", check: verifier.CheckLogs, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.Logs[0].Raw = append(ev.Logs[0].Raw, make([]byte, 64)...)
		}},
		{rule: "too many logs", check: verifier.CheckLogs, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			for range 16 {
				ev.Logs = append(ev.Logs, verifier.Log{Source: "empty", Raw: logBytes(nil)})
			}
		}},
		{rule: "no log", check: verifier.CheckReplay, alter: func(ev *verifier.Evidence, _ *verifier.Policy) { ev.Logs = nil }},
		{rule: "header-only log", check: verifier.CheckReplay, alter: func(ev *verifier.Evidence, _ *verifier.Policy) { ev.Logs[0].Raw = logBytes(nil) }},
		{rule: "two logs with events of one PCR", check: verifier.CheckReplay, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.Logs = append(ev.Logs, verifier.Log{Source: "other", Raw: logBytes([]logEvent{{pcr: 17, typ: eventlog.TypeHashStart, data: []byte("SINIT and EDX")}})})
		}},
		{rule: "value of a PCR that has no events", check: verifier.CheckReplay, forge: func(f *forgery) {
			f.pcrs = func(b []verifier.PCRBank) { b[0].Values[2].Value[0] = 1 }
		}},
		{rule: "log without events for a quoted PCR", check: verifier.CheckReplay, alter: func(ev *verifier.Evidence, _ *verifier.Policy) {
			ev.Logs[0].Raw = logBytes([]logEvent{{pcr: 17, typ: eventlog.TypeHashStart, data: []byte("SINIT and EDX")}})
		}},
		{rule: "log without a launch", check: verifier.CheckReplay, forge: func(f *forgery) { f.events = f.events[1:] }},
		{rule: "no entry for a PCR", check: verifier.CheckKnownGood, alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.KnownGood.PCRs = p.KnownGood.PCRs[:2]
		}},
		{rule: "entry for a PCR that is not quoted", check: verifier.CheckKnownGood, alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.KnownGood.PCRs = append(p.KnownGood.PCRs, verifier.KnownPCR{Bank: eventlog.AlgSHA256, PCR: 20, Values: []verifier.Hex{make([]byte, 32)}})
		}},
		{rule: "entry of another bank", check: verifier.CheckKnownGood, alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.KnownGood.PCRs[2].Bank = eventlog.AlgSHA384
		}},
		{rule: "two entries for a PCR", check: verifier.CheckKnownGood, alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.KnownGood.PCRs = append(p.KnownGood.PCRs, p.KnownGood.PCRs[0])
		}},
		{rule: "entry without values or events", check: verifier.CheckKnownGood, alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.KnownGood.PCRs[2].Values = nil
		}},
		{rule: "entry with both values and events", check: verifier.CheckKnownGood, alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.KnownGood.PCRs[0].Values = []verifier.Hex{make([]byte, 32)}
		}},
		{rule: "nothing known-good", check: verifier.CheckKnownGood, alter: func(_ *verifier.Evidence, p *verifier.Policy) { p.KnownGood.PCRs = nil }},
		{rule: "another value", check: verifier.CheckMeasurements, alter: func(_ *verifier.Evidence, p *verifier.Policy) {
			p.KnownGood.PCRs[2].Values = []verifier.Hex{make([]byte, 31), append(make([]byte, 31), 1)}
		}},
		{rule: "another event", check: verifier.CheckMeasurements, forge: func(f *forgery) { f.events[4].what = "another hypervisor" }},
		{rule: "nonce that is too short", check: verifier.CheckFreshness, forge: func(f *forgery) { f.nonce = f.nonce[:15] }},
		{rule: "empty nonce", check: verifier.CheckFreshness, forge: func(f *forgery) { f.nonce = []byte{} }},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			f := newForgery(t)
			if tc.forge != nil {
				tc.forge(f)
			}
			ev := f.evidence(t)
			f.repin()
			p := rawPolicy(f.known, f.nonce)
			if tc.alter != nil {
				ev = clone(ev)
				tc.alter(&ev, &p)
			}
			wantOnly(t, verifier.Verify(ev, p), tc.check)
		})
	}
}

func attributes(change func(*tpm2.TPMAObject)) func(*forgery) {
	return func(f *forgery) {
		f.area = func(a *tpm2.TPMTPublic, _ *tpm2.TPMSECCParms) { change(&a.ObjectAttributes) }
	}
}

func restricted(set bool) func(*tpm2.TPMTPublic, *tpm2.TPMSECCParms) {
	return func(a *tpm2.TPMTPublic, _ *tpm2.TPMSECCParms) { a.ObjectAttributes.Restricted = set }
}

func pcr17(b byte) func(*forgery) {
	return func(f *forgery) {
		f.pcrs = func(banks []verifier.PCRBank) {
			for i := range banks[0].Values[0].Value {
				banks[0].Values[0].Value[i] = b
			}
		}
	}
}

func TestUnusablePolicyJudgesNobody(t *testing.T) {
	t.Parallel()
	f := newForgery(t)
	ev := f.evidence(t)
	for rule, change := range map[string]func(*verifier.Policy){
		"no bind mode":      func(p *verifier.Policy) { p.BindMode = verifier.BindUnspecified },
		"unknown bind mode": func(p *verifier.Policy) { p.BindMode = 99 },
		"PCR 24":            func(p *verifier.Policy) { p.Selection = []verifier.Selection{sha256PCRs(24)} },
		"PCR -1":            func(p *verifier.Policy) { p.Selection = []verifier.Selection{sha256PCRs(-1, 17)} },
		"PCR twice":         func(p *verifier.Policy) { p.Selection = []verifier.Selection{sha256PCRs(17, 18, 17)} },
		"no PCR":            func(p *verifier.Policy) { p.Selection = []verifier.Selection{sha256PCRs()} },
		"bank twice":        func(p *verifier.Policy) { p.Selection = []verifier.Selection{sha256PCRs(17), sha256PCRs(18)} },
		"unknown bank":      func(p *verifier.Policy) { p.Selection = []verifier.Selection{{Alg: 99, PCRs: []int{17}}} },
		"SHA-1": func(p *verifier.Policy) {
			p.Selection = []verifier.Selection{{Alg: eventlog.AlgSHA1, PCRs: []int{17}}}
		},
		"empty bank": func(p *verifier.Policy) { p.Selection = make([]verifier.Selection, 17) },
	} {
		p := rawPolicy(f.known, f.nonce)
		change(&p)
		r := verifier.Verify(ev, p)
		if r.Verdict != verifier.CouldNotJudge || r.Check(verifier.CheckPolicy).Outcome != verifier.Failed {
			t.Errorf("%s: %s", rule, r)
		}
	}
}

func TestQuoteWithoutPCR17IsRefused(t *testing.T) {
	t.Parallel()
	n := startNode(t, tpmsim.Trusted, p256())
	selection := sha256PCRs(18, 19)
	ev := n.evidence(t, newNonce(t), selection)
	whole := learn(t, n.evidence(t, newNonce(t), verifier.DefaultSelection()...))
	known := verifier.KnownGood{AKs: whole.AKs, PCRs: whole.PCRs[1:]}

	wantOnly(t, verifier.Verify(ev, rawPolicy(known, ev.Nonce, selection)), verifier.CheckLaunch)
}

func TestKeysOfARealTPMThatAreNoAKAreRefused(t *testing.T) {
	t.Parallel()
	unrestricted := p256()
	unrestricted.template.ObjectAttributes.Restricted = false
	owner := p256()
	owner.hierarchy = tpm2.TPMRHOwner

	for name, tc := range map[string]struct {
		kind  keyKind
		check verifier.CheckName
	}{
		"unrestricted key":          {unrestricted, verifier.CheckAKAttributes},
		"primary key of the owner":  {owner, verifier.CheckQualifiedSigner},
		"key of the null hierarchy": {keyKind{tpm2.TPMRHNull, p256().template}, verifier.CheckQualifiedSigner},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, tpmsim.Trusted, p256())
			known := learn(t, n.evidence(t, newNonce(t), verifier.DefaultSelection()...))
			n.makeKey(t, tc.kind)
			ev := n.evidence(t, newNonce(t), verifier.DefaultSelection()...)
			wantRefused(t, verifier.Verify(ev, rawPolicy(known, ev.Nonce)), verifier.CheckAKPinned)

			known.AKs = []verifier.AKPin{{Name: nameOf(n.public), Public: n.public, Binding: verifier.BindingFirstUse}}
			wantOnly(t, verifier.Verify(ev, rawPolicy(known, ev.Nonce)), tc.check)
		})
	}
}
