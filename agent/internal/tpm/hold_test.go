package tpm

import (
	"github.com/trustpool/trustpool/internal/witness"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Hold holds a quote, as a verifier would, against the AK that it names.
func (q *Quote) Hold(extraData []byte) error {
	evidence := verifier.Evidence{Quoted: q.Quoted, Signature: q.Signature, AKPublic: q.AK.Public, Nonce: extraData}

	for _, bank := range q.Banks {
		values := verifier.PCRBank{Alg: eventlog.Alg(bank.Selection.Bank)}
		for i, pcr := range bank.Selection.PCRs() {
			values.Values = append(values.Values, verifier.PCRValue{Index: pcr, Value: bank.Values[i]})
		}

		evidence.PCRs = append(evidence.PCRs, values)
	}

	ak := verifier.AKPin{Name: q.AK.Name(), Public: q.AK.Public, Binding: verifier.BindingFirstUse}
	_, err := witness.Hold(evidence, verifier.Policy{Nonce: extraData, BindMode: verifier.BindRaw, KnownGood: verifier.KnownGood{AKs: []verifier.AKPin{ak}}})

	return err
}
