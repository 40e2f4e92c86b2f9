package knowngood

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/trustpool/trustpool/verifier"
)

// Costs of an alignment of slots: one that has the same type, or a digest in common, stands for the other; else they are two.
const (
	costGap     = 2
	costChanged = 3
	costOther   = 2*costGap + 1
)

// Bounds of an alignment: of its table, and of the digests that are compared for it. Beyond them, slots are compared place by place.
const (
	maxAlignment   = 1 << 20
	maxComparisons = 1 << 24
)

// compareSlots says how two lists of slots differ, in as few differences as there can be.
func compareSlots(at place, a, b []verifier.Slot) []Difference {
	var all []Difference
	for _, p := range pairs(a, b) {
		switch {
		case p[0] < 0:
			all = append(all, at.lone("B", p[1], b[p[1]]))
		case p[1] < 0:
			all = append(all, at.lone("A", p[0], a[p[0]]))
		default:
			all = append(all, at.pair(p, a[p[0]], b[p[1]])...)
		}
	}
	return all
}

// lone tells of a slot that only one set has.
func (at place) lone(side string, i int, slot verifier.Slot) Difference {
	d := at.difference(SlotDiffers, fmt.Sprintf("only %s has the slot %d (%s): %s", side, i+1, name(slot), list(slot.Digests)))
	if side == "A" {
		d.SlotA, d.OnlyA = i+1, slot.Digests
	} else {
		d.SlotB, d.OnlyB = i+1, slot.Digests
	}
	return d
}

// pair tells how two slots differ that stand for each other.
func (at place) pair(p [2]int, a, b verifier.Slot) []Difference {
	onlyA, onlyB := without(a.Digests, b.Digests), without(b.Digests, a.Digests)
	if len(onlyA)+len(onlyB) == 0 && a.Type == b.Type {
		return nil
	}
	where := fmt.Sprintf("slot %d", p[0]+1)
	if p[0] != p[1] {
		where += fmt.Sprintf(" of A, %d of B", p[1]+1)
	}
	said := onlySides(onlyA, onlyB)
	if a.Type != b.Type {
		said = strings.TrimPrefix(said+"; A has the type "+a.Type.String()+", B "+b.Type.String(), "; ")
	}
	d := at.difference(DigestsDiffer, fmt.Sprintf("%s (%s): %s", where, name(a), said))
	d.SlotA, d.SlotB, d.OnlyA, d.OnlyB = p[0]+1, p[1]+1, onlyA, onlyB
	return []Difference{d}
}

// name is the slot's description, safe to print, or else its type.
func name(s verifier.Slot) string {
	if s.Description == "" {
		return s.Type.String()
	}
	const most = 80
	text := s.Description[:min(len(s.Description), most)]
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}

// pairs says which slots stand for each other; -1 for those that stand alone.
func pairs(a, b []verifier.Slot) [][2]int {
	if (len(a)+1)*(len(b)+1) > maxAlignment || digestsOf(a)*digestsOf(b) > maxComparisons {
		return byPlace(len(a), len(b))
	}
	cost := costs(a, b)
	var all [][2]int
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && cost[i][j] == cost[i+1][j+1]+pairCost(a[i], b[j]):
			all = append(all, [2]int{i, j})
			i, j = i+1, j+1
		case i < len(a) && cost[i][j] == cost[i+1][j]+costGap:
			all = append(all, [2]int{i, -1})
			i++
		default:
			all = append(all, [2]int{-1, j})
			j++
		}
	}
	return all
}

func digestsOf(slots []verifier.Slot) (n int) {
	for _, s := range slots {
		n += len(s.Digests)
	}
	return n
}

// costs is the table of Wagner and Fischer: [i][j] is what it takes to turn a[i:] into b[j:].
func costs(a, b []verifier.Slot) [][]int {
	cost := make([][]int, len(a)+1)
	for i := len(a); i >= 0; i-- {
		cost[i] = make([]int, len(b)+1)
		for j := len(b); j >= 0; j-- {
			switch {
			case i == len(a):
				cost[i][j] = (len(b) - j) * costGap
			case j == len(b):
				cost[i][j] = (len(a) - i) * costGap
			default:
				cost[i][j] = min(cost[i+1][j+1]+pairCost(a[i], b[j]), cost[i+1][j]+costGap, cost[i][j+1]+costGap)
			}
		}
	}
	return cost
}

func pairCost(a, b verifier.Slot) int {
	common := slices.ContainsFunc(a.Digests, func(d verifier.Hex) bool { return contains(b.Digests, d) })
	switch {
	case common && a.Type == b.Type:
		return 0
	case common || a.Type == b.Type:
		return costChanged
	default:
		return costOther
	}
}

func byPlace(n, m int) [][2]int {
	all := make([][2]int, 0, max(n, m))
	for i := range max(n, m) {
		p := [2]int{i, i}
		if i >= n {
			p[0] = -1
		}
		if i >= m {
			p[1] = -1
		}
		all = append(all, p)
	}
	return all
}
