//go:build vm

package vmtest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// packagesDir is where .ci/vm-test leaves the packages.
const packagesDir = "../../build/vmtest"

// agentYAML is the configuration of docs/install.md, and besides a launch's log in a file, because no real launch leaves one here, and room for many quotes a second.
const agentYAML = `
tpm:
  device: %s
listen:
  address: ":9443"
  unix: /run/trustpool-agent/agent.sock
tls:
  certificate: /etc/trustpool-agent/server.pem
  key: /etc/trustpool-agent/server-key.pem
  client_ca: /etc/trustpool-agent/client-ca.pem
clients:
  - san: ["dns:verifier.example"]
    roles: [quote, enroll, admin]
    rate: 100000
    concurrent: 1000
logs:
  files:
    - source: txt
      path: /etc/trustpool-agent/launch.log
`

// install does what docs/install.md has an operator do at the node.
func install(ctx context.Context, t *testing.T, s *stage) {
	debs, err := filepath.Glob(filepath.Join(packagesDir, "trustpool-agent_*_amd64.deb"))
	if err != nil || len(debs) != 1 {
		t.Fatalf("%d packages like trustpool-agent_*_amd64.deb in %s, want one: run make vm-test (%v)", len(debs), packagesDir, err)
	}

	deb, err := os.ReadFile(debs[0])
	if err != nil {
		t.Fatal(err)
	}

	name := filepath.Base(debs[0])
	if err := s.guest.put(ctx, "/root/"+name, "root:root", "0644", deb); err != nil {
		t.Fatal(err)
	}

	t.Log(s.in(ctx, t, "cd /root && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet ./"+name+" 2>&1"))

	for path, content := range map[string][]byte{
		"server.pem": s.server.CertPEM, "server-key.pem": s.server.KeyPEM, "client-ca.pem": s.caPEM,
		"launch.log": s.launchLog, "agent.yaml": fmt.Appendf(nil, agentYAML, "/dev/tpmrm0"),
	} {
		if err := s.guest.put(ctx, "/etc/trustpool-agent/"+path, "root:trustpool-agent", "0640", content); err != nil {
			t.Fatal(err)
		}
	}

	t.Log(s.in(ctx, t, "runuser -u trustpool-agent -- trustpool-agent check-config"))
}

// comeUp starts the service, for good.
func comeUp(ctx context.Context, t *testing.T, s *stage) {
	s.in(ctx, t, "systemctl enable --now trustpool-agent")
	s.quotes(ctx, t, time.Minute)

	if state := s.show(ctx, t, "ActiveState"); state != "active" {
		t.Errorf("the unit is %s", state)
	}

	// The firmware's log is root's alone: that the daemon has it shows that the snapshot was made before.
	said := s.in(ctx, t, "systemctl is-active trustpool-agent-collect; ls -l /run/trustpool-agent-collect; ps -o user=,group=,supgrp= -p $(systemctl show -P MainPID trustpool-agent)")
	t.Log(said)

	if !strings.Contains(said, "trustpool-agent") || !strings.Contains(said, "tss") {
		t.Error("the daemon is not trustpool-agent in group tss")
	}
}

// show returns a property of the unit.
func (s *stage) show(ctx context.Context, t *testing.T, property string) string {
	t.Helper()

	return s.in(ctx, t, "systemctl show --property="+property+" --value "+unit)
}

// restarts returns how often systemd has started the unit by itself.
func (s *stage) restarts(ctx context.Context, t *testing.T) string {
	t.Helper()

	return s.show(ctx, t, "NRestarts")
}
