package verifier

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// MinNonceSize is the least number of bytes of a nonce that makes evidence fresh: a shorter one may be met twice.
const MinNonceSize = 16

// Policy is what the caller demands of evidence.
type Policy struct {
	// Nonce is the caller's own nonce: the fresh random bytes that it asked with, at least MinNonceSize of them. nil: freshness is not checked, and the
	// evidence is never trusted. An empty slice that is not nil is a nonce that is too short.
	Nonce []byte
	// BindMode is how the nonce has to be bound to the quote. It must be set whether or not there is a Nonce.
	BindMode BindMode
	// ForbidAggregation refuses quotes that were signed together with those of other callers. Otherwise mode bound takes either kind, since both prove the same (see
	// Aggregation, which has the argument): who dials decides by asking for it, and nothing has to be set in two places.
	ForbidAggregation bool
	// KnownGood holds the attestation keys and the measurements to be trusted. An empty one trusts nothing.
	KnownGood KnownGood
	// Node is the record of the node that the evidence has to be of, as Enroll made it. If set, its AKs may sign, and those of KnownGood may not.
	Node *NodeRecord
	// RefusedAKs are the Names of AKs that are trusted no more, whoever pins them. If there are any, an AK whose Name neither a pin nor the quote itself shows is refused.
	RefusedAKs []Hex
	// Selection is what has to be signed, bank by bank in this order: no PCR less and no PCR more. None: SHA-256, PCR 17, 18 and 19.
	Selection []Selection
	// AllowMorePCRs takes quotes that sign more than Selection, in any order of banks: for evidence that somebody else asked for. Every PCR of Selection is
	// judged as ever, the others are not: their values only have to be the signed ones.
	AllowMorePCRs bool
	// AKIssuers are CAs, one of which has to have issued the AK's certificate, which has to be valid at the time At. Without pinned AKs in KnownGood any AK
	// with such a certificate is taken; with them, the AK has to be pinned too. nil: certificates are not looked at. Such a CA must issue nothing but AK certificates: one of it for
	// a key in software would make an AK of that. Whether an AK's certificate was revoked is not looked at: RefusedAKs is for that.
	AKIssuers *x509.CertPool
	At        time.Time
	// AKAttributesByIssuer weakens two checks: an AK that is known by its certificate or its key alone, of which nothing shows that it is restricted and
	// fixed to its TPM, and an AK that is no primary key of the endorsement hierarchy, are taken on the word of whoever issued or pinned them.
	AKAttributesByIssuer bool
}

// pins returns the AKs that may sign.
func (p *Policy) pins() []AKPin {
	if p.Node != nil {
		return p.Node.Pins()
	}
	return p.KnownGood.AKs
}

// Selection names PCRs of one bank.
type Selection struct {
	// Alg is the bank's hash.
	Alg eventlog.Alg
	// PCRs are 0 to 23, each at most once, in any order.
	PCRs []int
}

// DefaultSelection is what a measured launch extends: PCR 17, 18 and 19 of the SHA-256 bank.
func DefaultSelection() []Selection {
	return []Selection{{Alg: eventlog.AlgSHA256, PCRs: []int{17, 18, 19}}}
}

// BindMode says what a quote's extraData has to be.
type BindMode uint8

const (
	// BindUnspecified is not usable: the modes prove different things, so the caller has to choose.
	BindUnspecified BindMode = iota
	// BindRaw demands the nonce itself, byte for byte. It does not prove over which connection the quote was asked for.
	BindRaw
	// BindBound demands a digest over nonce, TLS connection, AK and logs (see Binding). It proves that an honest agent on the machine of this AK saw this
	// connection; whoever may use that machine's TPM can sign any value.
	BindBound
)

// String gives the mode's name.
func (m BindMode) String() string {
	switch m {
	case BindUnspecified:
		return "unspecified"
	case BindRaw:
		return "raw"
	case BindBound:
		return "bound"
	default:
		return fmt.Sprintf("BindMode(%d)", uint8(m))
	}
}

// selection returns the selection in force with each bank's PCRs in rising order.
func (p *Policy) selection() ([]Selection, error) {
	asked := p.Selection
	if len(asked) == 0 {
		asked = DefaultSelection()
	}

	var all []Selection
	for _, s := range asked {
		sorted, err := s.sorted()
		if err != nil {
			return nil, fmt.Errorf("policy's selection: %w", err)
		}
		if slices.ContainsFunc(all, func(other Selection) bool { return other.Alg == s.Alg }) {
			return nil, fmt.Errorf("policy's selection: names bank %s twice", s.Alg)
		}
		all = append(all, sorted)
	}
	return all, nil
}

// sorted returns s with its PCRs in rising order, or an error if it names none, one twice or one that no TPM has.
func (s Selection) sorted() (Selection, error) {
	if err := trustworthy(s.Alg); err != nil {
		return Selection{}, err
	}
	if len(s.PCRs) == 0 {
		return Selection{}, fmt.Errorf("bank %s: names no PCR", s.Alg)
	}

	indices := slices.Sorted(slices.Values(s.PCRs))
	if indices[0] < 0 || indices[len(indices)-1] >= numPCRs {
		return Selection{}, fmt.Errorf("bank %s: a PCR is not 0 to %d", s.Alg, numPCRs-1)
	}
	if len(slices.Compact(slices.Clone(indices))) != len(indices) {
		return Selection{}, fmt.Errorf("bank %s: names a PCR twice", s.Alg)
	}
	return Selection{Alg: s.Alg, PCRs: indices}, nil
}

// String gives "sha256:17,18,19".
func (s Selection) String() string {
	indices := make([]string, 0, len(s.PCRs))
	for _, p := range s.PCRs {
		indices = append(indices, strconv.Itoa(p))
	}
	return s.Alg.String() + ":" + strings.Join(indices, ",")
}

func equalSelections(a, b []Selection) bool {
	return slices.EqualFunc(a, b, func(x, y Selection) bool { return x.Alg == y.Alg && slices.Equal(x.PCRs, y.PCRs) })
}
