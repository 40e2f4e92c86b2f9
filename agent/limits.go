package agent

import (
	"cmp"
	"sync"
	"time"

	"golang.org/x/time/rate"

	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

// limits bound the calls of one identity. The zero value lets nothing through.
type limits struct {
	rate       float64 // calls a second
	burst      int
	concurrent int
}

// limits fills in the defaults.
func (l Limits) limits() limits {
	perSecond := cmp.Or(l.Rate, 100)

	return limits{rate: perSecond, burst: cmp.Or(l.Burst, max(1, int(2*perSecond))), concurrent: cmp.Or(l.Concurrent, 16)}
}

func (l limits) orMore(other limits) limits {
	return limits{rate: max(l.rate, other.rate), burst: max(l.burst, other.burst), concurrent: max(l.concurrent, other.concurrent)}
}

// limiters count the calls of each identity.
type limiters struct {
	mu  sync.Mutex
	all map[string]*limiter
}

// limiter counts the calls of one identity.
type limiter struct {
	limits   limits
	rate     *rate.Limiter
	underWay int // guarded by limiters.mu
}

// maxIdentities is when identities that have nothing under way are forgotten. Only those that a rule knows are counted at all, but its pattern may match many.
const maxIdentities = 4096

// enter counts one more call. It is refused if the caller has too many under way, or comes too soon; else leave has to be called at its end.
func (l *limiters) enter(identity string, bounds limits) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	one := l.of(identity, bounds)

	if one.underWay >= bounds.concurrent {
		return nil, refuse(agentv1.ErrorReason_ERROR_REASON_TOO_MANY_CALLS)
	}

	if reservation := one.rate.Reserve(); reservation.Delay() > 0 {
		delay := reservation.Delay()
		reservation.Cancel()

		return nil, &refusal{reason: agentv1.ErrorReason_ERROR_REASON_RATE_LIMITED, retry: delay.Round(time.Millisecond) + time.Millisecond}
	}

	one.underWay++

	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()

		one.underWay--
	}, nil
}

// of returns the limiter of an identity. Other bounds than before, after the rules changed, are taken over.
func (l *limiters) of(identity string, bounds limits) *limiter {
	if one, ok := l.all[identity]; ok {
		if one.limits != bounds {
			one.limits = bounds
			one.rate.SetLimit(rate.Limit(bounds.rate))
			one.rate.SetBurst(bounds.burst)
		}

		return one
	}

	if len(l.all) >= maxIdentities {
		l.forget()
	}

	if l.all == nil {
		l.all = make(map[string]*limiter)
	}

	one := &limiter{limits: bounds, rate: rate.NewLimiter(rate.Limit(bounds.rate), bounds.burst)}
	l.all[identity] = one

	return one
}

// forget drops those that would be counted in the same way if they were new.
func (l *limiters) forget() {
	for identity, one := range l.all {
		if one.underWay == 0 && one.rate.Tokens() >= float64(one.limits.burst) {
			delete(l.all, identity)
		}
	}
}
