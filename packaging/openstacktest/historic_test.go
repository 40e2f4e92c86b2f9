//go:build openstack && historic

package openstacktest_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// historicConfig is nova.conf as it was for TrustedFilter.
const historicConfig = `[trusted_computing]
attestation_server = 127.0.0.1
attestation_port = PORT
attestation_server_ca_file = DIR/sim/pki/ca.pem
attestation_auth_blob = TOKEN
`

// TestHistoricFilter runs Nova's own TrustedFilter, unchanged, against a real server. TRUSTPOOL_TRUSTED_FILTER names its file, nova/scheduler/filters/trusted_filter.py of Nova 16.0.0, which is no
// part of this project; therefore the build tag "historic" too:
//
//	TRUSTPOOL_TRUSTED_FILTER=.../trusted_filter.py go test -tags openstack,historic -run TestHistoricFilter -v ./packaging/openstacktest
func TestHistoricFilter(t *testing.T) {
	path := os.Getenv("TRUSTPOOL_TRUSTED_FILTER")
	if path == "" {
		t.Fatal("TRUSTPOOL_TRUSTED_FILTER does not name trusted_filter.py of Nova 16.0.0: take it from that release")
	}
	s := startSite(t, 3, 1)
	token, err := os.ReadFile(s.path("reader"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(s.address, ":")
	config := strings.NewReplacer("DIR", s.dir, "PORT", port, "TOKEN", strings.TrimSpace(string(token))).Replace(historicConfig)
	s.trustFirst(t)
	eventually(t, siteLimit, func() bool {
		_, err := s.try("trustpoolctl", "host", "status", "node1", "node2")

		return err == nil
	}, func() string { return s.ctl(t, "node", "list") })

	known, unknown := `["node1.sim.example", "node2.sim.example", "node3"]`, `[]`
	filter := func(t *testing.T, known, config string) *asker {
		t.Helper()

		return startAskerOf(t, config, []string{"KNOWN=" + known}, "historic_ask.py", path)
	}
	check := func(t *testing.T, a *asker, posts int, want ...string) {
		t.Helper()

		got := a.ask(t, byKey)
		t.Logf("passed %v after %d POSTs and %.0f ms", got.Passed, got.Posts, 1000*got.Seconds)
		if !slices.Equal(got.Passed, want) || got.Posts != posts {
			t.Errorf("passed %v after %d POSTs, want %v after %d", got.Passed, got.Posts, want, posts)
		}
	}

	t.Run("one POST for all hosts, then none for a minute", func(t *testing.T) {
		a := filter(t, known, config)
		check(t, a, 1, host1, host2)
		check(t, a, 0, host1, host2)
	})
	t.Run("a scheduler that knows no hosts at first", func(t *testing.T) {
		a := filter(t, unknown, config)
		check(t, a, 3, host1, host2)
		check(t, a, 0, host1, host2)
	})
	t.Run("the later path", func(t *testing.T) {
		check(t, filter(t, known, config+"attestation_api_url = /AttestationService/resources\n"), 1, host1, host2)
	})
	t.Run("a wrong blob", func(t *testing.T) {
		check(t, filter(t, known, strings.Replace(config, "auth_blob = ", "auth_blob = x", 1)), 3)
	})
	t.Run("a CA that did not sign", func(t *testing.T) {
		check(t, filter(t, known, strings.Replace(config, "attestation_server_ca_file", "#", 1)), 3)
	})
	t.Run("TLS that is not to be checked is checked", func(t *testing.T) {
		check(t, filter(t, known, config+"attestation_insecure_ssl = true\n"), 3)
	})
	t.Run("a verdict that turns, and a server that is gone", func(t *testing.T) {
		a := filter(t, known, config+"attestation_auth_timeout = 0\n")
		if got := a.ask(t, byKey).Passed; !slices.Equal(got, []string{host1, host2}) {
			t.Errorf("at first: %v", got)
		}
		s.reboot(t, "node1", otherHypervisor)
		eventually(t, siteLimit, func() bool { return slices.Equal(a.ask(t, byKey).Passed, []string{host2}) }, func() string { return s.ctl(t, "node", "list") })
		s.server.end(os.Interrupt)
		if got := a.ask(t, byKey).Passed; len(got) > 0 {
			t.Errorf("without a server: %v", got)
		}
	})
}
