package agent

import (
	"crypto/x509"
	"strings"
	"testing"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

func TestPCRSetsAreReadStrictly(t *testing.T) {
	t.Parallel()

	for _, text := range []string{"17", "sha256", "sha256:", "sha256:24", "sha256:-1", "sha256:17,", "md5:1", "sha256:1+sha256:2", "sha256:17+", "sha256:1-3"} {
		if _, err := parsePCRSet(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}

	var none pcrSet
	if none.cover([]*agentv1.PcrSelection{{HashAlgo: agentv1.HashAlgo_HASH_ALGO_SHA256, PcrIndices: []int32{0}}}) {
		t.Error("the zero set has a PCR")
	}
}

func TestSeveralRulesGiveTheMostGenerousLimits(t *testing.T) {
	t.Parallel()

	r := newRules(Config{Clients: []ClientRule{
		{SAN: []string{"dns:a"}, Roles: []Role{RoleQuote}, Limits: Limits{Rate: 1, Burst: 50, Concurrent: 1}},
		{SAN: []string{"dns:a"}, Roles: []Role{RoleObserve}, Limits: Limits{Rate: 3, Burst: 2, Concurrent: 9}},
		{SAN: []string{"dns:b"}, Roles: []Role{RoleAdmin}, Limits: Limits{Rate: 1000}},
	}})

	caller := r.remote(&x509.Certificate{DNSNames: []string{"a"}})
	if got, want := caller.limits(), (limits{rate: 3, burst: 50, concurrent: 9}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}

	if !caller.Has(RoleQuote) || !caller.Has(RoleObserve) || caller.Has(RoleAdmin) || caller.Identity != "dns:a" {
		t.Errorf("got %+v", caller)
	}
}

func TestTheZeroLimitsLetNothingThrough(t *testing.T) {
	t.Parallel()

	var l limiters
	if _, err := l.enter("x", limits{}); err == nil {
		t.Error("a call got through")
	}
}

func TestIdentitiesWithNothingUnderWayAreForgotten(t *testing.T) {
	t.Parallel()

	var l limiters

	bounds := limits{rate: 1e6, burst: 1, concurrent: 1}

	if _, err := l.enter("kept", bounds); err != nil {
		t.Fatal(err)
	}

	for i := range 3 * maxIdentities {
		leave, err := l.enter("caller"+strings.Repeat("x", i%100)+string(rune('a'+i/100)), bounds)
		if err != nil {
			continue // the same one, too soon
		}

		leave()
	}

	if _, err := l.enter("kept", bounds); err == nil {
		t.Error("a call under way was forgotten")
	}

	if len(l.all) > maxIdentities+1 {
		t.Errorf("%d identities are remembered", len(l.all))
	}
}
