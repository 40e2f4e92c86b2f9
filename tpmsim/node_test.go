package tpmsim_test

import (
	"testing"
	"time"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

func TestSmoke(t *testing.T) {
	for _, s := range tpmsim.Scenarios() {
		a := time.Now()
		n := tpmsimtest.Start(t, tpmsim.Options{Scenario: s})
		t.Log(s, time.Since(a), len(n.EventLog()))
		a = time.Now()
		if err := n.Reboot(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		t.Log("reboot", time.Since(a))
	}
}
