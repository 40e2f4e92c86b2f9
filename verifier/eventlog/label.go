package eventlog

import "fmt"

// Labels says for each of Events what was measured, as a hint for people: "tboot module 0 (kernel)". It goes by type and position, which no digest
// binds, so no policy may.
//
// tboot logs its measurements without a word: its policy into PCR 17 and 18 first, then the modules in the order in which
// the boot loader loaded them (tboot, common/policy.c).
func (l *Log) Labels() []string {
	labels := make([]string, len(l.Events))
	policies, modules := map[uint32]bool{}, 0
	for i := range l.Events {
		e := &l.Events[i]
		switch {
		case e.Type != TypeTbootMeasurement:
			labels[i] = e.label()
		case (e.PCR == 17 || e.PCR == 18) && !policies[e.PCR] && modules == 0:
			policies[e.PCR] = true
			labels[i] = "tboot policy"
		case e.PCR >= 17 && e.PCR <= 19:
			labels[i] = moduleLabel(modules)
			modules++
		default:
			labels[i] = "measured by tboot"
		}
	}

	return labels
}

// label says what an event is about whose type or data tells.
func (e *Event) label() string {
	switch e.Type {
	case TypeHashStart:
		return "SINIT ACM"
	case TypeMLEHash:
		return "MLE (tboot or kernel)"
	case TypeSlaunch, TypeIPL:
		if s, ok := text(e.Data); ok {
			return s
		}
	}
	if s := e.Type.meaning(); s != "" {
		return s
	}

	return e.Type.String()
}

// moduleLabel names tboot's n-th module after what usually is there.
func moduleLabel(n int) string {
	switch n {
	case 0:
		return "tboot module 0 (kernel or hypervisor)"
	case 1:
		return "tboot module 1 (initrd, or a hypervisor's kernel)"
	default:
		return fmt.Sprintf("tboot module %d", n)
	}
}
