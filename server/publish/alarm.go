package publish

import (
	"slices"

	"github.com/trustpool/trustpool/server/api"
)

// The kinds of alarms.
const (
	// alarmForeignMark: somebody else has marked a host as trusted that is not.
	alarmForeignMark = "foreign_mark"
	// alarmClaimedTwice: the server takes two hosts of the sink for one node.
	alarmClaimedTwice = "claimed_twice"
	// alarmIdentityChanged: a name in the sink belongs to another host than before.
	alarmIdentityChanged = "identity_changed"
)

// lookForForeign finds marks that hosts bear and should not, and that this publisher did not leave there. They go with the next write in any case; this only says so. The server has been asked after the
// sink was read: what it says is newer than the marks.
func (p *Publisher) lookForForeign() {
	for name, h := range p.hosts {
		now := p.clock()
		t := h.trust(now, p.config.MaxAge)
		want := p.config.want(h, t).Marks
		foreign := lacking(h.shown.Marks, want)
		switch {
		case len(foreign) == 0:
		case h.first:
			p.Logger.Warn("a host bears marks that it should not, from before this publisher began", "host", name, "marks", foreign, "reason", h.reason(t))
		case h.before == nil || len(lacking(foreign, h.before.Marks)) == 0:
			// It bore them all the time, or a write of ours may have set them.
		case !p.settled(h, t, want, now):
			p.Logger.Warn("a host bears marks that it should not: another publisher was late, or somebody sets them", "host", name, "marks", foreign, "reason", h.reason(t))
		default:
			p.alarm(alarmForeignMark, name, h, "somebody else has marked a host as trusted that is not", "marks", foreign, "reason", h.reason(t))
		}
	}
}

// settled tells whether it has been so long that a host should not bear other marks that no publisher can know less: another one may have set them for a reason that ceased to be meanwhile, and it may
// go by an answer as old as an answer counts.
func (p *Publisher) settled(h *host, t api.Trust, want []string, now instant) bool {
	slack := p.config.MaxAge + callTimeout
	if slices.Equal(h.marks, want) && now.mono-h.since > slack {
		return true
	}
	return t == api.Untrusted && now.wall.Sub(h.answer.ChangedAt) > slack
}

// alarm tells of what a human has to look at.
func (p *Publisher) alarm(kind, name string, h *host, message string, more ...any) {
	node := ""
	if h.answer != nil {
		node = h.answer.Node
	}
	p.Metrics.alarms.WithLabelValues(kind).Inc()
	p.Logger.Error(message, append([]any{"alarm", kind, "host", name, "node", node}, more...)...)
}
