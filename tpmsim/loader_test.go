package tpmsim_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

func TestLogsOfAllLoadersReplay(t *testing.T) {
	t.Parallel()
	for _, loader := range tpmsim.Loaders() {
		for _, scenario := range []tpmsim.Scenario{tpmsim.Trusted, tpmsim.Capped} {
			n := tpmsimtest.Start(t, tpmsim.Options{Loader: loader, Scenario: scenario})
			_, events := readLog(t, n.EventLog())

			for name, alg := range hashAlgs() {
				for pcr, want := range replay(t, events, alg) {
					if got := readPCR(t, n, alg, uint(pcr)); !bytes.Equal(got, want) {
						t.Errorf("%s, %s: %s:%d is %x, the log replays to %x", loader, scenario, name, pcr, got, want)
					}
				}
			}
		}
	}
}

func TestTbootIsTheDefaultLoader(t *testing.T) {
	t.Parallel()
	a, b := tpmsimtest.Start(t, tpmsim.Options{}), tpmsimtest.Start(t, tpmsim.Options{Loader: tpmsim.Tboot})
	if !bytes.Equal(a.EventLog(), b.EventLog()) {
		t.Error("the logs differ")
	}
}

func TestTbootSHA256LeavesTheOtherBanksToSINIT(t *testing.T) {
	t.Parallel()
	all := tpmsimtest.Start(t, tpmsim.Options{})
	n := tpmsimtest.Start(t, tpmsim.Options{Loader: tpmsim.TbootSHA256})
	other := tpmsimtest.Start(t, tpmsim.Options{Loader: tpmsim.TbootSHA256, Scenario: tpmsim.OtherKernel})

	_, events := readLog(t, n.EventLog())
	for i, e := range events {
		want := 3
		if e.typ == 0x501 {
			want = 1
		}
		if len(e.digests) != want || e.digests[tpm2.TPMAlgSHA256] == nil {
			t.Errorf("event %d, type %#x: %d digests, want %d with SHA-256", i, e.typ, len(e.digests), want)
		}
	}

	// The banks that tboot does not extend tell nothing of the kernel.
	got, changed, full := allPCRs(t, n), allPCRs(t, other), allPCRs(t, all)
	if got["sha256:17"] != full["sha256:17"] || got["sha256:17"] == changed["sha256:17"] {
		t.Errorf("sha256:17 = %s, all banks: %s, other kernel: %s", got["sha256:17"], full["sha256:17"], changed["sha256:17"])
	}
	for _, pcr := range []string{"sha1:17", "sha384:17"} {
		if got[pcr] == full[pcr] || got[pcr] != changed[pcr] {
			t.Errorf("%s = %s, all banks: %s, other kernel: %s", pcr, got[pcr], full[pcr], changed[pcr])
		}
	}
}

func TestTrenchBootLogsWhatLinuxMeasures(t *testing.T) {
	t.Parallel()
	tboot := tpmsimtest.Start(t, tpmsim.Options{})
	n := tpmsimtest.Start(t, tpmsim.Options{Loader: tpmsim.TrenchBoot})
	_, sinit := readLog(t, tboot.EventLog())
	_, events := readLog(t, n.EventLog())

	const fromSINIT, mle = 16, 8
	for i := range fromSINIT {
		if same := cmp.Equal(sinit[i], events[i], cmp.AllowUnexported(event{})); same == (i == mle) {
			t.Errorf("event %d: as with tboot = %v", i, same)
		}
	}

	want := []string{
		"18 0x502 Measured SLR Table",
		"18 0x502 Measured boot parameters",
		"18 0x502 Measured Kernel command line",
		"18 0x502 Measured EFI memory map",
		"17 0x502 Measured Kernel initrd",
		"18 0x502 Measured TXT OS-MLE data",
	}
	var got []string
	for _, e := range events[fromSINIT:] {
		got = append(got, fmt.Sprintf("%d %#x %s", e.pcr, e.typ, e.data))
		if len(e.digests) != 3 {
			t.Errorf("%s: %d digests, want one for each bank", e.data, len(e.digests))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("PCR, type and data of Linux's events (-want +got):\n%s", diff)
	}
}

func TestTrenchBootMeasuresKernelAndHypervisorAsTheMLE(t *testing.T) {
	t.Parallel()
	trusted := tpmsimtest.Start(t, tpmsim.Options{Loader: tpmsim.TrenchBoot})
	_, want := readLog(t, trusted.EventLog())

	for _, scenario := range []tpmsim.Scenario{tpmsim.OtherHypervisor, tpmsim.OtherKernel} {
		other := tpmsimtest.Start(t, tpmsim.Options{Loader: tpmsim.TrenchBoot, Scenario: scenario})
		_, got := readLog(t, other.EventLog())
		for i := range want {
			if same := cmp.Equal(want[i], got[i], cmp.AllowUnexported(event{})); same == (want[i].typ == 0x404) {
				t.Errorf("%s: event %d of type %#x: same = %v", scenario, i, want[i].typ, same)
			}
		}
	}
}

func TestLoaderHoldsForRebootsToo(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{Loader: tpmsim.TrenchBoot})
	log := n.EventLog()
	if err := n.Reboot(t.Context(), tpmsim.Trusted); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(n.EventLog(), log) {
		t.Error("the log changed")
	}
}

func TestLoaderNames(t *testing.T) {
	t.Parallel()
	for _, l := range tpmsim.Loaders() {
		if got, err := tpmsim.ParseLoader(string(l)); err != nil || got != l {
			t.Errorf("ParseLoader(%q) = %q, %v", l, got, err)
		}
	}
	for _, s := range []string{"", "Tboot", "no such"} {
		if _, err := tpmsim.ParseLoader(s); err == nil || !strings.Contains(err.Error(), "trenchboot") {
			t.Errorf("ParseLoader(%q): error = %v, want one that lists the names", s, err)
		}
	}
	for _, s := range []tpmsim.Scenario{tpmsim.Trusted, tpmsim.NoLaunch} {
		if _, err := tpmsim.Start(t.Context(), tpmsim.Options{Scenario: s, Loader: "no such"}); err == nil {
			t.Errorf("%s: started with an unknown loader", s)
		}
	}
}
