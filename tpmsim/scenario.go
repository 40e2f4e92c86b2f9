package tpmsim

import (
	"fmt"
	"slices"
	"strings"
)

// Scenario names what a simulated node boots, and what befalls its TPM before
// anybody else can use it. The zero value means Trusted.
type Scenario string

// The scenarios. Except where one says otherwise, what is launched is what
// Trusted launches.
const (
	// Trusted is a measured launch of the expected hypervisor.
	Trusted Scenario = "trusted"
	// OtherHypervisor is the same launch with another hypervisor image as
	// tboot's module 0: one event of PCR 17 differs and nothing else.
	OtherHypervisor Scenario = "other-hypervisor"
	// OtherKernel is the same launch with another kernel image as tboot's module
	// 1: one event of PCR 17 differs and nothing else.
	OtherKernel Scenario = "other-kernel"
	// NoLaunch is a boot without a measured launch: PCRs 17 to 22 keep the value
	// of all ones that they have after a reset, and there is no log.
	NoLaunch Scenario = "no-launch"
	// Capped is a launch at whose end PCRs 17 and 18 are extended with a cap,
	// after which nobody is to rely on them. The log tells of it.
	Capped Scenario = "capped"
	// TamperedLog is a launch whose log was changed afterwards: one digest of PCR
	// 17 is another in every bank, so that the log does not replay.
	TamperedLog Scenario = "tampered-log"
	// Cleared is a boot in which the firmware clears the TPM, as Node.Clear does.
	Cleared Scenario = "cleared"
	// Replaced is a boot with another TPM than before, a new one. On new state
	// there is no before, and it is as Trusted.
	Replaced Scenario = "replaced"
	// HierarchyOff is a boot in which the firmware disables the endorsement
	// hierarchy, as Node.SetHierarchy does.
	HierarchyOff Scenario = "hierarchy-off"
	// SecLHost is a host on which Intel SecL's trust agent took ownership: a
	// signing key that is not ours is at SecLHandle, and the owner and endorsement
	// hierarchies have SecLOwnerAuth and SecLEndorsementAuth. They stay over a
	// boot into another scenario.
	SecLHost Scenario = "secl-host"
)

// Scenarios returns all scenarios, Trusted first.
func Scenarios() []Scenario {
	return []Scenario{
		Trusted, OtherHypervisor, OtherKernel, NoLaunch, Capped, TamperedLog,
		Cleared, Replaced, HierarchyOff, SecLHost,
	}
}

// ParseScenario returns the scenario of that name, or an error that lists the
// names. The empty string is an error.
func ParseScenario(s string) (Scenario, error) {
	if slices.Contains(Scenarios(), Scenario(s)) {
		return Scenario(s), nil
	}

	names := make([]string, 0, len(Scenarios()))
	for _, known := range Scenarios() {
		names = append(names, string(known))
	}
	return "", fmt.Errorf("unknown scenario %q: use one of %s", s, strings.Join(names, ", "))
}

// plan is what happens at a boot.
type plan struct {
	// replace puts a new TPM into the machine.
	replace bool
	// prepare is what firmware and an earlier owner did to the TPM before the
	// launch; nil if nothing.
	prepare func(admin) error
	// launch is nil if nothing is measured.
	launch *launch
	// tamper changes the log, not the launch.
	tamper bool
}

// plan returns what happens at a boot into the scenario.
func (s Scenario) plan(loader Loader) (plan, error) {
	launch, err := loader.launch(s.system())
	if err != nil {
		return plan{}, err
	}

	switch s {
	case "", Trusted, OtherHypervisor, OtherKernel:
		return plan{launch: launch}, nil
	case NoLaunch:
		return plan{}, nil
	case Capped:
		launch.addCap()
		return plan{launch: launch}, nil
	case TamperedLog:
		return plan{launch: launch, tamper: true}, nil
	case Cleared:
		return plan{launch: launch, prepare: admin.clear}, nil
	case Replaced:
		return plan{launch: launch, replace: true}, nil
	case HierarchyOff:
		return plan{launch: launch, prepare: admin.disableEndorsement}, nil
	case SecLHost:
		return plan{launch: launch, prepare: admin.installSecL}, nil
	default:
		_, err := ParseScenario(string(s))
		return plan{}, err
	}
}

// system returns what is booted.
func (s Scenario) system() system {
	switch s {
	case OtherHypervisor:
		return system{otherHypervisorModule(), kernelModule()}
	case OtherKernel:
		return system{hypervisorModule(), otherKernelModule()}
	default:
		return expectedSystem()
	}
}
