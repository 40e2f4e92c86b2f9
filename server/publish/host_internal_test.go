package publish

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/server/api"
)

// noon is when the answer was asked for, in these tests.
var noon = instant{wall: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), mono: time.Hour}

func (i instant) after(wall, mono time.Duration) instant {
	return instant{wall: i.wall.Add(wall), mono: i.mono + mono}
}

// answered is a host that the server said to be trusted for 5 minutes.
func answered(change func(*api.Host)) *host {
	answer := api.Host{Host: "a", Node: "a.example", Pool: "gold", Verdict: api.Verdict{Trust: api.Trusted, Reason: "ok", ExpiresAt: noon.wall.Add(5 * time.Minute)}}
	if change != nil {
		change(&answer)
	}
	return &host{answer: &answer, asked: noon}
}

func TestTrustEndsByWhicheverClockIsFirst(t *testing.T) {
	t.Parallel()
	soon := func(h *api.Host) { h.ExpiresAt = noon.wall.Add(10 * time.Second) }
	for name, test := range map[string]struct {
		host *host
		now  instant
		want api.Trust
	}{
		"just asked":                                   {answered(nil), noon, api.Trusted},
		"a moment before max_age":                      {answered(nil), noon.after(59*time.Second, 59*time.Second), api.Trusted},
		"max_age":                                      {answered(nil), noon.after(time.Minute, time.Minute), api.Unknown},
		"max_age, the clock was set back":              {answered(nil), noon.after(-24*time.Hour, time.Minute), api.Unknown},
		"a moment before it expires":                   {answered(soon), noon.after(9*time.Second, 9*time.Second), api.Trusted},
		"it expires":                                   {answered(soon), noon.after(10*time.Second, 10*time.Second), api.Unknown},
		"it expires, the clock was set back":           {answered(soon), noon.after(-24*time.Hour, 10*time.Second), api.Unknown},
		"it expires by a clock that was set forward":   {answered(soon), noon.after(24*time.Hour, time.Second), api.Unknown},
		"a clock that was wrong when the server asked": {answered(func(h *api.Host) { h.ExpiresAt = noon.wall.Add(24 * time.Hour) }), noon.after(time.Minute, time.Minute), api.Unknown},
		"no answer":                                    {&host{}, noon, api.Unknown},
		"a zero answer":                                {answered(func(h *api.Host) { *h = api.Host{} }), noon, api.Unknown},
		"trusted without an end":                       {answered(func(h *api.Host) { h.ExpiresAt = time.Time{} }), noon, api.Unknown},
		"trusted without a node":                       {answered(func(h *api.Host) { h.Node = "" }), noon, api.Unknown},
		"a word that nobody knows":                     {answered(func(h *api.Host) { h.Trust = "TRUSTED" }), noon, api.Unknown},
		"untrusted":                                    {answered(func(h *api.Host) { h.Trust = api.Untrusted }), noon, api.Untrusted},
		"untrusted, but that was long ago":             {answered(func(h *api.Host) { h.Trust = api.Untrusted }), noon.after(0, time.Minute), api.Unknown},
	} {
		if got := test.host.trust(test.now, time.Minute); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestAMarkStandsForPools(t *testing.T) {
	t.Parallel()
	c := Config{Marks: []MarkConfig{{Name: "Z_ANY"}, {Name: "GOLD", Pools: []string{"silver", "gold"}}, {Name: "SILVER", Pools: []string{"silver"}}}}
	if diff := cmp.Diff([]string{"GOLD", "Z_ANY"}, c.want(answered(nil), api.Trusted).Marks); diff != "" {
		t.Errorf("of a host in gold (-want +got):\n%s", diff)
	}
	for _, trust := range []api.Trust{api.Untrusted, api.Unknown} {
		if got := c.want(answered(nil), trust).Marks; len(got) > 0 {
			t.Errorf("%s: %q", trust, got)
		}
	}
}

func TestTheReasonForABarIsTheVerdicts(t *testing.T) {
	t.Parallel()
	h := answered(func(h *api.Host) { h.Trust, h.Reason = api.Untrusted, "pcr_mismatch" })
	if got := (&Config{Bars: BarsConfig{Untrusted, Never}}).want(h, api.Untrusted); got.Bar != NoNewGuests || got.Reason != "pcr_mismatch" {
		t.Errorf("%+v", got)
	}
}

func TestBarsFollowThePolicy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		policy BarsConfig
		trust  api.Trust
		shown  State
		want   Bar
	}{
		"never": {BarsConfig{Never, Never}, api.Untrusted, State{}, NoBar},
		"never, but there is one of an earlier config": {BarsConfig{Never, Never}, api.Untrusted, State{Bar: NoGuests}, NoBar},
		"a zero policy bars nobody":                    {BarsConfig{}, api.Untrusted, State{}, NoBar},
		"untrusted":                                    {BarsConfig{Untrusted, Never}, api.Untrusted, State{}, NoNewGuests},
		"untrusted, and nothing is known":              {BarsConfig{Untrusted, Never}, api.Unknown, State{}, NoBar},
		"untrusted, and then nothing is known":         {BarsConfig{Untrusted, Never}, api.Unknown, State{Bar: NoNewGuests}, NoNewGuests},
		"untrusted, and then it is trusted":            {BarsConfig{Untrusted, Never}, api.Trusted, State{Bar: NoNewGuests}, NoBar},
		"not trusted":                                  {BarsConfig{NotTrusted, Never}, api.Unknown, State{}, NoNewGuests},
		"not trusted, and untrusted at that":           {BarsConfig{NotTrusted, Never}, api.Untrusted, State{}, NoNewGuests},
		"not trusted, but it is":                       {BarsConfig{NotTrusted, Never}, api.Trusted, State{Bar: NoNewGuests}, NoBar},
		"evict":                                        {BarsConfig{NotTrusted, Untrusted}, api.Untrusted, State{}, NoGuests},
		"evict, and nothing is known":                  {BarsConfig{NotTrusted, Untrusted}, api.Unknown, State{}, NoNewGuests},
		"evict, and then nothing is known":             {BarsConfig{NotTrusted, Untrusted}, api.Unknown, State{Bar: NoGuests}, NoGuests},
		"evict only, and nothing is known":             {BarsConfig{Never, Untrusted}, api.Unknown, State{}, NoBar},
		"evict no more, by a new config":               {BarsConfig{NotTrusted, Never}, api.Unknown, State{Bar: NoGuests}, NoNewGuests},
		"an operator holds it":                         {BarsConfig{NotTrusted, Untrusted}, api.Untrusted, State{Held: true}, NoBar},
		"an operator holds it, and it is trusted":      {BarsConfig{NotTrusted, Untrusted}, api.Trusted, State{Held: true, Bar: NoNewGuests}, NoNewGuests},
	} {
		c := Config{Bars: test.policy}
		if got := c.bar(test.trust, test.shown); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
