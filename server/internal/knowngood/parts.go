package knowngood

import (
	"fmt"
	"slices"
	"time"

	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// partOf says to which part a PCR belongs, if nobody says otherwise. It follows who extends it (PC Client Platform Firmware Profile, 3.3.4; Intel TXT MLE Developer's Guide, 1.10; UAPI.7, Linux TPM PCR
// Registry).
func partOf(entry verifier.KnownPCR) trust.Part {
	slaunch := func(s verifier.Slot) bool { return s.Type == eventlog.TypeSlaunch }
	switch entry.PCR {
	case 0, 2, 3, 6, 7, 14: // firmware, its drivers, Secure Boot, the owner's keys
		return trust.Platform
	case 18: // who signed SINIT and the launch control policy; the kernel's command line, where Linux is launched directly
		if slices.ContainsFunc(entry.Events, slaunch) {
			return trust.Hypervisor
		}
		return trust.Platform
	case 1, 5, 10, 15, 16, 23: // serial numbers, disks, files in use, the machine's identity, what anybody extends
		return trust.HostSpecific
	default:
		return trust.Hypervisor
	}
}

// suffix ends the name of a part's set.
func suffix(p trust.Part) string {
	if p == trust.HostSpecific {
		return "-host"
	}
	return "-" + string(p)
}

// split makes a set of each part that has a PCR.
func split(known verifier.KnownGood, r Request, node *trust.Node, quotedAt time.Time) ([]trust.Set, []string, error) {
	for pcr, part := range r.Parts {
		if !slices.Contains(trust.Parts(), part) || !slices.ContainsFunc(known.PCRs, func(e verifier.KnownPCR) bool { return e.PCR == pcr }) {
			return nil, nil, invalidf("parts: PCR %d was not quoted, or %.32q is no part", pcr, string(part))
		}
	}
	var sets []trust.Set
	var notes []string
	for _, part := range trust.Parts() {
		set := trust.Set{
			Name: r.Prefix + suffix(part), Part: part, Pools: r.Pools,
			Source: fmt.Sprintf("captured from %s, quoted at %s", node.Name, quotedAt.UTC().Format(time.RFC3339)),
		}
		if part == trust.HostSpecific {
			set.Node = node.Name
		}
		for _, entry := range known.PCRs {
			own, moved := r.Parts[entry.PCR]
			if !moved {
				own = partOf(entry)
			}
			if own == part {
				set.KnownGood.PCRs = append(set.KnownGood.PCRs, entry)
				notes = append(notes, remarks(entry, part)...)
			}
		}
		if len(set.KnownGood.PCRs) > 0 {
			sets = append(sets, set)
		}
	}
	return sets, notes, nil
}

// remarks say what somebody who approves should know of an entry.
func remarks(entry verifier.KnownPCR, part trust.Part) []string {
	at := fmt.Sprintf("%s PCR %d", entry.Bank, entry.PCR)
	var notes []string
	if len(entry.Values) > 0 && !slices.ContainsFunc(entry.Values, notZero) {
		notes = append(notes, at+": nothing was measured into it; the set demands that it stays so")
	}
	if entry.PCR == 17 && part == trust.Hypervisor && len(entry.Events) > 0 {
		notes = append(notes, at+": holds the platform's events too (SINIT, its policy): a second kind of machine takes a second set, or a second digest in the slots in which it differs; "+
			"a command line that names a disk by its UUID makes the set fit one host only")
	}
	return notes
}

func notZero(value verifier.Hex) bool {
	return slices.ContainsFunc(value, func(b byte) bool { return b != 0 })
}
