package verifier

import (
	"testing"
	"time"
)

func TestWithoutAWayToARootNothingIsTakenForUnrevoked(t *testing.T) {
	t.Parallel()
	if newCheck(CheckEKRevocation, checkRevocation(make([]CRL, 1), nil, time.Unix(1, 0))).Outcome == Passed {
		t.Error("it passed")
	}
}
