//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/internal/witness"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/verifier"
)

func TestChaosTPMSlow(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	f, began, release := held()
	n.on(f)
	t.Cleanup(release)

	patient := make(chan error, 1)
	go func() {
		_, err := n.quote(context.Background(), 0)
		patient <- err
	}()
	<-began

	hurried, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()

	if _, err := n.quote(hurried, 2); heard(err) != late && heard(err) != "DEADLINE_TOO_SHORT" {
		t.Errorf("who is in a hurry hears %s", heard(err))
	}

	if code, body := n.get(t, "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %s", code, body)
	}

	if n.metric(t, "trustpool_agent_tpm_hung") != 0 {
		t.Error("a slow TPM is called hung")
	}

	release()

	if err := <-patient; err != nil {
		t.Errorf("who waited: %v", err)
	}

	n.quoteSoon(t)
}

// TestChaosTPMBusy has another program use the TPM all the time.
func TestChaosTPMBusy(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)

	for range 20 {
		made, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(n.sim)
		if err != nil {
			t.Fatal(err)
		}

		if _, err := (tpm2.FlushContext{FlushHandle: made.ObjectHandle}).Execute(n.sim); err != nil {
			t.Fatal(err)
		}
	}

	crowd.hears(t, n, answered)
	crowd.done(t)
}

func TestChaosTPMAsksForARetry(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})

	for name, code := range map[string]tpm2.TPMRC{"retry": tpm2.TPMRCRetry, "yielded": tpm2.TPMRCYielded, "testing": tpm2.TPMRCTesting, "nv_rate": tpm2.TPMRCNVRate} {
		crowd := n.crowd(n.conn)

		// Now and then: nobody notices.
		var commands atomic.Uint32

		n.on(func(cc tpm2.TPMCC, carryOut func() []byte) answer {
			if commands.Add(1)%2 == 1 {
				return answer{bytes: only(code)}
			}

			return none(cc, carryOut)
		})
		crowd.hears(t, n, answered)
		crowd.done(t)

		// For longer than anybody waits: everybody is told.
		crowd = n.crowd(n.conn)
		n.on(says(code, tpm2.TPMCCQuote))
		crowd.hears(t, n, "TPM_BUSY")
		n.on(none)
		crowd.hears(t, n, answered)
		crowd.done(t, "TPM_BUSY", "DEADLINE_TOO_SHORT")

		n.wantMetric(t, fmt.Sprintf(`trustpool_agent_tpm_retries_total{code=%q}`, name), above(0))
	}

	n.wantMetric(t, `trustpool_agent_quotes_total{reason="tpm_busy",result="failed"}`, above(0))
}

// TestChaosTPMCutMidCommand cuts the connection before, in the middle of and after a response, at each command that a start and a quote take.
func TestChaosTPMCutMidCommand(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)

	for _, keep := range []int{-1, 0, 1, 9, 10, 11, 1000} {
		for nth := range int32(3) {
			var commands atomic.Int32

			cut := make(chan struct{})
			n.on(func(cc tpm2.TPMCC, carryOut func() []byte) answer {
				if commands.Add(1) != nth+1 {
					return none(cc, carryOut)
				}

				defer close(cut)

				if keep < 0 {
					return answer{cut: true} // swtpm never sees it
				}

				response := carryOut()

				return answer{bytes: response[:max(0, min(keep, len(response)-1))], cut: true}
			})
			<-cut
			crowd.hears(t, n, answered)
		}
	}

	crowd.done(t, "TPM_ABSENT")
	n.said.wait(t, "cannot quote", "connection to the TPM broken")
	n.wantMetric(t, `trustpool_agent_tpm_errors_total{code="unreachable"}`, above(6))
	n.wantMetric(t, "trustpool_agent_ready", is(1))
}

func TestChaosTPMGoneAndBack(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)

	for range 3 {
		n.pull()
		crowd.hears(t, n, "TPM_ABSENT")

		if code, body := n.get(t, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "TPM_ABSENT") {
			t.Errorf("/readyz: %d %s", code, body)
		}

		if code, body := n.get(t, "/healthz"); code != http.StatusOK {
			t.Errorf("/healthz: %d %s", code, body)
		}

		n.wantMetric(t, "trustpool_agent_ready", is(0))
		n.plug(t)
		crowd.hears(t, n, answered)
	}

	crowd.done(t, "TPM_ABSENT")
	n.said.wait(t, "cannot quote", "TPM not reachable")
	n.wantMetric(t, "trustpool_agent_ready", is(1))
}

// TestChaosTPMResetWithoutRestart resets the TPM and lets something else be launched, while the agent goes on: as a virtual machine whose TPM is restarted, or a chip that fell out.
func TestChaosTPMResetWithoutRestart(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)
	resets := n.quoteSoon(t).GetQuoted()

	for _, next := range []tpmsim.Scenario{tpmsim.Trusted, tpmsim.OtherHypervisor, tpmsim.NoLaunch, tpmsim.Trusted} {
		n.change(t, func() {
			if err := n.sim.Reboot(t.Context(), next); err != nil {
				t.Fatal(err)
			}
		})
		crowd.hears(t, n, answered)

		if quoted := n.quoteSoon(t).GetQuoted(); string(quoted) == string(resets) {
			t.Error("the quote is one of before the reset")
		}
	}

	// A call that meets the reset itself finds a TPM that is not there, or one that was not started.
	crowd.done(t, "TPM_ABSENT", "TPM_FAILED", "PCR_RACE")
	n.wantMetric(t, "trustpool_agent_ready", is(1))
}

func TestChaosTPMCleared(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	before := n.quoteSoon(t).GetAkName()
	crowd := n.crowd(n.conn)

	for i := range 3 {
		if err := n.sim.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}

		n.wantMetric(t, `trustpool_agent_ak_events_total{event="tpm_cleared"}`, above(float64(i)))
		crowd.hears(t, n, answered)
	}

	if string(n.quoteSoon(t).GetAkName()) != string(before) {
		t.Error("the AK is another one")
	}

	crowd.done(t)
	n.said.wait(t, "the AK was gone from its handle and the TPM gave the same one again")
}

// TestChaosTPMReplaced puts another TPM in: nothing is signed any more until an operator acts.
func TestChaosTPMReplaced(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)
	crowd.hears(t, n, answered)
	n.change(t, func() {
		if err := n.sim.Replace(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	crowd.hears(t, n, "AK_INVALIDATED")
	crowd.done(t, "AK_INVALIDATED", "TPM_ABSENT", "TPM_FAILED", "PCR_RACE")

	refused := n.crowd(n.conn)
	for range 10 {
		refused.hears(t, n, "AK_INVALIDATED")
	}

	if answers := refused.count(answered); answers > 0 {
		t.Errorf("%d callers were answered by another TPM", answers)
	}

	refused.end()
	n.wantMetric(t, `trustpool_agent_ak_state{state="tpm_replaced"}`, is(1))
	n.said.wait(t, "cannot quote", "does not have the AK on record")
}

func TestChaosTPMInLockout(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	crowd := n.crowd(n.conn)
	lockOut(t, n.sim)
	crowd.hears(t, n, answered)
	n.kill(t)
	crowd.done(t, unreachable)

	n.launch(t) // neither does a start need what is locked
	n.wantMetric(t, "trustpool_agent_ready", is(1))
}

// lockOut uses an object with a wrong authorisation value until the TPM takes none (TPM 2.0 Part 1, 19.8).
func lockOut(t *testing.T, tpm *tpmsim.Node) {
	t.Helper()

	template := tpm2.ECCSRKTemplate
	template.ObjectAttributes.NoDA = false

	made, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(template),
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{UserAuth: tpm2.TPM2BAuth{Buffer: []byte("right")}}},
	}.Execute(tpm)
	if err != nil {
		t.Fatal(err)
	}

	for range 100 {
		_, err = tpm2.Create{
			ParentHandle: tpm2.AuthHandle{Handle: made.ObjectHandle, Name: made.Name, Auth: tpm2.PasswordAuth([]byte("wrong"))},
			InPublic:     tpm2.New2B(tpm2.ECCSRKTemplate),
		}.Execute(tpm)
		if code, ok := err.(tpm2.TPMRC); ok && code == tpm2.TPMRCLockout { //nolint:errorlint // the TPM's own
			break
		}
	}

	if _, flushErr := (tpm2.FlushContext{FlushHandle: made.ObjectHandle}).Execute(tpm); flushErr != nil || err != tpm2.TPMRCLockout { //nolint:errorlint // the TPM's own
		t.Fatalf("the TPM is not locked: %v, %v", err, flushErr)
	}
}

// TestChaosTPMWithFullNV leaves no room for the AK's handle: quotes cost more, and are the same.
func TestChaosTPMWithFullNV(t *testing.T) {
	t.Parallel()

	n := newNode(t, options{})
	pinned := n.know(t)
	name := n.quoteSoon(t).GetAkName()

	public, ok := witness.Keys(n.sim)(name)
	if !ok {
		t.Fatal("the AK is not in the TPM")
	}

	pinned.AKs = append(pinned.AKs, verifier.AKPin{Name: name, Public: public, Binding: verifier.BindingFirstUse})
	n.witness.Know(pinned)

	if err := n.sim.Clear(t.Context()); err != nil { // the handle is free
		t.Fatal(err)
	}

	n.kill(t)

	if err := n.sim.FillNV(); err != nil {
		t.Fatal(err)
	}

	n.launch(t)
	n.wantMetric(t, "trustpool_agent_ak_transient", is(1))
	n.said.wait(t, "ready to quote", "ak_transient", "true")

	if again := n.quoteSoon(t).GetAkName(); string(again) != string(name) {
		t.Errorf("the AK is %x, not %x", again, name)
	}

	if err := n.sim.FreeNV(); err != nil {
		t.Fatal(err)
	}

	n.kill(t)
	n.launch(t)
	n.wantMetric(t, "trustpool_agent_ak_transient", is(0))
}
