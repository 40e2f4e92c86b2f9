package console

import (
	"strings"
	"testing"
)

func TestColoursOnlyWhereAskedFor(t *testing.T) {
	t.Parallel()

	if got := (&Page{}).Bad("no"); got != "no" {
		t.Errorf("got %q", got)
	}
	if got := (&Page{Colour: true}).Bad("no"); got != "\x1b[31;1mno\x1b[0m" {
		t.Errorf("got %q", got)
	}
	if wantsColour(&strings.Builder{}) {
		t.Error("colours for something that is no terminal")
	}
}

func TestPrintableKeepsWordsInTheirLine(t *testing.T) {
	t.Parallel()

	const hostile = "a\x1b[2J\r\u202eb\nTRUSTED ü"
	if got := Printable(hostile); got != "a\ufffd[2J\ufffd\ufffdb\ufffdTRUSTED ü" {
		t.Errorf("got %q", got)
	}
	if got := PrintableLines(hostile); got != "a\ufffd[2J\ufffd\ufffdb\n  TRUSTED ü" {
		t.Errorf("got %q", got)
	}
}

func TestATableHasColumnsAndKeepsWordsInTheirCell(t *testing.T) {
	t.Parallel()

	p := &Page{}
	p.Table([]string{"NAME", "STATE"}, [][]Cell{Cells("a\x1b[2J\nb", "held"), Cells("", "ü"), {{Text: "x"}, {Text: "red", Paint: (&Page{Colour: true}).Bad}}})
	const want = "NAME     STATE\na\ufffd[2J\ufffdb  held\n-        ü\nx        \x1b[31;1mred\x1b[0m\n"
	if got := p.String(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
