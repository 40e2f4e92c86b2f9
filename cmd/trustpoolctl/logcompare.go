package main

import (
	"bytes"
	"slices"
)

// comparison compares the events of one PCR in two logs.
type comparison struct {
	banks []string // those that count
}

// Costs of an alignment: an event with the same type or digest stands for the other; one with neither is one that is gone beside one that is new.
const (
	costGap   = 2
	costLike  = 3
	costOther = 2*costGap + 1
)

// maxTable bounds an alignment. Longer lists, such as IMA's, are matched name by name.
const maxTable = 1 << 20

// compare returns how b differs from a; nothing if it does not.
func (c comparison) compare(a, b []record) []difference {
	for len(a) > 0 && len(b) > 0 && c.same(&a[0], &b[0]) {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && c.same(&a[len(a)-1], &b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if (len(a)+1)*(len(b)+1) > maxTable {
		return c.match(a, b)
	}
	return c.align(a, b)
}

// align finds the cheapest way from a to b (Wagner and Fischer).
func (c comparison) align(a, b []record) []difference {
	cost := c.table(a, b)
	var found []difference
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && cost[i][j] == cost[i+1][j+1]+c.cost(&a[i], &b[j]):
			if d, differ := c.pair(&a[i], &b[j]); differ {
				found = append(found, d)
			}
			i, j = i+1, j+1
		case i < len(a) && cost[i][j] == cost[i+1][j]+costGap:
			found = append(found, difference{Kind: "removed", A: &a[i]})
			i++
		default:
			found = append(found, difference{Kind: "added", B: &b[j]})
			j++
		}
	}
	return found
}

// table holds at i, j the cost of a[i:] against b[j:].
func (c comparison) table(a, b []record) [][]int {
	cost := make([][]int, len(a)+1)
	for i := range cost {
		cost[i] = make([]int, len(b)+1)
	}
	for i := len(a); i >= 0; i-- {
		for j := len(b); j >= 0; j-- {
			switch {
			case i == len(a):
				cost[i][j] = (len(b) - j) * costGap
			case j == len(b):
				cost[i][j] = (len(a) - i) * costGap
			default:
				cost[i][j] = min(cost[i+1][j+1]+c.cost(&a[i], &b[j]), cost[i+1][j]+costGap, cost[i][j+1]+costGap)
			}
		}
	}
	return cost
}

func (c comparison) cost(a, b *record) int {
	switch {
	case c.same(a, b):
		return 0
	case a.like == b.like || len(a.Digests) > 0 && c.sameDigests(a, b):
		return costLike
	default:
		return costOther
	}
}

// match pairs events of the same name in their order, for lists that are too long to align.
func (c comparison) match(a, b []record) []difference {
	waiting := make(map[string][]int) // events of a, by name
	for i := range a {
		waiting[a[i].like] = append(waiting[a[i].like], i)
	}

	var found, added []difference
	last, lastB := -1, -1 // the furthest event of a so far, and the one of b that stands for it
	var moved *difference
	for j := range b {
		queue := waiting[b[j].like]
		if len(queue) == 0 {
			added = append(added, difference{Kind: "added", B: &b[j]})
			continue
		}
		i := queue[0]
		waiting[b[j].like] = queue[1:]
		if d, differ := c.pair(&a[i], &b[j]); differ {
			found = append(found, d)
		}
		if i < last && moved == nil {
			moved = &difference{Kind: "moved", A: &a[last], B: &b[lastB]} //nolint:gosec // last is above i, so that both are set
		}
		if i > last {
			last, lastB = i, j
		}
	}

	for i := range a {
		if queue := waiting[a[i].like]; len(queue) > 0 && i >= queue[0] { // what stands before it was paired
			found = append(found, difference{Kind: "removed", A: &a[i]})
		}
	}
	found = append(found, added...)
	if moved != nil {
		found = append(found, *moved)
	}
	return found
}

// pair compares two events that stand for each other.
func (c comparison) pair(a, b *record) (difference, bool) {
	switch {
	case c.same(a, b):
		return difference{}, false
	case a.TypeID == b.TypeID && a.Type == b.Type && c.sameDigests(a, b) && a.Extended:
		return difference{Kind: "data", A: a, B: b}, true
	default:
		return difference{Kind: "changed", A: a, B: b}, true
	}
}

func (c comparison) same(a, b *record) bool {
	return a.TypeID == b.TypeID && a.Type == b.Type && bytes.Equal(a.Data, b.Data) && c.sameDigests(a, b)
}

// sameDigests compares in the banks that both logs have.
func (c comparison) sameDigests(a, b *record) bool {
	return !slices.ContainsFunc(c.banks, func(bank string) bool { return !bytes.Equal(a.Digests[bank], b.Digests[bank]) })
}
