package verifier

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// launchPCR is reset and extended by the launch itself (Intel TXT MLE Developer's Guide, 1.10).
const launchPCR = 17

func (e *exam) checkSelection() error {
	signed, err := e.quoted.selection()
	if err != nil {
		return err
	}
	if e.policy.AllowMorePCRs {
		return moreThanAsked(signed, e.asked)
	}
	if !equalSelections(signed, e.asked) {
		return fmt.Errorf("the signed selection is %s, the policy asks for %s", signed, e.asked)
	}
	return nil
}

// checkPCRValues compares with the signed selection, not with the asked one: the values are what the signed digest is made of.
func (e *exam) checkPCRValues() error {
	signed, err := e.quoted.selection()
	if err != nil {
		return err
	}
	if len(signed) == 0 {
		return errors.New("no PCR is signed")
	}
	if len(e.ev.PCRs) != len(signed) {
		return fmt.Errorf("there are values of %d banks, %d are signed", len(e.ev.PCRs), len(signed))
	}

	for i, bank := range e.ev.PCRs {
		if err := checkBank(bank, signed[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkBank(bank PCRBank, signed Selection) error {
	if bank.Alg != signed.Alg {
		return fmt.Errorf("there are values of bank %s where %s is signed", bank.Alg, signed.Alg)
	}
	if bank.Alg.Size() == 0 {
		return fmt.Errorf("bank %s is unknown", bank.Alg)
	}
	if len(bank.Values) != len(signed.PCRs) {
		return fmt.Errorf("bank %s has %d values, %d are signed", bank.Alg, len(bank.Values), len(signed.PCRs))
	}

	for i, v := range bank.Values {
		if v.Index != signed.PCRs[i] {
			return fmt.Errorf("bank %s has a value of PCR %d where PCR %d is signed", bank.Alg, v.Index, signed.PCRs[i])
		}
		if v.Index >= numPCRs {
			return fmt.Errorf("bank %s: PCR %d does not exist", bank.Alg, v.Index)
		}
		if len(v.Value) != bank.Alg.Size() {
			return fmt.Errorf("the value of %s has %d bytes, not %d", pcr{bank.Alg, v.Index}, len(v.Value), bank.Alg.Size())
		}
	}
	return nil
}

// checkPCRDigest: Part 3, 18.4: pcrDigest is the hash, by the signing scheme's hash, of the values one after the other.
func (e *exam) checkPCRDigest() error {
	h := e.key.hash.Hash().New()
	for _, v := range e.values() {
		h.Write(v.value)
	}
	return compare(e.quoted.info.PCRDigest.Buffer, h.Sum(nil), "the PCR values are not the signed ones: their digest differs")
}

// checkLaunch: TPM2_Startup sets PCR 17 to FF, a launch to zeros and then extends it, so that neither can be left after a launch.
func (e *exam) checkLaunch() error {
	quoted := false
	for _, v := range e.judged() {
		if v.pcr.index != launchPCR {
			continue
		}
		quoted = true
		switch {
		case all(v.value, 0xFF):
			return mismatch{detail: "no measured launch: PCR 17 is all FF" + inBank(v.pcr.bank), got: v.value}
		case all(v.value, 0):
			return mismatch{detail: "no measured launch: PCR 17 is all zeros, which no launch leaves behind" + inBank(v.pcr.bank), got: v.value}
		}
	}
	if !quoted {
		return errors.New("PCR 17 is not quoted: nothing shows that there was a measured launch")
	}
	return nil
}

func inBank(bank eventlog.Alg) string { return " (bank " + bank.String() + ")" }

func all(value []byte, b byte) bool { return bytes.Count(value, []byte{b}) == len(value) }

// quotedPCR is one value of the evidence.
type quotedPCR struct {
	pcr   pcr
	value []byte
}

// values lists the evidence's values in their order.
func (e *exam) values() []quotedPCR {
	var values []quotedPCR
	for _, bank := range e.ev.PCRs {
		for _, v := range bank.Values {
			values = append(values, quotedPCR{pcr{bank.Alg, v.Index}, v.Value})
		}
	}
	return values
}

// judged lists the values that the other checks look at: those that are asked for, where more may be signed.
func (e *exam) judged() []quotedPCR {
	values := e.values()
	if !e.policy.AllowMorePCRs {
		return values
	}
	return slices.DeleteFunc(values, func(v quotedPCR) bool { return !selects(e.asked, v.pcr) })
}

// signedQuote returns what the signature covers; the values only if their digest is the signed one.
func (e *exam) signedQuote() *Quote {
	q := &Quote{
		ExtraData:       e.quoted.ExtraData.Buffer,
		Clock:           e.quoted.ClockInfo.Clock,
		ResetCount:      e.quoted.ClockInfo.ResetCount,
		RestartCount:    e.quoted.ClockInfo.RestartCount,
		Safe:            e.quoted.ClockInfo.Safe,
		FirmwareVersion: e.quoted.FirmwareVersion,
	}
	if e.passed(CheckPCRDigest) {
		for _, v := range e.values() {
			q.PCRs = append(q.PCRs, PCRQuoted{Bank: v.pcr.bank.String(), PCR: v.pcr.index, Value: v.value})
		}
	}
	return q
}
