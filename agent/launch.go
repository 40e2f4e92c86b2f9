package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/logs"
	"github.com/trustpool/trustpool/agent/internal/tpm"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// launch is what the agent can tell of the measured launch.
type launch struct {
	status agentv1.LaunchStatus
	detail string
}

// readLaunch reads PCR 17 (TCG PC Client Platform TPM Profile, 4.6.2: FF until a dynamic launch resets it to zeros and extends it). Where there was no launch, the TXT registers
// may say why; where there was one, the log may say that it ended badly. Neither is signed.
func readLaunch(banks []tpm.Bank, host logs.Host, snapshots []logs.Snapshot) launch {
	for _, bank := range banks {
		i := slices.Index(bank.Selection.PCRs(), 17)
		if i < 0 {
			continue
		}

		name := tpm.BankName(bank.Selection.Bank)

		switch value := bank.Values[i]; {
		case isAll(value, 0xFF):
			return notLaunched(name, host)
		case isAll(value, 0x00):
			return launch{
				agentv1.LaunchStatus_LAUNCH_STATUS_ANOMALOUS,
				fmt.Sprintf("PCR 17 (%s) is all zeros, which no launch leaves behind: treat the host as not launched", name),
			}
		case isCapped(snapshots, bank.Selection.Bank):
			return launch{
				agentv1.LaunchStatus_LAUNCH_STATUS_CAPPED,
				fmt.Sprintf("the log says that PCR 17 (%s) was capped: it tells nothing of what was launched; reboot the host", name),
			}
		default:
			return launch{
				agentv1.LaunchStatus_LAUNCH_STATUS_LAUNCHED,
				fmt.Sprintf("PCR 17 (%s) was extended since a dynamic launch: whether by what should be there, a verifier has to say", name),
			}
		}
	}

	return launch{detail: "PCR 17 was not asked for"}
}

// notLaunched looks for the reason in the TXT registers.
func notLaunched(bank string, host logs.Host) launch {
	none := fmt.Sprintf("PCR 17 (%s) is all FF: no measured launch since power-on", bank)

	switch registers := host.Registers; {
	case host.NoRegisters:
		return launch{agentv1.LaunchStatus_LAUNCH_STATUS_NOT_CAPABLE, none + "; this host has no TXT registers: enable TXT in its firmware setup, if it can"}
	case registers == nil && host.RegistersDetail != "":
		return launch{agentv1.LaunchStatus_LAUNCH_STATUS_NOT_LAUNCHED, none + "; why, is not known: " + host.RegistersDetail}
	case registers == nil:
		return launch{agentv1.LaunchStatus_LAUNCH_STATUS_NOT_LAUNCHED, none}
	case registers.Failed():
		return launch{agentv1.LaunchStatus_LAUNCH_STATUS_FAILED, none + "; the TXT registers tell of an error: " + strings.Join(registers.Words(), "; ")}
	default:
		return launch{agentv1.LaunchStatus_LAUNCH_STATUS_NOT_LAUNCHED, none + "; boot the host through tboot or Secure Launch"}
	}
}

// isCapped looks for a cap of PCR 17 (TXT MLE Developer's Guide, appendix E: EVTYPE_CAP_VALUE) in the logs. Their bytes are in memory up to 64 KiB; a TXT log
// has a few.
func isCapped(snapshots []logs.Snapshot, bank tpm2.TPMAlgID) bool {
	for _, snapshot := range snapshots {
		if snapshot.State != logs.Available || !strings.HasPrefix(snapshot.Source, "txt") && snapshot.Source != "slaunch" {
			continue
		}

		log, err := eventlog.Parse(snapshot.Raw)
		if err != nil {
			continue
		}

		for i := range log.Events {
			event := &log.Events[i]
			if _, inBank := event.Digest(eventlog.Alg(bank)); inBank && event.PCR == 17 && event.Type == eventlog.TypeCapValue {
				return true
			}
		}
	}

	return false
}

func isAll(value []byte, b byte) bool {
	return !slices.ContainsFunc(value, func(v byte) bool { return v != b })
}

// registerHints returns the TXT registers as hints; nil if they are not known.
func registerHints(host logs.Host) *agentv1.TxtRegisters {
	r := host.Registers
	if r == nil {
		return nil
	}

	return &agentv1.TxtRegisters{
		Sts: r.STS, Ests: r.ESTS, Errorcode: r.ErrorCode, E2Sts: r.E2STS, Didvid: r.DIDVID, Words: strings.Join(r.Words(), "\n"),
	}
}
