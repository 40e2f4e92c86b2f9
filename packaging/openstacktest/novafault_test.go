//go:build openstack

package openstacktest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// late is how much later than it should something may happen, on a machine with much else to do.
const late = 30 * time.Second

// markedItself has an untrusted host bear the trait, as whoever took it over can: each nova-compute has a credential for Placement. It does so again and again: for as long as another publisher might be
// late, the first time may be laid to that one.
func (x *story) markedItself(t *testing.T) {
	alarm := `"alarm":"foreign_mark","host":"` + host3 + `"`

	eventually(t, siteLimit, func() bool {
		began := time.Now()
		x.mark(t, host3, true)
		x.bear(t, host1, host2)
		t.Logf("figure: a host that is not trusted marks itself: the trait is gone after %d ms", time.Since(began).Milliseconds())

		return strings.Contains(x.publisher.said.String(), alarm)
	}, func() string { return fmt.Sprintf("the publisher does not say %s", alarm) })
	x.landsOn(t, trusted, []string{host1, host2})
}

// publisherKilled leaves a second publisher, with which the first one has shared the work.
func (x *story) publisherKilled(t *testing.T) {
	second := x.startPublisher(t, x.nova, "")
	x.publisher.end(os.Kill)
	x.publisher = second

	x.reboot(t, host1, otherHypervisor)
	x.bear(t, host2)
	x.landsOn(t, trusted, []string{host2})
	x.landsOn(t, plain, all())
}

func (x *story) serverKilled(t *testing.T) {
	x.server.end(os.Kill)

	began := time.Now()
	x.bear(t)

	took := time.Since(began)
	t.Logf("figure: the attestation server is killed: the traits are gone after %d ms, with max_age %s", took.Milliseconds(), maxAge)

	if took > maxAge+late {
		t.Errorf("the traits were there %s after the server was killed", took)
	}

	x.landsNowhere(t, trusted)
	x.landsOn(t, plain, all())
	x.runs(t, x.guest)

	x.startServer(t)
	x.bear(t, host2)
	x.landsOn(t, trusted, []string{host2})
}

// allKilled kills the server and the last publisher at once, so that nobody is left who takes traits away but systemd, by the unit's ExecStopPost.
func (x *story) allKilled(t *testing.T) {
	x.publisher.end(os.Kill)
	x.server.end(os.Kill)
	x.landsOn(t, plain, all())

	x.withdraw(t)

	if left := x.bearers(t); len(left) > 0 {
		t.Errorf("%v are left", left)
	}

	x.landsNowhere(t, trusted)
	x.landsOn(t, plain, all())
	x.runs(t, x.guest)

	x.startServer(t)
	x.publisher = x.startPublisher(t, x.nova, "")
	x.bear(t, host2)
}
