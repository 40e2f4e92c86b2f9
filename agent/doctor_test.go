package agent_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/tpmsim"
)

func TestTheDoctorFindsNothingWrongWithAHealthyNode(t *testing.T) {
	t.Parallel()

	p := newPatient(t, tpmsim.Options{})
	_, stop := p.agent(t)

	defer stop()

	findings := agent.Examine(p.config, thisBoot)

	for _, f := range findings {
		// The node was not enrolled, and nothing need keep the clock of a test machine right.
		if f.Outcome == agent.OutcomeFailed || f.Outcome == agent.OutcomeWarning && f.Check != "ak" && f.Check != "clock" && f.Check != "port" {
			t.Errorf("%s %s: %s", f.Outcome, f.Check, f.Detail)
		}
	}

	for check, text := range map[string]string{
		"tpm": "tpm.sock answers: IBM", "banks": "sha256", "ek": "certificate in nv 0x01c00002, issued by", "launch": "PCR 17 (sha256) was extended",
		"collect": "snapshot of this boot", "log txt": "events explain sha256:17,18", "daemon": "an agent runs, process",
		"access": "dns:server.example may quote, enroll", "state": "mode 0700", "hierarchies": "can be used",
	} {
		if !has(findings, check, agent.OutcomeOK, text) {
			t.Errorf("no ok %s with %q", check, text)
		}
	}

	if t.Failed() {
		t.Log(inLines(findings))
	}
}

func TestTheDoctorDisturbsNobody(t *testing.T) {
	t.Parallel()

	p := newPatient(t, tpmsim.Options{})
	p.remembers(t)

	before := objects(t, p.sim)
	record, err := os.ReadFile(filepath.Join(p.config.StateDir, "ak.json"))
	if err != nil {
		t.Fatal(err)
	}

	agent.Examine(p.config, thisBoot)

	if after := objects(t, p.sim); after != before {
		t.Errorf("objects and sessions in the TPM: %s before, %s after", before, after)
	}

	if again, err := os.ReadFile(filepath.Join(p.config.StateDir, "ak.json")); err != nil || string(again) != string(record) {
		t.Errorf("the record changed: %v", err)
	}
}

// objects lists what is loaded or persistent.
func objects(t *testing.T, device transport.TPM) string {
	t.Helper()

	var all []string

	for _, first := range []uint32{0x02000000, 0x03000000, 0x80000000, 0x81000000} {
		response, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 64}.Execute(device)
		if err != nil {
			t.Fatal(err)
		}

		handles, err := response.CapabilityData.Data.Handles()
		if err != nil {
			t.Fatal(err)
		}

		all = append(all, fmt.Sprintf("%x", handles.Handle))
	}

	return strings.Join(all, " ")
}

// sickness is what befell a node, and what the doctor has to say of it.
type sickness struct {
	options tpmsim.Options
	befalls func(*testing.T, *patient)
	check   string
	outcome agent.Outcome
	text    []string
}

func TestTheDoctorFindsWhatIsWrongWithTheTPM(t *testing.T) {
	t.Parallel()

	findsAll(t, map[string]sickness{
		"no device": {
			befalls: func(_ *testing.T, p *patient) { p.config.TPM.Device = filepath.Join(p.dir, "tpmrm0") },
			check:   "tpm", outcome: agent.OutcomeFailed, text: []string{"waiting for ", "no such file", "firmware setup"},
		},
		"another device": {
			befalls: func(t *testing.T, p *patient) {
				p.config.TPM.Device = filepath.Join(p.dir, "tpm")
				writeTo(t, filepath.Join(p.dir, "tpmrm1"), "")
			},
			check: "tpm", outcome: agent.OutcomeFailed, text: []string{"waiting for "},
		},
		"a file in the place of the device": {
			befalls: func(t *testing.T, p *patient) {
				p.config.TPM.Device = filepath.Join(p.dir, "tpmrm0")
				writeTo(t, p.config.TPM.Device, "")
			},
			check: "tpm", outcome: agent.OutcomeFailed, text: []string{"neither a character device nor a socket", "write /dev/tpmrm0 as tpm.device"},
		},
		"something that is no TPM": {
			befalls: func(t *testing.T, p *patient) { p.config.TPM.Device = babbler(t, "HTTP/1.1 400 Bad Request\r\n\r\n") },
			check:   "tpm", outcome: agent.OutcomeFailed, text: []string{"was opened, but", "is this a TPM 2.0?"},
		},
		"a TPM that says nothing": {
			befalls: func(t *testing.T, p *patient) { p.config.TPM.Device = babbler(t, "") },
			check:   "tpm", outcome: agent.OutcomeFailed, text: []string{"does not answer within 20s", "who else uses the TPM"},
		},
		"the endorsement hierarchy is off": {
			befalls: func(t *testing.T, p *patient) { must(t, p.sim.SetHierarchy(false)) },
			check:   "hierarchies", outcome: agent.OutcomeFailed, text: []string{"endorsement hierarchy is switched off", "firmware setup"},
		},
		"an endorsement authorisation value": {
			befalls: func(t *testing.T, p *patient) { must(t, p.sim.SetAuths(nil, []byte("e"))) },
			check:   "hierarchies", outcome: agent.OutcomeFailed, text: []string{"authorisation value", "tpm.endorsement_auth_file"},
		},
		"an owner authorisation value": {
			befalls: func(t *testing.T, p *patient) { must(t, p.sim.SetAuths([]byte("o"), nil)) },
			check:   "hierarchies", outcome: agent.OutcomeWarning, text: []string{"can't be kept in the TPM", "tpm.owner_auth_file"},
		},
		"no EK certificate": {
			options: tpmsim.Options{Endorsement: tpmsim.Endorsement{Certificates: tpmsim.NoCertificates}},
			check:   "ek", outcome: agent.OutcomeWarning, text: []string{"holds no EK certificate", "tpm.ek_certificate"},
		},
		"the EK certificate of another TPM": {
			options: tpmsim.Options{Endorsement: tpmsim.Endorsement{Certificates: tpmsim.WrongCertificates}},
			check:   "ek", outcome: agent.OutcomeWarning, text: []string{"is not of this TPM's EK"},
		},
		"an EK certificate file that is none": {
			befalls: func(t *testing.T, p *patient) {
				p.config.TPM.EKCertificate = filepath.Join(p.dir, "ek.pem")
				writeTo(t, p.config.TPM.EKCertificate, "certificate")
			},
			check: "ek", outcome: agent.OutcomeFailed, text: []string{"holds no certificate", "tpm.ek_certificate"},
		},
	})
}

func TestTheDoctorFindsWhatIsWrongWithTheKey(t *testing.T) {
	t.Parallel()

	findsAll(t, map[string]sickness{
		"never set up": {
			check: "ak", outcome: agent.OutcomeOK, text: []string{"none yet"},
		},
		"never enrolled": {
			befalls: func(t *testing.T, p *patient) { p.remembers(t) },
			check:   "ak", outcome: agent.OutcomeWarning, text: []string{"is at 0x81018100 and was never enrolled", "trustpoolctl enroll"},
		},
		"a damaged record": {
			befalls: func(t *testing.T, p *patient) { writeTo(t, filepath.Join(p.config.StateDir, "ak.json"), "{}") },
			check:   "ak", outcome: agent.OutcomeFailed, text: []string{"record of the AK not readable", "identity reprovision"},
		},
		"the TPM was cleared": {
			befalls: func(t *testing.T, p *patient) {
				p.remembers(t)
				must(t, p.sim.Clear(t.Context()))
			},
			check: "ak", outcome: agent.OutcomeWarning, text: []string{"is gone from 0x81018100", "cleared or replaced"},
		},
		"somebody else's key": {
			befalls: func(t *testing.T, p *patient) {
				p.remembers(t)
				must(t, p.sim.Occupy(0x81018100))
			},
			check: "ak", outcome: agent.OutcomeFailed, text: []string{"0x81018100 holds another object", "another tpm.ak.handle", "identity reprovision"},
		},
		"no room in NV": {
			befalls: func(t *testing.T, p *patient) {
				must(t, p.sim.FillNV())
				p.remembers(t)
			},
			check: "ak", outcome: agent.OutcomeWarning, text: []string{"could not be kept at 0x81018100", "make room in the TPM's NV memory"},
		},
		"an owner authorisation value that the agent does not have": {
			befalls: func(t *testing.T, p *patient) {
				must(t, p.sim.SetAuths([]byte("o"), nil))
				p.remembers(t)
			},
			check: "ak", outcome: agent.OutcomeWarning, text: []string{"could not be kept at 0x81018100", "as tpm.owner_auth_file, then start the agent again"},
		},
	})
}

func TestTheDoctorFindsWhatIsWrongWithTheLaunch(t *testing.T) {
	t.Parallel()

	findsAll(t, map[string]sickness{
		"no launch": {
			options: tpmsim.Options{Scenario: tpmsim.NoLaunch},
			check:   "launch", outcome: agent.OutcomeFailed, text: []string{"PCR 17 (sha256) is all FF", "the boot loader starts tboot or TrenchBoot"},
		},
		"a capped launch": {
			options: tpmsim.Options{Scenario: tpmsim.Capped},
			check:   "launch", outcome: agent.OutcomeFailed, text: []string{"was capped"},
		},
		"a log that was tampered with": {
			options: tpmsim.Options{Scenario: tpmsim.TamperedLog},
			check:   "log txt", outcome: agent.OutcomeFailed, text: []string{"which do not explain sha256:17", "trustpoolctl eventlog"},
		},
		"no log": {
			befalls: func(t *testing.T, p *patient) {
				must(t, os.Remove(filepath.Join(p.config.Logs.Root, "dev/mem")))
				writeTo(t, filepath.Join(p.config.Logs.Root, "dev/mem"), strings.Repeat("\xff", 1<<16))
				p.config.Logs.Collected = ""
			},
			check: "log", outcome: agent.OutcomeFailed, text: []string{"no log of it can be read"},
		},
		"a damaged log": {
			befalls: func(t *testing.T, p *patient) {
				path := filepath.Join(p.dir, "txt.log")
				writeTo(t, path, "this is no event log, but it is long enough to look like one to somebody who does not look well")
				p.config.Logs = agent.LogsConfig{Files: []agent.LogConfig{{Source: "txt", Path: path}}}
			},
			check: "log txt", outcome: agent.OutcomeFailed, text: []string{"can't be parsed"},
		},
		"no snapshot": {
			befalls: func(t *testing.T, p *patient) { must(t, os.RemoveAll(p.config.Logs.Collected)) },
			check:   "collect", outcome: agent.OutcomeWarning, text: []string{"no snapshot in", "trustpool-agent-collect"},
		},
		"the snapshot of another boot": {
			befalls: func(t *testing.T, p *patient) { p.collect(t, "11111111-2222-4333-8444-555555555555") },
			check:   "collect", outcome: agent.OutcomeWarning, text: []string{"snapshot of another boot"},
		},
	})
}

func TestTheDoctorFindsWhatIsWrongOnTheHost(t *testing.T) {
	t.Parallel()

	other := listen(t, "tcp", "127.0.0.1:0")
	t.Cleanup(func() { _ = other.Close() })

	findsAll(t, map[string]sickness{
		"no state folder": {
			befalls: func(t *testing.T, p *patient) { must(t, os.RemoveAll(p.config.StateDir)) },
			check:   "state", outcome: agent.OutcomeFailed, text: []string{"no such file", "install -d -m 0700"},
		},
		"a file for a state folder": {
			befalls: func(t *testing.T, p *patient) {
				must(t, os.RemoveAll(p.config.StateDir))
				writeTo(t, p.config.StateDir, "")
			},
			check: "state", outcome: agent.OutcomeFailed, text: []string{"is no folder"},
		},
		"a state folder for everybody": {
			befalls: func(t *testing.T, p *patient) { must(t, os.Chmod(p.config.StateDir, 0o777)) },
			check:   "state", outcome: agent.OutcomeWarning, text: []string{"others may write into it", "chmod 0700"},
		},
		"nothing is remembered": {
			befalls: func(_ *testing.T, p *patient) { p.config.StateDir = "" },
			check:   "state", outcome: agent.OutcomeWarning, text: []string{"no state_dir"},
		},
		"no agent": {
			check: "daemon", outcome: agent.OutcomeWarning, text: []string{"no agent runs", "systemctl enable --now"},
		},
		"a port in use": {
			befalls: func(_ *testing.T, p *patient) { p.config.Listen.Address = other.Addr().String() },
			check:   "port", outcome: agent.OutcomeFailed, text: []string{"is in use by process", "choose another listen.address"},
		},
		"a port in use on all addresses": {
			befalls: func(_ *testing.T, p *patient) {
				_, port, _ := net.SplitHostPort(other.Addr().String())
				p.config.Admin.Address = ":" + port
			},
			check: "port", outcome: agent.OutcomeFailed, text: []string{"is in use by process", "choose another admin.address"},
		},
		"somebody else's address": {
			befalls: func(_ *testing.T, p *patient) { p.config.Listen.Address = "192.0.2.1:9443" },
			check:   "port", outcome: agent.OutcomeFailed, text: []string{"cannot assign requested address", "write an address of this machine"},
		},
		"a file in the place of the socket": {
			befalls: func(t *testing.T, p *patient) {
				p.config.Listen.Unix = filepath.Join(p.dir, "agent.sock")
				writeTo(t, p.config.Listen.Unix, "")
			},
			check: "unix", outcome: agent.OutcomeFailed, text: []string{"is there and no socket"},
		},
		"nobody may call": {
			befalls: func(_ *testing.T, p *patient) { p.config.Listen.Address = "" },
			check:   "port", outcome: agent.OutcomeFailed, text: []string{"nobody can call"},
		},
		"nobody may quote": {
			befalls: func(_ *testing.T, p *patient) { p.config.Clients[0].Roles = []agent.Role{agent.RoleEnroll} },
			check:   "access", outcome: agent.OutcomeFailed, text: []string{"no caller by TLS may ask for quotes"},
		},
		"nobody may enrol": {
			befalls: func(_ *testing.T, p *patient) { p.config.Clients[0].Roles = []agent.Role{agent.RoleQuote} },
			check:   "access", outcome: agent.OutcomeWarning, text: []string{"may enrol this node"},
		},
	})
}

// findsAll lets each sickness befall a node of its own.
func findsAll(t *testing.T, sicknesses map[string]sickness) {
	t.Helper()

	for name, s := range sicknesses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			p := newPatient(t, s.options)
			if s.befalls != nil {
				s.befalls(t, p)
			}

			findings := agent.Examine(p.config, thisBoot)

			for _, text := range s.text {
				if !has(findings, s.check, s.outcome, text) {
					t.Errorf("no %s %s with %q:\n%s", s.outcome, s.check, text, inLines(findings))
				}
			}
		})
	}
}

func TestTheDoctorAsksARunningAgent(t *testing.T) {
	t.Parallel()

	p := newPatient(t, tpmsim.Options{})
	must(t, p.sim.SetHierarchy(false))

	listener := listen(t, "tcp", "127.0.0.1:0")
	p.config.Admin.Address = listener.Addr().String()

	node, stop := p.agent(t)
	defer stop()

	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, node.Ready().Error(), http.StatusServiceUnavailable)
	})}

	go func() { _ = server.Serve(listener) }()

	defer server.Close()

	findings := agent.Examine(p.config, thisBoot)
	if !has(findings, "daemon", agent.OutcomeFailed, "but can't quote: HIERARCHY_DISABLED") || !has(findings, "port", agent.OutcomeOK, "admin.address: the agent listens on") {
		t.Error(inLines(findings))
	}
}

func TestTheDoctorSaysWhoMayOpenTheTPM(t *testing.T) {
	t.Parallel()

	p := newPatient(t, tpmsim.Options{})
	must(t, os.Chmod(p.config.TPM.Device, 0o600))
	must(t, os.Chmod(p.config.StateDir, 0o500))

	// Root passes over modes; who is not root owns the socket.
	if os.Geteuid() != 0 {
		must(t, os.Chmod(p.config.TPM.Device, 0))
	}

	var findings []agent.Finding

	withoutRights(t, p.dir, func() { findings = agent.Examine(p.config, thisBoot) })

	if !has(findings, "tpm", agent.OutcomeFailed, "may not be opened: it belongs to ") || !has(findings, "tpm", agent.OutcomeFailed, "udev rule") {
		t.Error(inLines(findings))
	}

	must(t, os.Chmod(p.config.TPM.Device, 0o060))
	withoutRights(t, p.dir, func() { findings = agent.Examine(p.config, thisBoot) })

	if os.Geteuid() == 0 && !has(findings, "tpm", agent.OutcomeFailed, "usermod --append --groups root") {
		t.Error(inLines(findings))
	}
}
