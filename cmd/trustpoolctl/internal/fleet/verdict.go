package fleet

import (
	"strings"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// exitExplanations are for commands whose exit code is a verdict.
const exitExplanations = `Exit codes:
  0  trusted
  1  unknown, or the server did not answer
  2  wrong usage
  4  untrusted
Of several hosts the worst counts: 4 before 1 before 0.`

// verdictExit is the exit code of a verdict. What is none of the three words is not trusted.
func verdictExit(trust api.Trust) int {
	switch trust {
	case api.Trusted:
		return console.ExitOK
	case api.Untrusted:
		return console.ExitRefused
	default:
		return console.ExitFailed
	}
}

// paint is the colour of a verdict.
func paint(p *console.Page, trust api.Trust) func(string) string {
	switch trust {
	case api.Trusted:
		return p.Good
	case api.Untrusted:
		return p.Bad
	default:
		return p.Warn
	}
}

// shout is the verdict as the first word of a page.
func shout(p *console.Page, trust api.Trust) string {
	return paint(p, trust)(strings.ToUpper(console.Printable(string(trust))))
}

func trustCell(p *console.Page, trust api.Trust) console.Cell {
	return console.Cell{Text: string(trust), Paint: paint(p, trust)}
}

// advice says what an administrator may do about a reason; empty if there is nothing to be done, or the detail says it.
func advice(reason string) string {
	switch reason {
	case "unknown_host":
		return "If one should have it: trustpoolctl node set NODE --add-alias NAME."
	case "pcr_mismatch":
		return "If this is meant to run there, declare it known good: trustpoolctl knowngood --help. If not, somebody changed what the host boots."
	case "no_launch":
		return "It booted without a measured launch. Look at the boot loader and at trustpool-agent doctor on the node."
	case "unknown_ak":
		return "Another TPM answers, or its key was rotated or refused. If that is as it should be: trustpoolctl node reenroll."
	case "held":
		return "trustpoolctl node release has the old keys count again; trustpoolctl node reenroll takes new ones."
	case "not_enrolled":
		return "The server enrols it as soon as it reaches its agent and its endorsement key is what was said of it."
	case "unreachable", "no_quote":
		return "Look at trustpool-agent on the node, and at the way to its address."
	case "no_policy":
		return "trustpoolctl pool show tells what the pool demands; for each of these parts a set has to be in force."
	case "weak_binding":
		return "The pool takes only nodes whose keys are better bound: see its bindings in trustpoolctl pool show."
	case "simulated":
		return "The pool takes no simulated TPM. For trying things out: trustpoolctl pool put --allow-simulated-nodes."
	case "replayed":
		return "The answer was not made for this question: something sits between the server and the agent, or the agent lies."
	default:
		return ""
	}
}
