package agent

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trustpool/trustpool/agent/internal/logs"
	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

// TestTheDoctorHasALineFor is about what no test can make happen on the machine that it runs on.
func TestTheDoctorHasALineFor(t *testing.T) {
	t.Parallel()

	const key, address = "listen.address", "127.0.0.1:9443"

	launched := func(status agentv1.LaunchStatus) Finding {
		return launchFound(launch{status: status, detail: "as it is"}, true)
	}
	snapshot := func(state logs.State, needed bool) Finding {
		return new(examination).log(nil, logs.Snapshot{Source: "txt", State: state, Detail: "as it is"}, needed)
	}

	for name, test := range map[string]struct {
		got     Finding
		outcome Outcome
		text    string
	}{
		"a device that somebody else has":  {deviceFailed("/dev/tpm0", fmt.Errorf("x: %w", syscall.EBUSY)), OutcomeFailed, "/dev/tpm0 is in use by somebody else > name the resource manager"},
		"no SHA-256 bank":                  {banksFound([]tpm2.TPMAlgID{tpm2.TPMAlgSHA1}), OutcomeFailed, "active PCR banks: sha1 > activate the SHA-256 bank"},
		"the TPM without resource manager": {(&examination{config: onDevice("/dev/tpm0")}).deviceFound(&tpm.Properties{}), OutcomeWarning, "nobody else can use it meanwhile"},
		"little room":                      {spaceFound("/x", 16<<20-1)[0], OutcomeWarning, "/x has only 16383 KiB left > make room"},
		"no room":                          {spaceFound("/x", 64<<10-1)[0], OutcomeFailed, "/x has 65535 bytes left"},
		"no watchdog":                      {watched("it runs", "NOTIFY_SOCKET=/run/x\x00"), OutcomeWarning, "does not watch over it > write WatchdogSec="},
		"a watchdog":                       {watched("it runs", "NOTIFY_SOCKET=/run/x\x00WATCHDOG_USEC=30000000\x00"), OutcomeOK, "if it is silent for 30s"},
		"no systemd":                       {watched("it runs", "WATCHDOG_USEC=30000000\x00"), OutcomeOK, "not under systemd"},
		"a port of the agent's":            {held(key, address, []int{7, 8}, 8, true), OutcomeOK, "the agent listens on " + address},
		"a port of systemd's":              {held(key, address, []int{1}, 8, true), OutcomeOK, "systemd listens on"},
		"a port that may be the agent's":   {held(key, address, nil, 8, false), OutcomeOK, "only root can see"},
		"a port of nobody knows whom":      {held(key, address, nil, 0, true), OutcomeFailed, "in use by another process > find out who (ss -ltnp)"},
		"a launch that is not understood":  {launched(agentv1.LaunchStatus_LAUNCH_STATUS_UNSPECIFIED), OutcomeFailed, "as it is"},
		"a processor without TXT":          {launched(agentv1.LaunchStatus_LAUNCH_STATUS_NOT_CAPABLE), OutcomeFailed, "as it is > enable TXT"},
		"a launch that failed":             {launched(agentv1.LaunchStatus_LAUNCH_STATUS_FAILED), OutcomeFailed, "as it is > look up the error code"},
		"a launch that nobody knows":       {launchFound(launch{}, false), OutcomeFailed, "not known without the TPM > see tpm"},
		"a log that is missing":            {snapshot(logs.Absent, true), OutcomeWarning, "absent: as it is"},
		"a log that need not be there":     {snapshot(logs.Absent, false), OutcomeOK, "absent: as it is"},
		"a log that is empty":              {snapshot(logs.Empty, false), OutcomeWarning, "empty: as it is"},
		"a log for others":                 {snapshot(logs.NotPermitted, false), OutcomeFailed, "it can't be read: as it is > let trustpool-agent collect"},
		"a clock that is wrong":            {examineClock(time.Unix(0, 0)), OutcomeFailed, "it is 1970-01-01T00:00:00Z, but this program is from"},
		"a host that can't be an address":  {new(examination).port(key, "x"), OutcomeFailed, "listen.address: address x: missing port"},
		"a port that is none":              {new(examination).port(key, ":no-such-port"), OutcomeFailed, "listen.address: lookup tcp/no-such-port"},
		"a port that is not used":          {(&examination{pid: 8}).port(key, freePort(t)), OutcomeWarning, "though an agent runs > restart the agent"},
		"a socket that is missing":         {(&examination{pid: 8}).unixSocket("/no/such/agent.sock"), OutcomeWarning, "there is no /no/such/agent.sock, though an agent runs"},
	} {
		if said := test.got.Detail + " > " + test.got.Advice; test.got.Outcome != test.outcome || !strings.Contains(said, test.text) {
			t.Errorf("%s: %s: %s", name, test.got.Outcome, said)
		}
	}
}

func onDevice(path string) Config {
	config := DefaultConfig()
	config.TPM.Device = path

	return config
}

// freePort returns an address that nobody listens on: it has just been free, and is not given to others so soon.
func freePort(t *testing.T) string {
	t.Helper()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	return listener.Addr().String()
}

// ailing is a TPM that answers some commands with a code of ours.
type ailing struct {
	transport.TPM

	fails func(code tpm2.TPMCC, command []byte) bool
}

// Send implements transport.TPM.
func (a ailing) Send(command []byte) ([]byte, error) {
	if !a.fails(tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])), command) {
		return a.TPM.Send(command)
	}

	// TPM 2.0 Part 3, 4.3: TPM_ST_NO_SESSIONS, ten bytes, TPM_RC_FAILURE.
	response := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTNoSessions))
	response = binary.BigEndian.AppendUint32(response, 10)

	return binary.BigEndian.AppendUint32(response, uint32(tpm2.TPMRCFailure)), nil
}

func (ailing) Close() error { return nil }

func TestTheDoctorTellsWhatATPMDoesNotTell(t *testing.T) {
	t.Parallel()

	node := tpmsimtest.Start(t, tpmsim.Options{})

	for name, test := range map[string]struct {
		fails func(code tpm2.TPMCC, command []byte) bool
		check string
	}{
		// TPM 2.0 Part 3, 30.2: the property is the second word after the header.
		"its properties": {func(code tpm2.TPMCC, _ []byte) bool { return code == tpm2.TPMCCGetCapability }, "tpm"},
		"how it is set up": {func(code tpm2.TPMCC, command []byte) bool {
			return code == tpm2.TPMCCGetCapability && binary.BigEndian.Uint32(command[14:]) == uint32(tpm2.TPMPTPermanent)
		}, "hierarchies"},
		"its PCRs": {func(code tpm2.TPMCC, _ []byte) bool { return code == tpm2.TPMCCPCRRead }, "banks"},
		"its EK certificates": {func(code tpm2.TPMCC, _ []byte) bool {
			return code == tpm2.TPMCCNVReadPublic || code == tpm2.TPMCCNVRead
		}, "ek"},
	} {
		e := examination{config: onDevice("/dev/tpmrm0")}

		findings, banks := e.inspect(tpm.NewInspector(ailing{node, test.fails}, tpm.Auths{}))
		if len(banks) > 0 && test.check != "ek" {
			t.Errorf("%s: it knows PCRs nevertheless", name)
		}

		var said []string

		for _, f := range findings {
			if f.Check == test.check && f.Outcome != OutcomeOK {
				said = append(said, f.Detail)
			}
		}

		if !strings.Contains(strings.Join(said, "\n"), "TPM_RC_FAILURE") {
			t.Errorf("%s: %+v", name, findings)
		}
	}
}

func TestTheDoctorTellsIfTheKeysPlaceCantBeRead(t *testing.T) {
	t.Parallel()

	node := tpmsimtest.Start(t, tpmsim.Options{})
	config := onDevice("/dev/tpmrm0")
	config.StateDir, config.Logs = t.TempDir(), LogsConfig{}

	status := make(chan string, 100)

	a, err := New(config, Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), OnStatus: func(line string) { status <- line },
		OpenTPM: func() (transport.TPMCloser, error) {
			return ailing{node, func(tpm2.TPMCC, []byte) bool { return false }}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() { done <- a.Run(ctx) }()

	for !strings.HasPrefix(<-status, "ready to quote") {
	}

	stop()

	if err := <-done; err != nil {
		t.Fatal(err)
	}

	e := examination{config: config}
	failing := ailing{node, func(code tpm2.TPMCC, _ []byte) bool { return code == tpm2.TPMCCReadPublic }}

	f := e.ak(tpm.NewInspector(failing, tpm.Auths{}), tpm.Settings{})
	if f.Outcome != OutcomeFailed || !strings.HasPrefix(f.Detail, "AK 0, ") || !strings.Contains(f.Detail, "TPM_RC_FAILURE") {
		t.Errorf("%+v", f)
	}
}

func TestTheDoctorTellsOfALogThatExplainsNothing(t *testing.T) {
	t.Parallel()

	const name = "log txt"

	raw := tpmsimtest.Start(t, tpmsim.Options{}).EventLog()
	store := logs.New(logs.Options{})

	other := tpm.Selection{Bank: tpm2.TPMAlgSHA256}
	other.Add(23)

	e := examination{banks: []tpm.Bank{{Selection: other, Values: [][]byte{make([]byte, 32)}}}}

	for text, test := range map[string]struct {
		got     Finding
		outcome Outcome
	}{
		"of which none explains a PCR of an active bank":   {e.replayed(name, store, logs.Snapshot{Raw: raw}), OutcomeWarning},
		"without the TPM it is not known whether they are": {new(examination).replayed(name, store, logs.Snapshot{Raw: raw}), OutcomeWarning},
		"it changed while it was read":                     {e.replayed(name, store, logs.Snapshot{}), OutcomeFailed},
		"parsing":                                          {e.replayed(name, store, logs.Snapshot{Raw: []byte("no log, but long enough for somebody who does not look well")}), OutcomeFailed},
	} {
		if test.got.Check != name || test.got.Outcome != test.outcome || !strings.Contains(test.got.Detail, text) {
			t.Errorf("%s: %+v", text, test.got)
		}
	}
}

func TestTheDoctorTellsOfALockout(t *testing.T) {
	t.Parallel()

	e := examination{config: DefaultConfig()}

	findings := e.hierarchies(tpm.Settings{InLockout: true, StorageDisabled: true})
	if len(findings) != 2 || findings[0].Outcome != OutcomeWarning || !strings.Contains(findings[0].Detail, "owner hierarchy is switched off") ||
		findings[1].Outcome != OutcomeWarning || !strings.Contains(findings[1].Detail, "in lockout") {
		t.Errorf("%+v", findings)
	}
}

func TestTheDoctorNeedsToLookIntoTheFolders(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	// Whoever owns a folder without x may not look into it, and root may not be somebody else who may.
	closed := dir + "/closed"
	if err := os.MkdirAll(closed+"/state", 0o700); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(closed+"/state/ak.json", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}

	if err := os.Chmod(closed, 0); err != nil { // #nosec G302 -- a folder that is closed
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = os.Chmod(closed, 0o700) }) // #nosec G302 -- so that it can be removed

	config := DefaultConfig()
	config.StateDir, config.Listen.Unix = closed+"/state", closed+"/agent.sock"
	e := examination{config: config}

	var findings []Finding

	asNobody(t, dir, func() {
		findings = append(e.state(), e.unixSocket(config.Listen.Unix), e.ak(nil, tpm.Settings{}))
	})

	for i, want := range []struct {
		check   string
		outcome Outcome
	}{{"state", OutcomeFailed}, {"unix", OutcomeFailed}, {"ak", OutcomeWarning}} {
		if f := findings[i]; f.Check != want.check || f.Outcome != want.outcome || !strings.Contains(f.Advice, "run this as root or as the agent's user") {
			t.Errorf("%+v", f)
		}
	}
}

// asNobody does something as a user who owns nothing, if root runs the tests, and lets that user into the test's folder.
func asNobody(t *testing.T, dir string, do func()) {
	t.Helper()

	if os.Geteuid() != 0 {
		do()

		return
	}

	openUp(t, dir)

	if err := nobody().become(do); err != nil {
		t.Fatal(err)
	}
}

func nobody() account { return account{name: "nobody", uid: 65534, gid: 65534} }

// openUp lets everybody into a test's folder.
func openUp(t *testing.T, dir string) {
	t.Helper()

	for ; dir != os.TempDir() && dir != "/"; dir = dir[:strings.LastIndex(dir, "/")] {
		if err := os.Chmod(dir, fs.FileMode(0o755)); err != nil { // #nosec G302 -- of the test's own folders
			t.Fatal(err)
		}
	}
}
