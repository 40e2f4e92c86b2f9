package tpm

import "slices"

// add puts a ticket behind its caller's others. A caller who had none is the last of all, but for the one who had the last turn.
func (l *lane) add(t *ticket) {
	i := l.index(t.caller)
	if i < 0 {
		l.accounts = slices.Insert(l.accounts, l.place(), &account{caller: t.caller, tickets: []*ticket{t}})

		return
	}

	l.accounts[i].tickets = append(l.accounts[i].tickets, t)
}

// remove takes a ticket out and says whether it was there.
func (l *lane) remove(t *ticket) bool {
	i := l.index(t.caller)
	if i < 0 {
		return false
	}

	a := l.accounts[i]

	j := slices.Index(a.tickets, t)
	if j < 0 {
		return false
	}

	if a.tickets = slices.Delete(a.tickets, j, j+1); len(a.tickets) == 0 {
		l.accounts = slices.Delete(l.accounts, i, i+1)
	}

	return true
}

// place returns where the account of a caller goes who has none.
func (l *lane) place() int {
	n := len(l.accounts)
	if n > 0 && l.accounts[n-1].caller == l.last {
		return n - 1
	}

	return n
}

// served puts a caller behind all others: it had its turn.
func (l *lane) served(caller string) {
	l.last = caller

	if i := l.index(caller); i >= 0 {
		a := l.accounts[i]
		l.accounts = append(slices.Delete(l.accounts, i, i+1), a)
	}
}

// first returns the first ticket that will do, nil if there is none: the oldest of the caller who is next.
func (l *lane) first(will func(*ticket) bool) *ticket {
	for _, a := range l.accounts {
		for _, t := range a.tickets {
			if will(t) {
				return t
			}
		}
	}

	return nil
}

// before counts the turns until a new ticket of a caller would have his: all of his own, and of each other caller as many, and the one for the new ticket.
func (l *lane) before(caller string, round uint64) int {
	own, place := 0, l.place()
	if i := l.index(caller); i >= 0 {
		own, place = len(l.accounts[i].tickets), i
	}

	turns := 0

	for i, a := range l.accounts {
		most := own
		if i < place {
			most++
		}

		for _, t := range a.tickets[:min(most, len(a.tickets))] {
			turns += t.counted(round)
		}
	}

	return turns
}

// count counts the turns of the tickets that will do.
func (l *lane) count(round uint64, will func(*ticket) bool) int {
	turns := 0

	for _, a := range l.accounts {
		for _, t := range a.tickets {
			if will(t) {
				turns += t.counted(round)
			}
		}
	}

	return turns
}

// counted is 1 for a ticket, but only once a round for all those of a party.
func (t *ticket) counted(round uint64) int {
	if t.party == nil {
		return 1
	}

	if t.party.round == round {
		return 0
	}

	t.party.round = round

	return 1
}

func (l *lane) index(caller string) int {
	return slices.IndexFunc(l.accounts, func(a *account) bool { return a.caller == caller })
}
