package verifier

import (
	"crypto/x509"
	"testing"
	"time"
)

func TestWithoutAWayToARootNothingIsTakenForUnrevoked(t *testing.T) {
	t.Parallel()
	for _, ways := range [][][]*x509.Certificate{nil, {}, {nil}, {{}}} {
		if newCheck(CheckEKRevocation, checkRevocation(make([]CRL, 1), ways, time.Unix(1, 0))).Outcome == Passed {
			t.Errorf("%v passed", ways)
		}
	}
}
