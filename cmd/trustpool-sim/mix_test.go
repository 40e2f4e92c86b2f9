package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestAMixNamesTheLastNodes(t *testing.T) {
	t.Parallel()

	for _, test := range []struct {
		mix   string
		nodes int
		want  string // the error, if it begins with !
	}{
		{"", 2, "[trusted trusted]"},
		{"no-launch", 2, "[trusted no-launch]"},
		{"no-launch=2,capped=1", 4, "[trusted no-launch no-launch capped]"},
		{"no-launch=0", 1, "[trusted]"},
		{"no-launch=2", 1, "!1 nodes are not enough for a mix of 2"},
		{"perfect=1", 3, `!unknown scenario "perfect"`},
		{"no-launch=-1", 3, "!no number of nodes"},
		{"no-launch=many", 3, "!no number of nodes"},
		{"no-launch=99999999", 3, "!no number of nodes"},
	} {
		got, err := parseMix(test.mix, test.nodes)
		if want, isError := strings.CutPrefix(test.want, "!"); isError {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q of %d: %v", test.mix, test.nodes, err)
			}
		} else if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q of %d: %v, %v", test.mix, test.nodes, got, err)
		}
	}
}
