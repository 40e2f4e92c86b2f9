package fleet

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/server/api"
)

func TestNodeSetLeavesAloneWhatNoFlagNames(t *testing.T) {
	t.Parallel()

	there := api.NodeSpec{
		Name: "a", Aliases: []string{"b", "c"}, Address: "a:1", ServerName: "s", Pool: "gold", Labels: map[string]string{"rack": "7", "row": "b"}, Binding: "inventory",
		EK: &api.ExpectedEK{Name: "000b"}, Record: []byte(`{}`),
	}
	f := &setFlags{
		nodeFlags:  nodeFlags{spec: api.NodeSpec{Pool: "silver", Address: "not given"}, labels: map[string]string{"rack": "8"}},
		addAliases: []string{"d"}, removeAliases: []string{"B"}, removeLabels: []string{"row"},
	}
	got, err := f.change(there, []string{"pool"})
	if err != nil {
		t.Fatal(err)
	}
	want := there
	want.Pool, want.Aliases, want.Labels = "silver", []string{"c", "d"}, map[string]string{"rack": "8"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	f = &setFlags{nodeFlags: nodeFlags{spec: api.NodeSpec{Binding: "chain"}}}
	if got, err := f.change(there, []string{"binding"}); err != nil || got.EK != nil {
		t.Errorf("an EK that no level looks at: %v, %v", got.EK, err)
	}
	f = &setFlags{removeAliases: []string{"x"}}
	if _, err := f.change(there, nil); !isUsage(err) {
		t.Errorf("an alias that is not there: %v", err)
	}
}

func TestATokenEndsInTheFuture(t *testing.T) {
	t.Parallel()

	for text, want := range map[string]time.Time{
		"":                     {},
		"48h":                  now().Add(48 * time.Hour),
		"2027-01-31":           time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
		"2027-01-31T12:00:00Z": time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC),
	} {
		if got, err := parseEnd(text, now()); err != nil || !got.Equal(want) {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"0s", "-1h", "2020-01-01", "tomorrow"} {
		if _, err := parseEnd(text, now()); !isUsage(err) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestARequirementIsAPartAndAMatch(t *testing.T) {
	t.Parallel()

	got, err := parseRequires([]string{"platform=any_of", "hypervisor=all_of"})
	if diff := cmp.Diff([]api.Requirement{{Part: "platform", Match: "any_of"}, {Part: "hypervisor", Match: "all_of"}}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, word := range []string{"platform", "=any_of", "platform="} {
		if _, err := parseRequires([]string{word}); !isUsage(err) {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func TestATimeSpanIsToldInItsLargestUnit(t *testing.T) {
	t.Parallel()

	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m", 59 * time.Minute: "59m", 25 * time.Hour: "25h", 49 * time.Hour: "2d",
	} {
		if got := age(now().Add(-d), now()); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	if got := stamp(time.Time{}, now()); got != "-" {
		t.Errorf("no time: %q", got)
	}
}

func isUsage(err error) bool {
	_, usage := errors.AsType[daemon.UsageError](err)
	return usage
}
