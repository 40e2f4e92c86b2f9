package tpm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model drives a queue step by step on a clock of its own, and checks after each step what has to hold.
type model struct {
	queue   queue
	now     time.Time
	waiting []*ticket
	running *ticket
	tokens  map[*ticket]chan struct{}
	// passed counts for each waiting ticket how often each other caller had a turn of its class since the ticket became its caller's oldest.
	passed map[*ticket]map[string]int
	steps  []string
}

const (
	modelQuote     = 100 * time.Millisecond
	modelLimit     = 4
	modelPerCaller = 2
)

func newModel() *model {
	m := &model{
		queue: queue{limit: modelLimit, perCaller: modelPerCaller}, now: time.Unix(0, 0),
		tokens: make(map[*ticket]chan struct{}), passed: make(map[*ticket]map[string]int),
	}
	for class := range m.queue.mean {
		m.queue.mean[class] = modelQuote
	}

	return m
}

// enter has a caller ask; parties share a turn.
func (m *model) enter(caller string, class Class, of *party, deadline time.Duration) error {
	m.steps = append(m.steps, fmt.Sprintf("%v: %s asks for a %v", m.now.UnixMilli(), caller, class))
	token := make(chan struct{}, 1)
	t := &ticket{caller: caller, class: class, asked: m.now, turn: token, party: of}

	if deadline > 0 {
		t.deadline = m.now.Add(deadline)
	}

	own, places := 0, make(map[any]bool)

	for _, w := range m.waiting {
		if w.caller == caller {
			own++
		}

		if w.party != nil {
			places[w.party] = true
		} else {
			places[w] = true
		}
	}

	isFull := own >= modelPerCaller || len(places) >= modelLimit

	err := m.queue.enter(m.now, t)
	if errors.Is(err, ErrQueueFull) != isFull {
		return fmt.Errorf("%d of %s wait and %d places are taken: %w", own, caller, len(places), err)
	}

	if errors.Is(err, ErrTooLate) && (deadline == 0 || m.running == nil) {
		return fmt.Errorf("refused for a deadline that it does not have, or by an idle TPM")
	}

	if err == nil {
		m.waiting = append(m.waiting, t)
		m.tokens[t] = token
		m.passed[t] = make(map[string]int)
	}

	return m.check()
}

// end ends the turn.
func (m *model) end() error {
	if m.running == nil {
		return nil
	}

	m.steps = append(m.steps, fmt.Sprintf("%v: the turn of %s ends", m.now.UnixMilli(), m.running.caller))
	m.running = nil
	m.queue.end(m.now, true)

	return m.check()
}

// leave has one who waits, or has the turn and does not know it yet, give up.
func (m *model) leave(t *ticket) error {
	m.steps = append(m.steps, fmt.Sprintf("%v: %s leaves", m.now.UnixMilli(), t.caller))
	if m.running == t {
		m.running = nil
	}

	m.queue.withdraw(m.now, t)
	m.forget(t)

	return m.check()
}

// forget takes a ticket from those that wait.
func (m *model) forget(t *ticket) {
	m.waiting = slices.DeleteFunc(m.waiting, func(w *ticket) bool { return w == t })
	delete(m.tokens, t)
	delete(m.passed, t)
}

// check looks who has the turn now, and whether that was right.
func (m *model) check() error {
	for _, t := range slices.Clone(m.waiting) {
		select {
		case <-m.tokens[t]:
		default:
			continue
		}

		if m.running != nil {
			return fmt.Errorf("%s and %s have the turn", m.running.caller, t.caller)
		}

		m.forget(t)

		if err := m.begins(t); err != nil {
			return err
		}
	}

	switch ready := slices.ContainsFunc(m.waiting, func(t *ticket) bool { return !t.ready.After(m.now) }); {
	case m.running == nil && ready:
		return errors.New("somebody waits and nobody has the turn")
	case m.running != m.queue.running:
		return errors.New("the queue thinks that somebody else has the turn")
	case m.queue.waiting > modelLimit:
		return fmt.Errorf("%d wait", m.queue.waiting)
	}

	return nil
}

// begins is fair to all who wait still.
func (m *model) begins(t *ticket) error {
	m.running = t
	isAged := m.now.Sub(t.asked) >= agedAfter*m.queue.quoteTime()

	for _, w := range m.waiting {
		if w.ready.After(m.now) {
			continue
		}

		switch wIsAged := m.now.Sub(w.asked) >= agedAfter*m.queue.quoteTime(); {
		case w.class > t.class && wIsAged && (t.class == ClassQuote || !isAged):
			return fmt.Errorf("a %v that waits for %v is passed over", w.class, m.now.Sub(w.asked))
		case w.class < t.class && !isAged:
			return fmt.Errorf("a %v goes before a %v", t.class, w.class)
		case w.class == t.class && w.caller == t.caller && w.asked.Before(t.asked):
			return fmt.Errorf("%s passes itself over", t.caller)
		case w.class == t.class && w.caller != t.caller && m.isOldest(w):
			if m.passed[w][t.caller]++; m.passed[w][t.caller] > 1 && !isAged {
				return fmt.Errorf("%s gets two turns while %s waits", t.caller, w.caller)
			}
		}
	}

	return nil
}

func (m *model) isOldest(t *ticket) bool {
	i := slices.IndexFunc(m.waiting, func(w *ticket) bool { return w.caller == t.caller && w.class == t.class })

	return m.waiting[i] == t
}

// TestEveryShortStoryOfTheQueueIsFair tries all of them: two callers, all classes, ends of turns, those who leave, and time that passes.
func TestEveryShortStoryOfTheQueueIsFair(t *testing.T) {
	t.Parallel()

	const longest = 5

	steps := []func(*model) error{
		func(m *model) error { return m.enter("a", ClassQuote, nil, 0) },
		func(m *model) error { return m.enter("b", ClassQuote, nil, 0) },
		func(m *model) error { return m.enter("a", ClassOther, nil, 0) },
		func(m *model) error { return m.enter("b", ClassHandshake, nil, 0) },
		func(m *model) error { return m.end() },
		func(m *model) error { m.now = m.now.Add(modelQuote); return m.end() },
		func(m *model) error { m.now = m.now.Add(4 * modelQuote); return m.end() },
		func(m *model) error { return m.leaveAt(0) },
		func(m *model) error { return m.leaveAt(len(m.waiting) - 1) },
		func(m *model) error {
			if m.running == nil {
				return nil
			}

			return m.leave(m.running)
		},
	}

	story := make([]int, longest)

	for told := 0; ; told++ {
		m := newModel()

		for _, step := range story {
			if err := steps[step](m); err != nil {
				t.Fatalf("%v after %q", err, m.steps)
			}
		}

		i := longest - 1
		for ; i >= 0 && story[i] == len(steps)-1; i-- {
			story[i] = 0
		}

		if i < 0 {
			t.Logf("%d stories", told+1)

			return
		}

		story[i]++
	}
}

func (m *model) leaveAt(i int) error {
	if i < 0 || i >= len(m.waiting) {
		return nil
	}

	return m.leave(m.waiting[i])
}

// TestLongStoriesOfTheQueueAreFair tries some of the longer ones, with parties and deadlines.
func TestLongStoriesOfTheQueueAreFair(t *testing.T) {
	t.Parallel()

	for seed := range uint64(300) {
		random, m := rand.New(rand.NewPCG(seed, 1)), newModel() // #nosec G404 -- a story that can be told again
		parties := []*party{{}, {}}

		for range 300 {
			var err error

			switch random.IntN(8) {
			case 0, 1, 2:
				var of *party

				caller, class := string(rune('a'+random.IntN(4))), Class(random.IntN(int(classes)))
				if class == ClassQuote && random.IntN(2) == 0 {
					of = parties[random.IntN(2)]
				}

				err = m.enter(caller, class, of, time.Duration(random.IntN(3))*3*modelQuote)
			case 3, 4, 5:
				m.now = m.now.Add(time.Duration(random.Int64N(int64(2 * modelQuote))))
				err = m.end()
			case 6:
				err = m.leaveAt(random.IntN(modelLimit))
			case 7: // whose party has the turn leaves the queue
				if m.running != nil && m.running.party != nil {
					for _, other := range slices.Clone(m.running.party.tickets) {
						if err == nil {
							err = m.leave(other)
						}
					}
				}
			}

			if err != nil {
				t.Fatalf("seed %d: %v after %q", seed, err, m.steps[max(0, len(m.steps)-30):])
			}
		}

		for m.running != nil {
			if err := m.end(); err != nil {
				t.Fatal(err)
			}
		}

		if len(m.waiting) > 0 || m.queue.waiting != 0 || len(m.queue.callers) != 0 {
			t.Fatalf("seed %d: %d are left waiting, the queue counts %d of %d callers", seed, len(m.waiting), m.queue.waiting, len(m.queue.callers))
		}
	}
}

// TestNothingIsPassedOverForLongerThanFourQuotes keeps the queue full of quotes, which take no time to come again.
func TestNothingIsPassedOverForLongerThanFourQuotes(t *testing.T) {
	t.Parallel()

	for offset := range 10 { // when within a quote the others come
		m := newModel()
		step := func(err error) {
			if err != nil {
				t.Fatalf("%v after %q", err, m.steps)
			}
		}

		for _, caller := range []string{"a", "b", "a", "b"} {
			step(m.enter(caller, ClassQuote, nil, 0))
		}

		m.now = m.now.Add(time.Duration(offset) * modelQuote / 10)

		other := &ticket{caller: "c", class: ClassOther, exempt: true, asked: m.now, turn: make(chan struct{}, 1)}
		if err := m.queue.enter(m.now, other); err != nil {
			t.Fatal(err)
		}

		rest := modelQuote - time.Duration(offset)*modelQuote/10

		for m.queue.running != other {
			m.now = m.now.Add(rest)
			rest = modelQuote

			ended := m.running.caller
			step2 := func() {
				m.running = nil
				m.queue.end(m.now, true)
			}
			step2()

			if m.queue.running == other {
				break
			}

			step(m.check())
			step(m.enter(ended, ClassQuote, nil, 0))
		}

		if waited := m.now.Sub(other.asked); waited > 4*modelQuote {
			t.Errorf("it waited for %v", waited)
		}
	}
}

func TestANoisyCallerWaitsBehindItself(t *testing.T) {
	t.Parallel()

	q := queue{limit: 64, perCaller: 32}
	now, turns := time.Unix(0, 0), make(chan struct{}, 64)

	ask := func(caller string) *ticket {
		ticket := &ticket{caller: caller, asked: now, turn: turns}
		if err := q.enter(now, ticket); err != nil {
			t.Fatal(err)
		}

		return ticket
	}

	for range 30 {
		ask("noisy")
	}

	polite := ask("polite")

	q.end(now.Add(modelQuote), true)

	if q.running != polite {
		t.Error("the polite caller is not next")
	}
}

func TestADeadlineThatCanNotBeMetIsToldAtOnce(t *testing.T) {
	t.Parallel()

	q := queue{limit: 64, perCaller: 32}
	now, turns := time.Unix(0, 0), make(chan struct{}, 64)
	ask := func(caller string, within time.Duration) error {
		return q.enter(now, &ticket{caller: caller, asked: now, deadline: now.Add(within), turn: turns})
	}

	// Nothing is known yet, and then the TPM is idle: both times anything is let in.
	for _, mean := range []time.Duration{0, modelQuote} {
		q.mean[ClassQuote] = mean

		if err := ask("a", time.Millisecond); err != nil {
			t.Fatal(err)
		}

		q.end(now, false)
	}

	for range 3 {
		if err := ask("a", time.Hour); err != nil {
			t.Fatal(err)
		}
	}

	now = now.Add(modelQuote / 2)

	// One of a's is under way for half its time, then it is b's turn, which takes a quote time itself.
	for _, test := range []struct {
		within, retry time.Duration
	}{
		{150 * time.Millisecond, 0},
		{149 * time.Millisecond, time.Millisecond},
		{50 * time.Millisecond, 100 * time.Millisecond},
	} {
		var refusal *QueueError

		switch err := ask("b", test.within); {
		case test.retry == 0 && err != nil:
			t.Errorf("within %v: %v", test.within, err)
		case test.retry == 0:
			q.withdraw(now, q.lanes[ClassQuote].accounts[0].tickets[0])
		case !errors.As(err, &refusal) || !errors.Is(err, ErrTooLate) || refusal.Retry != test.retry:
			t.Errorf("within %v: %+v", test.within, refusal)
		}
	}
}
