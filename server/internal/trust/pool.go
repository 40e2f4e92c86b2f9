package trust

import (
	"errors"
	"fmt"
	"slices"

	"github.com/trustpool/trustpool/verifier"
)

// Part is what a set of known-good values speaks of.
type Part string

// The parts of a launch.
const (
	// Platform: firmware, SINIT, launch control policy: what the machine's maker and owner put in.
	Platform Part = "platform"
	// Hypervisor: what is launched: the measured loader, hypervisor, kernel, initrd and their command lines.
	Hypervisor Part = "hypervisor"
	// HostSpecific: what differs from one host to the next. Such a set is for one node.
	HostSpecific Part = "host_specific"
)

// Parts returns the closed list.
func Parts() []Part { return []Part{Platform, Hypervisor, HostSpecific} }

// Match says how many of a part's sets have to hold.
type Match string

const (
	// AnyOf: one of the part's sets holds.
	AnyOf Match = "any_of"
	// AllOf: all of the part's sets hold; they speak of different PCRs.
	AllOf Match = "all_of"
)

// Requirement demands a part.
type Requirement struct {
	Part  Part  `json:"part"`
	Match Match `json:"match"`
}

// Pool is what nodes have to meet to be trusted together.
type Pool struct {
	Name        string
	Description string
	// Requires are the parts that have to be known good, all of them. A pool that requires nothing trusts nobody.
	Requires []Requirement
	// Bindings are the levels of enrolment that are taken. None: inventory and chain. first_use proves nothing about hardware and has to be named.
	Bindings []verifier.EKBinding
	// AllowSimulatedNodes takes nodes that say that their TPM is simulated. For trying things out.
	AllowSimulatedNodes bool
	// Revision counts the changes.
	Revision int64
}

// Takes tells whether a level of enrolment is enough.
func (p *Pool) Takes(b verifier.EKBinding) bool {
	if len(p.Bindings) == 0 {
		return b == verifier.BindingInventory || b == verifier.BindingChain
	}
	return slices.Contains(p.Bindings, b)
}

// Check tells all that is wrong with a pool, each on a line of its own. A pool without parts is not wrong: it trusts nobody yet.
func (p *Pool) Check() error {
	_, err := ParseWord(p.Name)
	errs := []error{err, checkText("description", p.Description)}
	for i, r := range p.Requires {
		if !slices.Contains(Parts(), r.Part) {
			errs = append(errs, fmt.Errorf("requires: part %.32q is none: write %s, %s or %s", string(r.Part), Platform, Hypervisor, HostSpecific))
		}
		if r.Match != AnyOf && r.Match != AllOf {
			errs = append(errs, fmt.Errorf("requires: match %.32q is none: write %s or %s", string(r.Match), AnyOf, AllOf))
		}
		if slices.ContainsFunc(p.Requires[:i], func(other Requirement) bool { return other.Part == r.Part }) {
			errs = append(errs, fmt.Errorf("requires: part %s is there twice, write it once", r.Part))
		}
	}
	for _, b := range p.Bindings {
		if b != verifier.BindingInventory && b != verifier.BindingChain && b != verifier.BindingFirstUse {
			errs = append(errs, fmt.Errorf("bindings: %.32q is none: write %s, %s or %s", string(b), verifier.BindingInventory, verifier.BindingChain, verifier.BindingFirstUse))
		}
	}
	return errors.Join(errs...)
}
