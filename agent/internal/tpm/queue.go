package tpm

import (
	"slices"
	"time"
)

// Class is what a turn at the TPM is for. Lower ones go first.
type Class uint8

// The classes.
const (
	ClassQuote     Class = iota // the main job
	ClassHandshake              // a signature for TLS: strangers can ask for it
	ClassOther                  // enrolment, administration, the agent's own housekeeping
	classes
)

// String returns the class as metrics name it.
func (c Class) String() string {
	return [classes]string{"quote", "handshake", "other"}[c]
}

const (
	// agedAfter is after how many quote times a ticket goes before all classes. With the quote that may have begun just then, nothing is passed over for longer than four.
	agedAfter = 3
	// firstGuess is what a quote is taken to last before one was made.
	firstGuess = 250 * time.Millisecond
	// weight is how many turns the running mean of their durations looks back on, more or less.
	weight = 8
)

// queue decides who uses the TPM next. Within a class callers take turns: who comes often waits behind himself, not in the way of others. Classes go in their order, but one that waited
// long enough goes first. It is data and nothing else: it starts nothing and knows no clock, and whoever uses it holds a lock meanwhile.
//
// What holds after every call: somebody has the turn if anybody waits that may have it; as many wait as are allowed to and no more; a ticket that has the turn, or has waited and
// was not withdrawn, has got or will get exactly one token.
type queue struct {
	// limit is how many may wait, perCaller how many of one caller.
	limit, perCaller int

	lanes   [classes]lane
	waiting int // parties, and tickets without one; exempt ones are not counted
	callers map[string]int
	running *ticket
	began   time.Time
	// mean is the running mean of how long turns last; zero as long as there was none.
	mean [classes]time.Duration
	// round is that of the last count of parties.
	round uint64
}

// ticket is a place in the queue, and later the turn itself.
type ticket struct {
	caller string
	class  Class
	// asked is when the ticket was taken. deadline, if there is one, is when its turn has to be over.
	asked, deadline time.Time
	// ready is when it may have its turn at the earliest.
	ready time.Time
	// exempt tickets are let in whatever the bounds are: they are the agent's own, or bounded elsewhere.
	exempt bool
	// party, if not nil, is who shares the turn.
	party *party
	// turn gets one token when it is this ticket's turn. It has room for that.
	turn chan<- struct{}
}

// party holds tickets of which one is used; whoever uses it withdraws the others.
type party struct {
	tickets []*ticket
	round   uint64
	// granted, if not nil, is called in place of a token for a ticket.
	granted func()
}

// lane holds the tickets of a class, by caller.
type lane struct {
	accounts []*account // the next one first
	last     string     // the caller who had the last turn
}

type account struct {
	caller  string
	tickets []*ticket // the oldest first
}

// QueueError says why a call was not let wait.
type QueueError struct {
	// Reason is ErrQueueFull or ErrTooLate.
	Reason error
	// Retry is when it makes sense to come again, by what is known of the queue; 0: nothing is known.
	Retry time.Duration
}

// Error implements error.
func (e *QueueError) Error() string { return e.Reason.Error() }

// Unwrap returns the reason.
func (e *QueueError) Unwrap() error { return e.Reason }

// enter lets a ticket wait, or gives it the turn if nobody else has it. The error is a *QueueError.
func (q *queue) enter(now time.Time, t *ticket) error {
	if err := q.admit(now, t); err != nil {
		return err
	}

	q.add(t)
	q.grant(now)

	return nil
}

// admit looks at the bounds and at the deadline.
func (q *queue) admit(now time.Time, t *ticket) error {
	if t.exempt {
		return nil
	}

	if q.waiting >= q.limit || q.callers[t.caller] >= q.perCaller {
		return &QueueError{Reason: ErrQueueFull, Retry: q.ahead(now, t)}
	}

	return q.inTime(now, t.deadline, q.ahead(now, t), t.class)
}

// inTime refuses what would have its turn after ahead, and so can't be done by its deadline. When the TPM is idle it refuses nothing: what is known of durations may have been an
// exception, and the next turn tells.
func (q *queue) inTime(now, deadline time.Time, ahead time.Duration, class Class) error {
	if deadline.IsZero() || q.running == nil || q.mean[class] == 0 {
		return nil
	}

	if late := now.Add(ahead + q.mean[class]).Sub(deadline); late > 0 {
		return &QueueError{Reason: ErrTooLate, Retry: late}
	}

	return nil
}

// ahead estimates when a new ticket like this one would have its turn.
func (q *queue) ahead(now time.Time, t *ticket) time.Duration {
	var wait time.Duration
	if q.running != nil {
		wait = max(0, q.mean[q.running.class]-now.Sub(q.began))
	}

	if q.round++; t.party != nil {
		t.party.round = q.round // it is not in its own way
	}

	for class := range classes {
		mean := q.mean[class]

		switch {
		case class == t.class:
			wait += time.Duration(q.lanes[class].before(t.caller, q.round)) * mean
		case class < t.class: // until it has aged
			wait += min(time.Duration(q.lanes[class].count(q.round, func(*ticket) bool { return true }))*mean, agedAfter*q.quoteTime())
		default:
			wait += time.Duration(q.lanes[class].count(q.round, func(t *ticket) bool { return q.aged(now, t) })) * mean
		}
	}

	return wait
}

// end ends the turn and gives it to the next one. Only a turn that was used for what its class is for counts for the mean.
func (q *queue) end(now time.Time, counts bool) {
	if class := q.running.class; counts {
		took := now.Sub(q.began)
		if q.mean[class] == 0 {
			q.mean[class] = took
		}

		q.mean[class] += (took - q.mean[class]) / weight
	}

	q.running = nil
	q.grant(now)
}

// withdraw takes a ticket back: one that waits leaves, one that has the turn gives it to the next. Its token may have to be taken back by who holds the other end.
func (q *queue) withdraw(now time.Time, t *ticket) {
	if q.running == t {
		q.running = nil
	} else {
		q.remove(t)
	}

	q.grant(now)
}

// grant gives the turn to who is next, if it is free.
func (q *queue) grant(now time.Time) {
	if q.running != nil {
		return
	}

	t := q.next(now)
	if t == nil {
		return
	}

	q.remove(t)
	q.lanes[t.class].served(t.caller)
	q.running, q.began = t, now

	if t.party != nil && t.party.granted != nil {
		t.party.granted()

		return
	}

	t.turn <- struct{}{}
}

// next returns whose turn it is, nil if nobody is ready.
func (q *queue) next(now time.Time) *ticket {
	var oldest *ticket

	for class := ClassQuote + 1; class < classes; class++ {
		t := q.lanes[class].first(func(t *ticket) bool { return !t.ready.After(now) && q.aged(now, t) })
		if t != nil && (oldest == nil || t.asked.Before(oldest.asked)) {
			oldest = t
		}
	}

	for class := ClassQuote; class < classes && oldest == nil; class++ {
		oldest = q.lanes[class].first(func(t *ticket) bool { return !t.ready.After(now) })
	}

	return oldest
}

// aged says whether a ticket was passed over for long enough.
func (q *queue) aged(now time.Time, t *ticket) bool {
	return now.Sub(t.asked) >= agedAfter*q.quoteTime()
}

// quoteTime is how long a quote takes, as far as is known.
func (q *queue) quoteTime() time.Duration {
	if mean := q.mean[ClassQuote]; mean > 0 {
		return mean
	}

	return firstGuess
}

// add puts a ticket into its lane.
func (q *queue) add(t *ticket) {
	if !t.exempt {
		if t.party == nil || len(t.party.tickets) == 0 {
			q.waiting++
		}

		if q.callers == nil {
			q.callers = make(map[string]int)
		}

		q.callers[t.caller]++
	}

	if t.party != nil {
		t.party.tickets = append(t.party.tickets, t)
	}

	q.lanes[t.class].add(t)
}

// remove takes a ticket out of its lane, if it is there.
func (q *queue) remove(t *ticket) {
	if !q.lanes[t.class].remove(t) {
		return
	}

	if t.party != nil {
		t.party.tickets = slices.DeleteFunc(t.party.tickets, func(other *ticket) bool { return other == t })
	}

	if t.exempt {
		return
	}

	if t.party == nil || len(t.party.tickets) == 0 {
		q.waiting--
	}

	if q.callers[t.caller]--; q.callers[t.caller] == 0 {
		delete(q.callers, t.caller)
	}
}
