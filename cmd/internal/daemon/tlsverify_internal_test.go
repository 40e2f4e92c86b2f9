package daemon

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/trustpool/trustpool/tpmsim/pki"
)

func TestWhoWasLetInIsOutWhenTheCertificateEnds(t *testing.T) {
	t.Parallel()

	ca, err := pki.New("test")
	if err != nil {
		t.Fatal(err)
	}

	now := time.Now()

	pair, err := ca.Issue(pki.Leaf{Client: true, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}

	m := &material{authorities: ca.Pool()}
	chain := []*x509.Certificate{pair.Certificate.Leaf}

	if err := m.verify(chain, now); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		then time.Duration
		want string
	}{{2 * time.Minute, "is after"}, {-2 * time.Minute, "is before"}} {
		if err := m.verify(chain, now.Add(test.then)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v later: %v", test.then, err)
		}
	}

	if err := m.verify(chain, now); err != nil {
		t.Error(err)
	}
}
