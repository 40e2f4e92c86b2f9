package console

import (
	"strings"
	"unicode/utf8"
)

// Cell is one cell of a table.
type Cell struct {
	// Text may be anybody's: what is not printable is replaced.
	Text string
	// Paint gives it a colour, if not nil.
	Paint func(string) string
}

// Cells makes cells without colours.
func Cells(texts ...string) []Cell {
	cells := make([]Cell, 0, len(texts))
	for _, text := range texts {
		cells = append(cells, Cell{Text: text})
	}
	return cells
}

// Table writes rows below a head, in columns. Each row has as many cells as the head.
func (p *Page) Table(head []string, rows [][]Cell) {
	widths := make([]int, len(head))
	for _, row := range append([][]Cell{Cells(head...)}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cellText(cell)))
		}
	}
	top := Cells(head...)
	for i := range top {
		top[i].Paint = p.Head
	}
	p.row(top, widths)
	for _, row := range rows {
		p.row(row, widths)
	}
}

func (p *Page) row(cells []Cell, widths []int) {
	var line strings.Builder
	for i, cell := range cells {
		text := cellText(cell)
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+2)
		if cell.Paint != nil {
			text = cell.Paint(text)
		}
		line.WriteString(text)
		if i < len(cells)-1 {
			line.WriteString(pad)
		}
	}
	p.Line("%s", line.String())
}

// cellText is what is shown; what is empty is a dash, so that programs find as many words as there are columns.
func cellText(c Cell) string {
	if c.Text == "" {
		return "-"
	}
	return Printable(c.Text)
}
