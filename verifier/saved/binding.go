package saved

import (
	"encoding/hex"

	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/internal/strictjson"
)

// What evidence.json tells of a bound quote.
type (
	// The exporter is the collector's word.
	binding struct {
		Exporter verifier.Hex `json:"exporter"`
		Logs     []boundLog   `json:"logs"`
	}
	boundLog struct {
		Source string       `json:"source"`
		SHA256 verifier.Hex `json:"sha256"`
	}
	// The node's word, which the quote proves or not.
	aggregation struct {
		Salt           verifier.Hex   `json:"salt"`
		Index          uint32         `json:"index"`
		Size           uint32         `json:"size"`
		InclusionProof []verifier.Hex `json:"inclusion_proof"`
	}
)

func newBinding(b *verifier.Binding) *binding {
	if b == nil {
		return nil
	}
	out := &binding{Exporter: b.Exporter, Logs: []boundLog{}}
	for _, l := range b.Logs {
		out.Logs = append(out.Logs, boundLog{Source: l.Source, SHA256: l.SHA256})
	}
	return out
}

// parseBinding returns nil if there is no object; then that was told.
func parseBinding(o *strictjson.Object) *binding {
	if o == nil {
		return nil
	}
	b := &binding{Exporter: parseHex(o, "exporter"), Logs: []boundLog{}}
	for _, l := range o.Objects("logs") {
		b.Logs = append(b.Logs, boundLog{Source: l.String("source"), SHA256: parseHex(l, "sha256")})
		l.Done()
	}
	o.Done()
	return b
}

// evidence is the reverse of newBinding.
func (b *binding) evidence() *verifier.Binding {
	if b == nil {
		return nil
	}
	out := &verifier.Binding{Exporter: b.Exporter}
	for _, l := range b.Logs {
		out.Logs = append(out.Logs, verifier.BoundLog{Source: l.Source, SHA256: l.SHA256})
	}
	return out
}

func newAggregation(a *verifier.Aggregation) *aggregation {
	if a == nil {
		return nil
	}
	out := &aggregation{Salt: a.Salt, Index: a.Index, Size: a.Size, InclusionProof: []verifier.Hex{}}
	for _, h := range a.Proof {
		out.InclusionProof = append(out.InclusionProof, h)
	}
	return out
}

// parseAggregation returns nil if there is no object; then that was told.
func parseAggregation(o *strictjson.Object) *aggregation {
	if o == nil {
		return nil
	}
	a := &aggregation{
		Salt:  parseHex(o, "salt"),
		Index: uint32(o.Int("index", maxAggregate)), //nolint:gosec // at most that
		Size:  uint32(o.Int("size", maxAggregate)),  //nolint:gosec // at most that
	}
	for _, text := range o.Strings("inclusion_proof") {
		a.InclusionProof = append(a.InclusionProof, unhex(o, "inclusion_proof", text))
	}
	o.Done()
	return a
}

// evidence is the reverse of newAggregation.
func (a *aggregation) evidence() *verifier.Aggregation {
	if a == nil {
		return nil
	}
	out := &verifier.Aggregation{Salt: a.Salt, Index: a.Index, Size: a.Size}
	for _, h := range a.InclusionProof {
		out.Proof = append(out.Proof, h)
	}
	return out
}

// parseHex reads bytes, maybe none, of which verifier.Verify bounds the number.
func parseHex(o *strictjson.Object, key string) verifier.Hex {
	if !o.Has(key) {
		o.Problem(key, "missing, write hexadecimal digits")
	}
	return unhex(o, key, o.OptionalString(key))
}

func unhex(o *strictjson.Object, key, text string) verifier.Hex {
	b, err := hex.DecodeString(text)
	if err != nil {
		o.Problem(key, "is not hexadecimal")
	}
	return b
}
