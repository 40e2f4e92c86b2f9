package agent

import (
	"cmp"
	"fmt"
	"time"
)

// Outcome is what came of one check.
type Outcome string

// The outcomes. Only what has failed keeps the agent from its work, or callers from believing it.
const (
	OutcomeOK      Outcome = "ok"
	OutcomeWarning Outcome = "warning"
	OutcomeFailed  Outcome = "failed"
)

// Finding is what Examine has to say about one thing.
type Finding struct {
	// Check names the thing: tpm, banks, hierarchies, ek, ak, clock, launch, collect, log, state, port, unix, access, daemon; a program adds its own.
	Check   string  `json:"check"`
	Outcome Outcome `json:"outcome"`
	// Detail is what was found, and why it is so.
	Detail string `json:"detail"`
	// Advice is what to do; empty if there is nothing to do.
	Advice string `json:"advice,omitempty"`
}

func fine(check, format string, args ...any) Finding {
	return Finding{Check: check, Outcome: OutcomeOK, Detail: fmt.Sprintf(format, args...)}
}

func warned(check, advice, format string, args ...any) Finding {
	return Finding{check, OutcomeWarning, fmt.Sprintf(format, args...), advice}
}

func broken(check, advice, format string, args ...any) Finding {
	return Finding{check, OutcomeFailed, fmt.Sprintf(format, args...), advice}
}

// answerWithin is how long the doctor waits for the TPM. Nothing that it asks takes a TPM long, but others may be before it.
const answerWithin = 20 * time.Second

// Examine looks at a node for what keeps an agent with this config from being believed. It takes no lock, makes no key and changes nothing, so that it may be called while the agent
// runs. bootID is this boot's, empty: the kernel's own. The config is valid.
func Examine(config Config, bootID string) []Finding {
	e := &examination{config: config, options: config.Logs.options(cmp.Or(bootID, kernelBootID())), pid: lockedBy(config.StateDir)}

	findings := e.tpm()
	findings = append(findings, examineClock(time.Now()))
	findings = append(findings, e.logs()...)
	findings = append(findings, e.state()...)
	findings = append(findings, e.daemonFound())
	findings = append(findings, e.doors()...)
	findings = append(findings, e.access()...)

	return findings
}
