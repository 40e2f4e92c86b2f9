package verifier

import (
	"fmt"
	"slices"
	"strings"
)

// String says the verdict and its first reason in one line, such as "refused: no measured launch: PCR 17 is all FF (bank sha256)".
func (r Result) String() string {
	switch r.Verdict {
	case Trusted:
		if r.AKAttributesByIssuer {
			return "trusted, if the AK's issuer is right in that it is a TPM's"
		}
		return "trusted"
	case FreshnessNotChecked:
		return "authentic, freshness not checked"
	case CouldNotJudge:
		return "could not judge: " + r.reason()
	default:
		return "refused: " + r.reason()
	}
}

// Explain says it all in words, for people: the verdict, what differs, every other check that did not pass, and what the logs say that nothing vouches for.
// Each line ends with a newline, and the text is safe for a terminal.
func (r Result) Explain() string {
	var out strings.Builder
	fmt.Fprintln(&out, r.String())
	for _, d := range r.Differences[min(1, len(r.Differences)):] { // String has told the first
		fmt.Fprintf(&out, "  %s\n", d)
	}
	if r.DifferencesOmitted > 0 {
		fmt.Fprintf(&out, "  and %d more differences\n", r.DifferencesOmitted)
	}

	for _, line := range r.checkLines() {
		fmt.Fprintln(&out, line)
	}
	if r.EKBinding == BindingFirstUse {
		fmt.Fprintln(&out, "note: the key was pinned on first use: nothing shows in which TPM it is")
	}
	for _, line := range r.unverifiedLines() {
		fmt.Fprintf(&out, "nothing vouches for %s\n", line)
	}
	return out.String()
}

// checkLines tells of the checks that did not pass, beside the one that String tells of.
func (r *Result) checkLines() []string {
	var lines, notRun []string
	first := r.firstFailed()
	for i, c := range r.Checks {
		switch c.Outcome {
		case Passed, NotAsked:
		case LeftToIssuer:
			lines = append(lines, fmt.Sprintf("note: %s: %s", c.Name, c.Detail))
		case NotRun:
			notRun = append(notRun, string(c.Name))
		default:
			if text := c.text(); i != first || text != c.Detail && c.Name != CheckMeasurements {
				lines = append(lines, fmt.Sprintf("failed %s: %s", c.Name, text))
			}
		}
	}
	if len(notRun) > 0 {
		lines = append(lines, "not run, because others failed: "+strings.Join(notRun, ", "))
	}
	return lines
}

// text is the detail with the bytes behind it.
func (c *Check) text() string {
	text := c.Detail
	if len(c.Expected) > 0 && !strings.Contains(text, c.Expected.String()) {
		text += fmt.Sprintf(": expected %s, got %s", c.Expected, c.Got)
	}
	return text
}

// reason is that of the first check that failed.
func (r *Result) reason() string {
	i := r.firstFailed()
	if i < 0 {
		return "nothing was checked"
	}
	return r.Checks[i].Detail
}

func (r *Result) firstFailed() int {
	good := []Outcome{Passed, LeftToIssuer, NotAsked, NotRun}
	return slices.IndexFunc(r.Checks, func(c Check) bool { return !slices.Contains(good, c.Outcome) })
}

// unverifiedLines gives one line a log: "log txt: its header; the sha1 digests of 18 events".
func (r *Result) unverifiedLines() []string {
	var logs []string
	parts := make(map[string][]string)       // of a log, in order
	count := make(map[string]map[string]int) // log, part: how many
	for _, u := range r.Unverified {
		part := u.part()
		if count[u.Log] == nil {
			logs, count[u.Log] = append(logs, u.Log), make(map[string]int)
		}
		if count[u.Log][part] == 0 {
			parts[u.Log] = append(parts[u.Log], part)
		}
		count[u.Log][part]++
	}

	lines := make([]string, 0, len(logs)+1)
	for _, log := range logs {
		texts := make([]string, 0, len(parts[log]))
		for _, part := range parts[log] {
			switch n := count[log][part]; {
			case !strings.HasSuffix(part, " of"):
			case n == 1:
				part += " 1 event"
			default:
				part = fmt.Sprintf("%s %d events", part, n)
			}
			texts = append(texts, part)
		}
		lines = append(lines, "log "+log+": "+strings.Join(texts, "; "))
	}
	if r.UnverifiedOmitted > 0 {
		lines = append(lines, fmt.Sprintf("%d parts of logs more", r.UnverifiedOmitted))
	}
	return lines
}

// part names what u is, to be followed by a number of events if it ends in "of".
func (u *Unverified) part() string {
	switch u.Field {
	case FieldLog:
		return "all of it"
	case FieldHeader:
		return "its header"
	case FieldEvent:
		return "all of"
	case FieldDigest:
		return "the " + u.Bank + " digests of"
	default:
		return "the " + string(u.Field) + " of"
	}
}
