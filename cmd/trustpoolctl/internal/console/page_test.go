package console

import (
	"encoding/json"
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

func TestJSONKeepsWordsInTheirLine(t *testing.T) {
	t.Parallel()

	const hostile = "a\x1b[2J\r\u202e\u009b\x7f\U000e0041 \u00fc\U0001d11e"
	text, err := JSON(map[string]string{"name": hostile}, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"name":"a\u001b[2J\r\u202e\u009b\u007f\udb40\udc41 ü𝄞"}` + "\n"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
	var back map[string]string
	if err := json.Unmarshal([]byte(text), &back); err != nil || back["name"] != hostile {
		t.Errorf("read back: %q, %v", back["name"], err)
	}
}
