package verifier

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/trustpool/trustpool/verifier/eventlog"
)

// parsedLog is one log of the evidence.
type parsedLog struct {
	source string // safe to print
	raw    []byte
	*eventlog.Log
}

// explained is a quoted PCR whose value the logs give.
type explained struct {
	quotedPCR
	log    *parsedLog        // see sourceOf
	events []*eventlog.Event // what was extended into it, in order; none for a start value
	places []int             // see place; nil until that is asked for
}

// checkLogs parses all logs, also those that no quoted PCR needs: one that does not parse may hold anything. A copy of a log is passed over: an agent may
// find one log in two places. What a bound quote binds is compared with all that came.
func (e *exam) checkLogs() error {
	if len(e.ev.Logs) > maxLogs {
		return fmt.Errorf("there are %d logs, more than %d", len(e.ev.Logs), maxLogs)
	}

	var (
		logs []parsedLog
		errs []error
	)
	for _, l := range e.ev.Logs {
		if slices.ContainsFunc(logs, func(other parsedLog) bool { return bytes.Equal(other.raw, l.Raw) }) {
			continue
		}
		source := safeText(l.Source)
		parsed, err := eventlog.Parse(l.Raw)
		if err != nil {
			errs = append(errs, fmt.Errorf("log %s: %w", source, err))
			continue
		}
		logs = append(logs, parsedLog{source: source, raw: l.Raw, Log: parsed})
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	e.logs = logs
	return nil
}

// checkReplay wants the logs to give every quoted value. A PCR without events passes only with the value that the launch left it, never because
// nothing speaks against it.
func (e *exam) checkReplay() error {
	replays := make(map[eventlog.Alg][]eventlog.Replay)
	var errs []error
	for _, v := range e.judged() {
		bank := v.pcr.bank
		if _, done := replays[bank]; !done {
			for i := range e.logs {
				replays[bank] = append(replays[bank], e.logs[i].Replay(bank))
			}
		}
		x, err := e.explain(v, replays[bank])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		e.explained = append(e.explained, x)
	}
	return errors.Join(errs...)
}

// explain replays one PCR. replays are those of e.logs in the PCR's bank.
func (e *exam) explain(v quotedPCR, replays []eventlog.Replay) (explained, error) {
	source, err := e.sourceOf(v.pcr, replays)
	if err != nil {
		return explained{}, err
	}
	value, err := replays[source].Value(v.pcr.index)
	if err != nil {
		return explained{}, fmt.Errorf("log %s: %w", e.logs[source].source, err)
	}
	events := replays[source].PCRs[v.pcr.index].Events
	if err := compare(value, v.value, "%s: log %s with %d events of it replays to %x, but %x is quoted",
		v.pcr, e.logs[source].source, events, value, v.value); err != nil {
		return explained{}, err
	}

	x := explained{quotedPCR: v, log: &e.logs[source], events: e.logs[source].eventsOf(v.pcr.index)}
	if err := x.checkCapped(); err != nil {
		return explained{}, err
	}
	return x, x.checkData()
}

// checkData refuses events whose data their digest should vouch for and does not: a replay would not notice it, but people read the data.
func (x *explained) checkData() error {
	for _, ev := range x.events {
		if ev.CheckData(x.pcr.bank) == eventlog.DataDiffers {
			digest, _ := ev.Digest(x.pcr.bank)
			return mismatch{
				detail: fmt.Sprintf("%s: log %s: event %d (%s): its data was changed, the digest is of other data",
					x.pcr, x.log.source, ev.Num, ev.Type),
				expected: digest,
				got:      ev.Data,
			}
		}
	}
	return nil
}

// sourceOf returns the index of the log that speaks of a PCR: the one that has events of it; else, for its start value, the one that holds the launch. Two
// logs with events of one PCR can't be put in order, so neither is taken.
func (e *exam) sourceOf(p pcr, replays []eventlog.Replay) (int, error) {
	holder, launch := -1, -1
	for i, r := range replays {
		if !slices.Contains(e.logs[i].Algs, p.bank) {
			continue
		}
		if r.Launched {
			launch = i
		}
		if r.PCRs[p.index].Events == 0 {
			continue
		}
		if holder >= 0 {
			return 0, fmt.Errorf("%s: the logs %s and %s both have events of it", p, e.logs[holder].source, e.logs[i].source)
		}
		holder = i
	}

	switch {
	case holder >= 0:
		return holder, nil
	case launch >= 0:
		return launch, nil
	default:
		return 0, fmt.Errorf("%s: no log has events of it, and none holds a measured launch", p)
	}
}

// eventsOf returns the extended events of one PCR, in their order.
func (l *parsedLog) eventsOf(index int) []*eventlog.Event {
	var events []*eventlog.Event
	for i := range l.Events {
		if ev := &l.Events[i]; ev.Extended() && ev.PCR == uint32(index) { //nolint:gosec // checkBank: 0 to 23
			events = append(events, ev)
		}
	}
	return events
}

// safeText makes a text of unknown origin safe for a terminal.
func safeText(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "..."
	}
	if quoted := strconv.Quote(s); s == "" || quoted != `"`+s+`"` {
		return quoted
	}
	return s
}
