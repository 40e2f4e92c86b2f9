package tpm

import (
	"bytes"
	"slices"
	"time"

	"github.com/trustpool/trustpool/agent/internal/aggregate"
)

const (
	// maxMembers is how many may wait in a group, half of them of one caller. They are many more than may wait in the queue, as one turn answers a whole tree of them.
	maxMembers = 4 * aggregate.MaxLeaves
	// maxGroups is how many groups are remembered in which nobody waits.
	maxGroups = 64
	// After a quote, a group waits a lingerPart of a quote time for those to come back who were answered. Without it a crowd splits: the first to come back gets a quote of its own, all
	// others wait for the next one. It goes on for a lingerStep at a time while that pays, for a lingerMost in all.
	lingerPart, lingerStep, lingerMost = 20, 50, 5
	// mostMissing is how many times as many as wait are most.
	mostMissing = 4
	// leastLinger is the shortest time that it makes sense to set a timer for.
	leastLinger = 100 * time.Microsecond
)

// group holds the callers who wait for a quote by one AK over one selection. It stands in the queue once for each caller that has a member in it, and whichever place comes to its turn first
// serves all: so nobody waits longer for being in a group with a noisy caller, and a noisy caller gains nothing by having many groups. All of it is guarded by TPM.mu.
type group struct {
	party

	akName     []byte
	selections []Selection
	// members wait, in the order of their coming.
	members []*member
	// leader is the member who was woken to make the quote; nil if there is none. underWay: the quote is being made.
	leader   *member
	underWay bool
	// crowd is how many were around at the last quote. From answered until lingers, the group waits for as many; back is how many were there when that was decided, at looked.
	crowd             int
	answered, lingers time.Time
	back              int
	looked            time.Time
	timer             *time.Timer
}

// member is one call that waits in a group.
type member struct {
	caller          string
	leaf            aggregate.Leaf
	asked, deadline time.Time
	// wake gets a token when the member is to lead, and when it is done.
	wake chan struct{}

	// The rest is guarded by TPM.mu until the member is done.
	state memberState
	began time.Time
	share Share
	err   error
}

type memberState uint8

const (
	memberWaits  memberState = iota
	memberSealed             // its leaf is in the tree that is being quoted
	memberGone               // as memberSealed, but nobody waits for the answer
	memberDone
)

// groups are those in which somebody waits, and some in which somebody did.
type groups []*group

// find returns the group for an AK and a selection.
func (all *groups) find(akName []byte, selections []Selection) *group {
	for _, g := range *all {
		if bytes.Equal(g.akName, akName) && slices.Equal(g.selections, selections) {
			return g
		}
	}

	if len(*all) >= maxGroups {
		*all = slices.DeleteFunc(*all, func(g *group) bool { return g.isIdle() })
	}

	g := &group{akName: bytes.Clone(akName), selections: slices.Clone(selections)}
	g.granted = g.wakeLeader
	*all = append(*all, g)

	return g
}

// isIdle says whether nobody needs the group.
func (g *group) isIdle() bool {
	return len(g.members) == 0 && g.leader == nil && !g.underWay
}

// join lets a member wait. The error is a *QueueError.
func (g *group) join(q *queue, m *member) error {
	own := 0

	for _, other := range g.members {
		if other.caller == m.caller {
			own++
		}
	}

	place := g.place(m)

	if len(g.members) >= maxMembers || own >= maxMembers/2 {
		return &QueueError{Reason: ErrQueueFull, Retry: q.ahead(m.asked, place)}
	}

	if g.leader == nil && len(g.tickets) == 0 {
		// The queue may wake the member at once, so it has to be here first.
		g.members = append(g.members, m)

		if err := q.enter(m.asked, place); err != nil {
			g.members = g.members[:len(g.members)-1]

			return err
		}

		return nil
	}

	// Those before it fill so many trees.
	before := time.Duration(len(g.members)/aggregate.MaxLeaves) * q.mean[ClassQuote]
	if err := q.inTime(m.asked, m.deadline, before+q.ahead(m.asked, place), ClassQuote); err != nil {
		return err
	}

	g.members = append(g.members, m)

	// Without a place of its own a member goes along with the others.
	if g.leader == nil && own == 0 && q.callers[m.caller] < q.perCaller {
		q.add(place)
	}

	if g.isComplete() {
		g.settle()
		q.grant(m.asked)
	}

	return nil
}

// place returns a place in the queue in a member's name.
func (g *group) place(m *member) *ticket {
	return &ticket{caller: m.caller, class: ClassQuote, asked: m.asked, deadline: m.deadline, ready: g.lingers, party: &g.party}
}

// wakeLeader has somebody make the quote: it is the group's turn.
func (g *group) wakeLeader() {
	g.settle()
	g.leader = g.members[0]
	g.leader.wake <- struct{}{}
}

// leave takes a member out. It is false if the member is done.
func (g *group) leave(q *queue, m *member, now time.Time) bool {
	switch m.state {
	case memberDone:
		return false
	case memberWaits:
	default:
		m.state = memberGone

		return true
	}

	g.members = slices.DeleteFunc(g.members, func(other *member) bool { return other == m })
	isLast := !slices.ContainsFunc(g.members, func(other *member) bool { return other.caller == m.caller })

	for _, place := range slices.Clone(g.tickets) {
		if isLast && place.caller == m.caller {
			q.remove(place)
		}
	}

	switch {
	case g.leader == m && len(g.members) > 0:
		g.wakeLeader()
	case g.leader == m:
		g.leader = nil
		q.withdraw(now, q.running)
	case g.leader == nil && len(g.members) > 0 && len(g.tickets) == 0: // the others went along with it
		q.add(g.place(g.members[0]))
		q.grant(now)
	}

	return true
}

// seal takes those who will be in the tree: all, if they are not too many; else of each caller as many as of any other, as far as there are. Those left over go on waiting.
func (g *group) seal(q *queue, now time.Time) []*member {
	g.leader, g.underWay = nil, true
	batch := g.members

	if len(batch) > aggregate.MaxLeaves {
		batch = byTurns(g.members, aggregate.MaxLeaves)
	}

	for _, m := range batch {
		m.state = memberSealed
	}

	g.members = slices.DeleteFunc(slices.Clone(g.members), func(m *member) bool { return m.state == memberSealed })

	for _, place := range slices.Clone(g.tickets) {
		q.remove(place)
	}

	for i, m := range g.members {
		if !slices.ContainsFunc(g.members[:i], func(other *member) bool { return other.caller == m.caller }) {
			q.add(g.place(m))
		}
	}

	return batch
}

// byTurns takes as many members, one of each caller after the other.
func byTurns(members []*member, most int) []*member {
	var callers []string

	of := make(map[string][]*member)

	for _, m := range members {
		if of[m.caller] == nil {
			callers = append(callers, m.caller)
		}

		of[m.caller] = append(of[m.caller], m)
	}

	taken := make([]*member, 0, most)

	for len(taken) < most {
		for _, caller := range callers {
			if waiting := of[caller]; len(waiting) > 0 && len(taken) < most {
				taken = append(taken, waiting[0])
				of[caller] = waiting[1:]
			}
		}
	}

	return taken
}

// linger notes at the end of a quote how many are around, and has the group wait a little for those to come back who are answered now. Meanwhile others may have the TPM. wake is called
// when that time is over.
func (g *group) linger(q *queue, now time.Time, batch []*member, wake func()) {
	g.underWay = false
	g.crowd = len(g.members)

	for _, m := range batch {
		if m.state == memberSealed {
			g.crowd++
		}
	}

	g.crowd = min(g.crowd, aggregate.MaxLeaves)
	long := q.mean[ClassQuote] / lingerPart

	if g.crowd <= 1 || g.isFull() || long < leastLinger {
		return
	}

	g.answered = now
	g.waitFor(now, long, wake)
}

// lingerOn is called when the time to wait for others is over, and goes on waiting if that pays: whoever came meanwhile saved a quote time, those who wait lost what it took. While most
// are missing still, that is what they may save.
func (g *group) lingerOn(q *queue, now time.Time, wake func()) {
	if g.timer == nil || now.Before(g.lingers) {
		return // nobody is waited for, or until later
	}

	quote := q.quoteTime()
	saved, lost := quote*time.Duration(len(g.members)-g.back), now.Sub(g.looked)*time.Duration(len(g.members))
	mostAreMissing := g.crowd-len(g.members) >= mostMissing*len(g.members)
	step := quote / lingerStep

	if (mostAreMissing || saved >= lost) && now.Add(step).Sub(g.answered) <= quote/lingerMost {
		g.waitFor(now, step, wake)

		return
	}

	g.settle()
	q.grant(now)
}

// waitFor has the group wait for others.
func (g *group) waitFor(now time.Time, long time.Duration, wake func()) {
	g.back, g.looked, g.lingers = len(g.members), now, now.Add(long)
	g.timer = time.AfterFunc(long, wake)

	for _, place := range g.tickets {
		place.ready = g.lingers
	}
}

// isFull says whether as many wait as were around, so that there is nobody to wait for.
func (g *group) isFull() bool { return len(g.members) >= g.crowd }

// isComplete says whether the group waits for nobody any more.
func (g *group) isComplete() bool { return g.timer != nil && g.isFull() }

// settle ends the waiting for others, if they are waited for. While it is the group's turn they never are: no timer is set then that would end it.
func (g *group) settle() {
	if g.timer != nil {
		g.timer.Stop()
	}

	g.timer, g.lingers = nil, time.Time{}

	for _, place := range g.tickets {
		place.ready = time.Time{}
	}
}

// finish gives a member its answer, if it still waits.
func (m *member) finish(began time.Time, share Share, err error) {
	if m.state == memberGone {
		return
	}

	m.began, m.share, m.err, m.state = began, share, err, memberDone
	m.wake <- struct{}{}
}
