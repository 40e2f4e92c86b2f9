package tpmsim

import (
	"fmt"
	"slices"
	"strings"
)

// Scenario names what a simulated node boots. The zero value means Trusted.
type Scenario string

// The scenarios.
const (
	// Trusted is a measured launch of the expected hypervisor.
	Trusted Scenario = "trusted"
	// OtherHypervisor is the same launch with another hypervisor image as
	// tboot's module 0: one event of PCR 17 differs and nothing else.
	OtherHypervisor Scenario = "other-hypervisor"
	// NoLaunch is a boot without a measured launch: PCRs 17 to 22 keep the value
	// of all ones that they have after a reset, and there is no log.
	NoLaunch Scenario = "no-launch"
)

// Scenarios returns all scenarios, Trusted first.
func Scenarios() []Scenario {
	return []Scenario{Trusted, OtherHypervisor, NoLaunch}
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

// launch returns what the scenario measures, nil if it measures nothing.
func (s Scenario) launch() (*launch, error) {
	switch s {
	case "", Trusted:
		return tbootLaunch(hypervisorModule()), nil
	case OtherHypervisor:
		return tbootLaunch(otherHypervisorModule()), nil
	case NoLaunch:
		return nil, nil
	default:
		_, err := ParseScenario(string(s))
		return nil, err
	}
}
