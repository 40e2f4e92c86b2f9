//go:build vm

package vmtest_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/verifier/client"
)

// packagesDir is where .ci/vm-test leaves the packages.
const packagesDir = "../../build/vmtest"

// page is what an operator goes by. The steps below type what it says, and no longer find it there if it says something else.
const page = "../../docs/install.md"

// typed returns a command of the page.
func typed(t *testing.T, line string) string {
	t.Helper()

	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}

	if !strings.Contains(string(text), "\n    "+line+"\n") {
		t.Fatalf("%s does not tell to type %q", page, line)
	}

	return line + "\n"
}

// install has the package and the TLS files put in place.
func install(ctx context.Context, t *testing.T, s *stage) {
	debs, err := filepath.Glob(filepath.Join(packagesDir, "trustpool-agent_*_amd64.deb"))
	if err != nil || len(debs) != 1 {
		t.Fatalf("%d packages like trustpool-agent_*_amd64.deb in %s, want one: run make vm-test (%v)", len(debs), packagesDir, err)
	}

	for _, path := range []string{debs[0], s.certificate("server.pem"), s.certificate("server-key.pem"), s.certificate("ca.pem")} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}

		if err := s.guest.put(ctx, "/root/"+filepath.Base(path), "root:root", "0600", content); err != nil {
			t.Fatal(err)
		}
	}

	t.Log(s.in(ctx, t, "cd /root; exec 2>&1\n"+
		typed(t, "apt install ./trustpool-agent_*_amd64.deb")+
		typed(t, "install -m 0640 -g trustpool-agent server.pem server-key.pem /etc/trustpool-agent/")+
		typed(t, "install -m 0640 -g trustpool-agent ca.pem /etc/trustpool-agent/client-ca.pem")))
}

// comeUp starts the service, for good, and asks it from outside.
func comeUp(ctx context.Context, t *testing.T, s *stage) {
	s.in(ctx, t, typed(t, "systemctl enable --now trustpool-agent"))
	s.quotes(ctx, t, time.Minute)
	t.Log(s.ctlTyped(ctx, t, s.work, "trustpoolctl quote --address node1.example:9443 --tls-dir pki"))

	if state := s.show(ctx, t, "ActiveState"); state != "active" {
		t.Errorf("the unit is %s", state)
	}

	// The firmware's log is root's alone: that the daemon has it shows that the snapshot was made before.
	said := s.in(ctx, t, "systemctl is-active trustpool-agent-collect; ls -l /run/trustpool-agent-collect; ps -o user=,group=,supgrp= -p $(systemctl show -P MainPID trustpool-agent)")
	t.Log(said)

	if !strings.Contains(said, "tss") {
		t.Error("the daemon is not in group tss")
	}
}

// moreRights is what the page has an operator write under clients.
const moreRights = "    roles: [quote, enroll, admin]"

// allow gives the caller more rights, with a reload.
func allow(ctx context.Context, t *testing.T, s *stage) {
	s.ctl(ctx, t, 1, "enroll", "--name", nodeName, "--ek-roots", s.ekRoots, "--out", "refused.json")

	typed(t, moreRights)
	s.in(ctx, t, "sed -i 's/^    roles: \\[quote\\]$/"+moreRights+"/' /etc/trustpool-agent/agent.yaml\n"+
		typed(t, "runuser -u trustpool-agent -- trustpool-agent check-config")+
		typed(t, "systemctl reload trustpool-agent"))

	until(ctx, t, time.Minute, "the right to enrol", func(ctx context.Context) error {
		nonce, err := client.NewNonce()
		if err != nil {
			return err
		}

		_, err = s.dial(t).Identity(ctx, nonce)

		return err
	})
}

// testYAML stands beside the page's configuration: a launch's log in a file, because no real launch leaves one here, and room for more quotes a second than there can be.
const testYAML = `
logs:
  files:
    - source: txt
      path: /etc/trustpool-agent/launch.log
`

// prepare makes the configuration that of this test.
func prepare(ctx context.Context, t *testing.T, s *stage) {
	if err := s.guest.put(ctx, "/etc/trustpool-agent/launch.log", "root:trustpool-agent", "0640", s.launchLog); err != nil {
		t.Fatal(err)
	}

	s.in(ctx, t, `cd /etc/trustpool-agent
		sed -i '/^logs:/d; s|^ *# rate: 100$|    rate: 1000000|; s|^ *# concurrent: 16$|    concurrent: 1000|; s|^ *# device: .*|  device: /dev/tpmrm0|' agent.yaml
		cat >>agent.yaml <<'END'`+testYAML+`END
		trustpool-agent check-config
		grep -c -e '^    rate: 1000000' -e '^    concurrent: 1000' -e '^  device: ' agent.yaml | grep -qx 3
		systemctl restart trustpool-agent`)
	s.quotes(ctx, t, time.Minute)
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
