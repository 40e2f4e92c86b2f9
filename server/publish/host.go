package publish

import (
	"slices"
	"time"

	"github.com/trustpool/trustpool/server/api"
)

// host is what is known of one host of the sink.
type host struct {
	// shown is what the sink shows, as far as is known. unsure: a write has failed, and nobody knows what became of it.
	shown  State
	unsure bool
	// read is when the reading began that showed it.
	read time.Duration
	// before is what it showed before it was read the last time; nil: that is not known. first: it was read for the first time.
	before *State
	first  bool

	// answer is the server's last; nil if there is none. It was asked for at asked.
	answer *api.Host
	asked  instant
	// rival is another host of the sink that the server takes for the same node.
	rival string
	// moved: the sink's name of it belonged to another host before.
	moved bool

	// marks are those that it should bear since.
	marks []string
	since time.Duration

	// fails counts failed writes in a row; until retry nothing is given to it.
	fails int
	retry time.Duration
}

// ends is when the answer ends to make the host trusted, whatever becomes of the clock that others set: at its expiry, and after maxAge.
func (h *host) ends(maxAge time.Duration) time.Duration {
	return h.asked.mono + min(maxAge, h.answer.ExpiresAt.Sub(h.asked.wall))
}

// trust is what the host is taken for. Untrusted are only those of which the server has just said so; what nobody knows is Unknown.
func (h *host) trust(now instant, maxAge time.Duration) api.Trust {
	switch {
	case h.answer == nil || h.rival != "" || h.moved:
		return api.Unknown
	case h.answer.TrustedAt(now.wall) && h.answer.Node != "" && now.mono < h.ends(maxAge):
		return api.Trusted
	case h.answer.Trust == api.Untrusted && now.mono < h.asked.mono+maxAge:
		return api.Untrusted
	default:
		return api.Unknown
	}
}

// reason says in a word why the host is what it is taken for.
func (h *host) reason(t api.Trust) string {
	switch {
	case h.rival != "":
		return alarmClaimedTwice
	case h.moved:
		return alarmIdentityChanged
	case h.answer == nil || h.answer.Trust != t:
		return "no_answer" // or none that is fresh
	default:
		return h.answer.Reason
	}
}

// want is what the sink should show of a host.
func (c *Config) want(h *host, t api.Trust) State {
	s := State{Bar: c.bar(t, h.shown), Reason: h.reason(t), Held: h.shown.Held, ID: h.shown.ID}
	if t != api.Trusted {
		return s
	}
	for _, m := range c.Marks {
		if len(m.Pools) == 0 || slices.Contains(m.Pools, h.answer.Pool) {
			s.Marks = append(s.Marks, m.Name)
		}
	}
	slices.Sort(s.Marks)
	return s
}

// bar is what a host should be kept from. One that is no longer known to be untrusted stays as it is: only trust lifts a bar, so that a node, or a server, that comes and goes does not have guests
// come and go.
func (c *Config) bar(t api.Trust, shown State) Bar {
	most := NoBar // that the config has
	if c.Bars.NoNewGuests == Untrusted || c.Bars.NoNewGuests == NotTrusted {
		most = NoNewGuests
	}
	if c.Bars.NoGuests == Untrusted {
		most = NoGuests
	}
	switch {
	case shown.Held:
		return shown.Bar
	case t == api.Trusted:
		return NoBar
	case t == api.Untrusted:
		return most
	case c.Bars.NoNewGuests == NotTrusted:
		return max(NoNewGuests, min(shown.Bar, most))
	default:
		return min(shown.Bar, most)
	}
}

// same tells whether two states show the same.
func same(a, b State) bool { return a.Bar == b.Bar && slices.Equal(a.Marks, b.Marks) }

// lacking are the marks of a that b has not.
func lacking(a, b []string) []string {
	var marks []string
	for _, m := range a {
		if !slices.Contains(b, m) {
			marks = append(marks, m)
		}
	}
	return marks
}
