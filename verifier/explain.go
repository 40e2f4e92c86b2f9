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
		return "trusted"
	case FreshnessNotChecked:
		return "authentic, freshness not checked"
	case CouldNotJudge:
		return "could not judge: " + r.reason()
	default:
		return "refused: " + r.reason()
	}
}

// Explain says it all in words, for people: the verdict, what differs, every check that did not pass, and what the logs say that nothing vouches for. Lines
// end with a newline, and the text is safe for a terminal.
func (r Result) Explain() string {
	var out strings.Builder
	fmt.Fprintln(&out, r.String())
	for _, d := range r.Differences {
		fmt.Fprintf(&out, "  %s\n", d)
	}
	if r.DifferencesOmitted > 0 {
		fmt.Fprintf(&out, "  and %d more differences\n", r.DifferencesOmitted)
	}

	var notRun []string
	for _, c := range r.Checks {
		switch c.Outcome {
		case Passed:
		case NotRun:
			notRun = append(notRun, string(c.Name))
		default:
			fmt.Fprintf(&out, "%s %s: %s\n", strings.ReplaceAll(c.Outcome.String(), "_", " "), c.Name, c.text())
		}
	}
	if len(notRun) > 0 {
		fmt.Fprintf(&out, "not run, because others failed: %s\n", strings.Join(notRun, ", "))
	}
	if r.EKBinding == BindingFirstUse {
		fmt.Fprintln(&out, "the key was pinned on first use: nothing shows in which TPM it is")
	}
	for _, line := range r.unverifiedLines() {
		fmt.Fprintf(&out, "nothing vouches for %s\n", line)
	}
	return out.String()
}

// text is the detail with the bytes behind it.
func (c *Check) text() string {
	text := c.Detail
	if len(c.Expected) > 0 && c.Name != CheckMeasurements && !strings.Contains(text, c.Expected.String()) {
		text += fmt.Sprintf(": expected %s, got %s", c.Expected, c.Got)
	}
	return text
}

// reason is that of the first check that failed.
func (r *Result) reason() string {
	i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Outcome != Passed && c.Outcome != NotAsked && c.Outcome != NotRun })
	if i < 0 {
		return "nothing was checked"
	}
	return r.Checks[i].Detail
}

// unverifiedLines groups the list by log and kind: "log txt: 18 digests of sha1 (events 1 to 18)".
func (r *Result) unverifiedLines() []string {
	type group struct {
		log, field string
	}
	var order []group
	events := make(map[group][]int)
	for _, u := range r.Unverified {
		g := group{u.Log, string(u.Field)}
		if u.Bank != "" {
			g.field = u.Bank + " " + g.field
		}
		if _, known := events[g]; !known {
			order = append(order, g)
		}
		events[g] = append(events[g], u.Event)
	}

	lines := make([]string, 0, len(order)+1)
	for _, g := range order {
		line := "the " + g.field + " of log " + g.log
		if g.field == string(FieldLog) {
			line = "log " + g.log
		} else if g.field != string(FieldHeader) {
			line = fmt.Sprintf("log %s: %s of %d events, first event %d", g.log, g.field, len(events[g]), events[g][0])
		}
		lines = append(lines, line)
	}
	if r.UnverifiedOmitted > 0 {
		lines = append(lines, fmt.Sprintf("%d parts of logs more", r.UnverifiedOmitted))
	}
	return lines
}

// addDifferences takes over as many as a Result lists.
func (r *Result) addDifferences(all []Difference) {
	shown := min(len(all), maxDifferences)
	r.Differences, r.DifferencesOmitted = all[:shown:shown], len(all)-shown
}
