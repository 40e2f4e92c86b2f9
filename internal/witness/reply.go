package witness

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// reply is what came back, and what it answers.
type reply struct {
	request  *agentv1.QuoteRequest
	evidence verifier.Evidence
	akName   []byte
	logs     []*agentv1.LogReference
}

// take takes a reply apart. It is written by the contract alone, and shares nothing with verifier/client.
func take(request *agentv1.QuoteRequest, response *agentv1.QuoteResponse, server *peer.Peer) (*reply, error) {
	r := &reply{
		request: request,
		evidence: verifier.Evidence{
			Quoted: response.GetQuoted(), Signature: response.GetQuoteSignature(), AKPublic: response.GetAkPublic(), Nonce: request.GetNonce(),
		},
		akName: response.GetAkName(),
		logs:   response.GetLogs(),
	}

	for _, bank := range response.GetPcrBanks() {
		b := verifier.PCRBank{Alg: eventlog.Alg(bank.GetHashAlgo())} //nolint:gosec // a number that is none of a bank is refused later
		for _, value := range bank.GetPcrValues() {
			b.Values = append(b.Values, verifier.PCRValue{Index: int(value.GetPcrIndex()), Value: value.GetValue()})
		}

		r.evidence.PCRs = append(r.evidence.PCRs, b)
	}

	for _, log := range r.logs {
		if content := log.GetContent(); len(content) > 0 {
			r.evidence.Logs = append(r.evidence.Logs, verifier.Log{Source: log.GetSource(), Raw: content})
		}
	}

	if a := response.GetAggregation(); a != nil {
		r.evidence.Aggregation = &verifier.Aggregation{Salt: a.GetSalt(), Index: a.GetIndex(), Size: a.GetSize(), Proof: a.GetInclusionProof()}
	}

	if request.GetBindMode() == agentv1.BindMode_BIND_MODE_RAW {
		return r, nil
	}

	var err error
	r.evidence.Binding, err = binding(r.logs, server)

	return r, err
}

// binding takes the channel binding from our own end of the connection (RFC 9266).
func binding(logs []*agentv1.LogReference, server *peer.Peer) (*verifier.Binding, error) {
	info, ok := server.AuthInfo.(credentials.TLSInfo)
	if !ok || info.State.Version != tls.VersionTLS13 {
		return nil, errors.New("a bound quote came over a connection that nothing can be bound to")
	}

	exporter, err := info.State.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil, fmt.Errorf("taking the channel binding: %w", err)
	}

	b := &verifier.Binding{Exporter: exporter}
	for _, log := range logs {
		b.Logs = append(b.Logs, verifier.BoundLog{Source: log.GetSource(), SHA256: log.GetSha256()})
	}

	return b, nil
}

// demanded are the checks that each reply has to pass, whatever the node booted. What it measured, and whether its log explains that, is for a policy to judge.
func demanded() []verifier.CheckName {
	return []verifier.CheckName{
		verifier.CheckPolicy, verifier.CheckQuotedStructure, verifier.CheckSignatureStructure, verifier.CheckAKStructure, verifier.CheckMagic, verifier.CheckType,
		verifier.CheckAKPinned, verifier.CheckAKAttributes, verifier.CheckAKAlgorithm, verifier.CheckSignature, verifier.CheckQualifiedSigner, verifier.CheckNonce,
		verifier.CheckPCRValues, verifier.CheckPCRDigest, verifier.CheckFreshness,
	}
}

// Hold holds evidence to what any has to pass, whatever the node booted: a policy that says what that should be may refuse it still.
func Hold(evidence verifier.Evidence, policy verifier.Policy) (*verifier.Result, error) {
	result := verifier.Verify(evidence, policy)

	for _, name := range demanded() {
		if check := result.Check(name); check.Outcome != verifier.Passed {
			return nil, fmt.Errorf("%s %s: %s (expected %x, got %x)", name, check.Outcome, check.Detail, check.Expected, check.Got)
		}
	}

	return &result, nil
}

// hold tells what of the reply does not fit the truth; nil if all does.
func (r *reply) hold(truth Truth) error {
	policy := verifier.Policy{Nonce: r.request.GetNonce(), BindMode: verifier.BindBound, KnownGood: verifier.KnownGood{AKs: truth.AKs}}
	if r.request.GetBindMode() == agentv1.BindMode_BIND_MODE_RAW {
		policy.BindMode = verifier.BindRaw
	}

	policy.ForbidAggregation = !r.request.GetAcceptAggregation()

	result, err := Hold(r.evidence, policy)
	if err != nil {
		return err
	}

	if want := r.request.GetAkName(); !bytes.Equal(result.AKName, r.akName) || len(want) > 0 && !bytes.Equal(want, r.akName) {
		return fmt.Errorf("it names the key %x, %x signed, and %x was asked for", r.akName, []byte(result.AKName), want)
	}

	if err := r.selected(); err != nil {
		return err
	}

	if err := r.pcrs(truth.PCRs); err != nil {
		return err
	}

	return r.eventLogs(truth.Logs)
}

// selected wants the PCRs that were asked for and no other: those that are there are the signed ones.
func (r *reply) selected() error {
	want := make(map[PCR]bool)

	for _, selection := range r.request.GetPcrSelections() {
		for _, index := range selection.GetPcrIndices() {
			want[PCR{eventlog.Alg(selection.GetHashAlgo()), int(index)}] = true //nolint:gosec // what is no bank has no answer
		}
	}

	if len(want) == 0 {
		want = map[PCR]bool{{eventlog.AlgSHA256, 17}: true, {eventlog.AlgSHA256, 18}: true, {eventlog.AlgSHA256, 19}: true}
	}

	got := make(map[PCR]bool)
	for pcr := range r.values() {
		got[pcr] = true
	}

	if !maps.Equal(got, want) {
		return fmt.Errorf("asked for PCRs %v, it has %v", slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(got)))
	}

	return nil
}

// values gives all PCRs of the reply.
func (r *reply) values() map[PCR][]byte {
	all := make(map[PCR][]byte)

	for _, bank := range r.evidence.PCRs {
		for _, value := range bank.Values {
			all[PCR{bank.Alg, value.Index}] = value.Value
		}
	}

	return all
}

func (r *reply) pcrs(truth map[PCR][]byte) error {
	for pcr, value := range r.values() {
		if want, known := truth[pcr]; known && !bytes.Equal(value, want) {
			return fmt.Errorf("PCR %d of %v is %x, it says %x", pcr.Index, pcr.Bank, want, value)
		}
	}

	return nil
}

// eventLogs wants each log's bytes to be those of its digest and size, and to be the true ones where those are known.
func (r *reply) eventLogs(truth map[string][]byte) error {
	for _, log := range r.logs {
		content, source := log.GetContent(), log.GetSource()
		if digest := sha256.Sum256(content); len(content) > 0 && (!bytes.Equal(digest[:], log.GetSha256()) || uint64(len(content)) != log.GetSize()) {
			return fmt.Errorf("log %s has %d bytes and SHA-256 %x, it says %d and %x", source, len(content), digest, log.GetSize(), log.GetSha256())
		}

		want, known := truth[source]
		if !known || log.GetState() != agentv1.LogState_LOG_STATE_AVAILABLE {
			continue
		}

		if digest := sha256.Sum256(want); len(want) == 0 || !bytes.Equal(digest[:], log.GetSha256()) {
			return fmt.Errorf("log %s has %d bytes and SHA-256 %x, it says %d and %x", source, len(want), digest, log.GetSize(), log.GetSha256())
		}
	}

	return nil
}
