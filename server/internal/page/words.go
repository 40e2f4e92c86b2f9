package page

import (
	"fmt"
	"html/template"
	"regexp"
	"strings"
	"time"

	"github.com/trustpool/trustpool/server/internal/store"
	"github.com/trustpool/trustpool/server/internal/trust"
	"github.com/trustpool/trustpool/verifier"
)

// funcs are those that templates call.
func (l *look) funcs() template.FuncMap {
	hex := regexp.MustCompile(`[0-9a-f]{24,}`)
	return template.FuncMap{
		"file":     func(name string) string { return l.byName[name] },
		"words":    reasonWords,
		"advice":   advice,
		"kind":     alarmWords,
		"ago":      ago,
		"stamp":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" },
		"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"clock":    func(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" },
		"short":    func(text string) []piece { return pieces(hex, text) },
		"join":     strings.Join,
		"contains": strings.Contains,
		"plural":   plural,
		"number":   number,
		"args":     func(values ...any) []any { return values },

		"manywords":  manyWords,
		"difference": differenceWords,
		"outcome":    outcomeWords,
		"more":       func(all int, shown []store.Troubled) int { return all - len(shown) },
		"slot":       func(i int) int { return i + 1 },
		"pagesize":   func() int { return pageSize },
		"levels":     func() []string { return []string{"trusted", "untrusted", "unknown"} },
		"states":     func() []string { return []string{"pending", "active", "held", "decommissioned"} },
		"setstates":  setStates,
	}
}

// piece is part of a text: Whole is what a long digest is in full where Text is cut.
type piece struct{ Text, Whole string }

// pieces cuts digests: their first and last digits tell them apart at a glance.
func pieces(hex *regexp.Regexp, text string) []piece {
	var all []piece
	for {
		at := hex.FindStringIndex(text)
		if at == nil {
			return append(all, piece{Text: text})
		}
		digest := text[at[0]:at[1]]
		all = append(all, piece{Text: text[:at[0]]}, piece{Text: digest[:8] + "…" + digest[len(digest)-4:], Whole: digest})
		text = text[at[1]:]
	}
}

// ago says how long before now a time is, or how long after.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	if d < 0 {
		return "in " + span(-d)
	}
	if d < time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// number groups digits: 100,000.
func number(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// plural counts: 1 node, 2 nodes.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + one + "s"
}

// reasonWords says a reason as the end of a sentence that begins with the node.
func reasonWords(reason trust.Reason) string {
	switch reason {
	case trust.OK:
		return "meets all demands of its pool"
	case trust.UnknownHost:
		return "is the name of no node"
	case trust.NoQuote:
		return "has not given a quote"
	case trust.Stale:
		return "has not been heard of since the last verdict ended"
	case trust.Unreachable:
		return "can't be reached"
	case trust.NotEnrolled:
		return "is not enrolled"
	case trust.OnHold:
		return "is on hold until an administrator decides"
	case trust.PolicyChanged:
		return "waits for the next quote, since the rules changed"
	case trust.NoPolicy:
		return "is in a pool for which nothing is known good"
	case trust.WeakBinding:
		return "has a key that is bound too weakly for its pool"
	case trust.Simulated:
		return "says that its TPM is simulated"
	case trust.UnknownAK:
		return "signed with a key that is not enrolled for it"
	case trust.QuoteInvalid:
		return "sent a quote or logs that are not valid"
	case trust.Replayed:
		return "answered another question than the one it was asked"
	case trust.PCRMissing:
		return "left out a PCR that has to be judged"
	case trust.NoLaunch:
		return "booted without a measured launch"
	case trust.PCRMismatch:
		return "booted something that is not known good"
	default:
		return string(reason)
	}
}

// manyWords says a reason as the end of a sentence that begins with several nodes.
func manyWords(reason trust.Reason) string {
	words := reasonWords(reason)
	for one, many := range map[string]string{
		"is on": "are on", "is not": "are not", "is in": "are in", "is the name": "are names", "has ": "have ", "can't": "can't", "waits": "wait", "says that its": "say that their",
		"meets": "meet", "signed": "signed", "sent": "sent", "answered": "answered", "left": "left", "booted": "booted",
	} {
		if rest, ok := strings.CutPrefix(words, one); ok {
			return many + rest
		}
	}
	return words
}

// differenceWords says in which way a measurement differs.
func differenceWords(d verifier.Difference) string {
	switch d.Kind {
	case verifier.Changed:
		return "Something else was measured here."
	case verifier.Missing:
		return "Nothing was measured here."
	case verifier.Extra:
		return "Something more was measured."
	default:
		return "The register holds another value."
	}
}

func outcomeWords(o verifier.Outcome) string {
	switch o {
	case verifier.Passed:
		return "passed"
	case verifier.NotRun:
		return "not run"
	case verifier.NotAsked:
		return "not asked"
	case verifier.LeftToIssuer:
		return "left to the issuer"
	default:
		return "failed"
	}
}

// step is something to do: a sentence, and a command that goes with it.
type step struct{ Text, Command string }

// advice says what an administrator may do about a node.
func advice(reason trust.Reason, node, pool string) []step {
	switch reason {
	case trust.PCRMismatch:
		return []step{
			{"If nobody meant it to boot this, find out who changed the host, and keep guests away from it:", "trustpoolctl node hold " + node + ` --reason "being looked at"`},
			{"If it is meant to run there, learn drafts from it:", "trustpoolctl knowngood capture " + node + " --prefix NAME"},
			{"Compare the drafts' digests with those of whoever made the software, since a node that was broken into gives its own. Then an administrator approves each draft that differs from what is known good:", "trustpoolctl knowngood approve DRAFT"},
		}
	case trust.NoLaunch:
		return []step{{"On " + node + ", look at the boot loader, and have the agent look at all it needs:", "trustpool-agent doctor"}}
	case trust.UnknownAK:
		return []step{{"Another TPM answers, or its key was rotated or refused. If that is as it should be:", "trustpoolctl node reenroll " + node}}
	case trust.OnHold:
		return []step{
			{"Have the keys count again that were enrolled before:", "trustpoolctl node release " + node},
			{"Or take new ones:", "trustpoolctl node reenroll " + node},
		}
	case trust.NotEnrolled:
		return []step{{"The server enrols it as soon as it reaches its agent and finds the endorsement key that was named. What failed last:", "trustpoolctl node show " + node}}
	case trust.Unreachable, trust.NoQuote, trust.Stale:
		return []step{{"On " + node + ", look at the agent; from here, at the way to its address:", "systemctl status trustpool-agent"}, {"Have it asked now:", "trustpoolctl node attest " + node + " --wait"}}
	case trust.NoPolicy, trust.WeakBinding, trust.Simulated:
		return []step{{"What the pool demands:", "trustpoolctl pool show " + pool}}
	case trust.Replayed, trust.QuoteInvalid, trust.PCRMissing:
		return []step{{"Something sits between the server and the agent, or the agent does not tell the truth. Its evidence:", "trustpoolctl node evidence " + node + " bad --out evidence"}}
	default:
		return nil
	}
}

func alarmWords(kind string) string {
	switch kind {
	case store.AlarmNameTaken:
		return "A name was claimed that belongs to another node"
	case store.AlarmKeyChanged:
		return "A key signed that is not enrolled"
	case store.AlarmKeyShared:
		return "Two nodes have one TPM"
	default:
		return kind
	}
}
