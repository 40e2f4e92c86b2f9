package agent

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/trustpool/trustpool/agent/internal/logs"
	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// logs examines the launch, and what there is to explain it.
func (e *examination) logs() []Finding {
	store := logs.New(e.options)
	snapshots := store.Snapshots()
	launched := readLaunch(e.banks, store.Host(), snapshots)

	findings := []Finding{e.collected(), launchFound(launched, len(e.banks) > 0)}

	wasLaunched := launched.status == agentv1.LaunchStatus_LAUNCH_STATUS_LAUNCHED
	isThere := slices.ContainsFunc(snapshots, func(s logs.Snapshot) bool { return isOfLaunch(s.Source) && s.State == logs.Available })

	if wasLaunched && !isThere {
		findings = append(findings, broken("log", "see below for each log; tboot's is found by trustpool-agent collect, as root",
			"there was a measured launch, but no log of it can be read: no verifier can explain it"))
	}

	for _, snapshot := range snapshots {
		findings = append(findings, e.log(store, snapshot, wasLaunched && !isThere))
	}

	return findings
}

// collected tells of the snapshot for an agent that is not root.
func (e *examination) collected() Finding {
	if e.config.Logs.Collected == "" || e.config.Logs.Root == "" {
		return fine("collect", "the config asks for no snapshot")
	}

	manifest, err := logs.Collected(e.options)
	if err != nil {
		return warned("collect", "systemctl start trustpool-agent-collect, or as root: trustpool-agent collect", "%v; an agent that is not root finds no log of a launch", err)
	}

	return fine("collect", "snapshot of this boot, made %s", manifest.CollectedAt.Format("2006-01-02 15:04:05 MST"))
}

// launchFound tells what a quote would say of the launch.
func launchFound(l launch, known bool) Finding {
	if !known {
		return broken("launch", "see tpm", "what was launched is not known without the TPM")
	}

	switch l.status {
	case agentv1.LaunchStatus_LAUNCH_STATUS_LAUNCHED:
		return fine("launch", "%s", l.detail)
	case agentv1.LaunchStatus_LAUNCH_STATUS_UNSPECIFIED:
		return broken("launch", "", "%s", l.detail)
	case agentv1.LaunchStatus_LAUNCH_STATUS_NOT_CAPABLE:
		return broken("launch", "enable TXT, VT-x and VT-d in the firmware setup, if the machine can: without a measured launch no verifier trusts it", "%s", l.detail)
	case agentv1.LaunchStatus_LAUNCH_STATUS_FAILED:
		return broken("launch", "look up the error code in tboot's or TrenchBoot's documentation, and see that the SINIT module fits the processor", "%s", l.detail)
	default:
		return broken("launch", "see that the boot loader starts tboot or TrenchBoot: without a measured launch no verifier trusts this node", "%s", l.detail)
	}
}

// isOfLaunch says whether a source has the log of a measured launch.
func isOfLaunch(source string) bool {
	return source == "slaunch" || source == "txt" || strings.HasPrefix(source, "txt-")
}

// log examines one log. An absent one is no matter where another one explains the launch.
func (e *examination) log(store *logs.Store, snapshot logs.Snapshot, needed bool) Finding {
	name := "log " + snapshot.Source

	switch snapshot.State {
	case logs.Available:
		return e.replayed(name, store, snapshot)
	case logs.Absent:
		if needed && isOfLaunch(snapshot.Source) {
			return warned(name, "", "absent: %s", snapshot.Detail)
		}

		return fine(name, "absent: %s", snapshot.Detail)
	case logs.NotPermitted:
		return broken(name, "let trustpool-agent collect snapshot it as root at boot", "it can't be read: %s", snapshot.Detail)
	case logs.Empty:
		return warned(name, "", "empty: %s", snapshot.Detail)
	default:
		return broken(name, "if this stays after a reboot, please report it with the log", "it can't be parsed: %s", snapshot.Detail)
	}
}

// replayed compares what the log says with what the PCRs hold.
func (e *examination) replayed(name string, store *logs.Store, snapshot logs.Snapshot) Finding {
	raw, err := allOf(store, snapshot)
	if err != nil {
		return broken(name, "", "%v", err)
	}

	log, err := eventlog.Parse(raw)
	if err != nil {
		return broken(name, "", "%v", err)
	}

	if len(e.banks) == 0 {
		return warned(name, "see tpm", "%d events; without the TPM it is not known whether they are true", len(log.Events))
	}

	var good, bad []string

	for _, bank := range e.banks {
		replay := log.Replay(eventlog.Alg(bank.Selection.Bank))
		right, wrong := tpm.Selection{Bank: bank.Selection.Bank}, tpm.Selection{Bank: bank.Selection.Bank}

		for i, pcr := range bank.Selection.PCRs() {
			switch value, err := replay.Value(pcr); {
			case replay.PCRs[pcr].Events == 0:
			case err == nil && bytes.Equal(value, bank.Values[i]):
				right.Add(pcr)
			case err == nil:
				wrong.Add(pcr)
			}
		}

		if len(right.PCRs()) > 0 {
			good = append(good, right.String())
		}

		if len(wrong.PCRs()) > 0 {
			bad = append(bad, wrong.String())
		}
	}

	switch {
	case len(bad) > 0:
		return broken(name, "if the log is of this boot, somebody changed it or extended the PCRs outside it; trustpoolctl eventlog shows the events",
			"%d events, which do not explain %s", len(log.Events), strings.Join(bad, "+"))
	case len(good) == 0:
		return warned(name, "", "%d events, of which none explains a PCR of an active bank", len(log.Events))
	default:
		return fine(name, "%d events explain %s", len(log.Events), strings.Join(good, "+"))
	}
}

// allOf returns the bytes of a log, which are in memory if they are few.
func allOf(store *logs.Store, snapshot logs.Snapshot) ([]byte, error) {
	if snapshot.Raw != nil {
		return snapshot.Raw, nil
	}

	log, found := store.Open(snapshot.SHA256)
	if !found {
		return nil, fmt.Errorf("it changed while it was read")
	}
	defer func() { _ = log.Close() }() // read only: nothing to lose

	return io.ReadAll(io.NewSectionReader(log, 0, log.Size()))
}
