package tpmsim_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/tpmsim/tpmsimtest"
)

func TestHeapHoldsTheLogOfTheLaunch(t *testing.T) {
	t.Parallel()
	for _, layout := range []tpmsim.RootLayout{"", tpmsim.TXTHeap} {
		n := tpmsimtest.Start(t, tpmsim.Options{})
		memory := readMemory(t, writeRoot(t, n, layout))

		element := memory.element(8)
		if len(element) != 20 {
			t.Fatalf("element of %d bytes, want 20", len(element))
		}
		log, buffer := memory.log(element)
		if !bytes.Equal(log, n.EventLog()) {
			t.Errorf("layout %q: the log in the heap is not that of the node", layout)
		}
		if len(buffer) != 0x2000 || len(bytes.Trim(buffer[len(log):], "\x00")) != 0 {
			t.Errorf("layout %q: buffer of %#x bytes, want 0x2000, padded with zeros", layout, len(buffer))
		}
	}
}

func TestHeapPerBankHoldsALogForEachBankThatReplays(t *testing.T) {
	t.Parallel()
	for _, loader := range []tpmsim.Loader{tpmsim.Tboot, tpmsim.TbootSHA256} {
		n := tpmsimtest.Start(t, tpmsim.Options{Loader: loader})
		memory := readMemory(t, writeRoot(t, n, tpmsim.TXTHeapPerBank))

		list := memory.element(7)
		count, list := binary.LittleEndian.Uint32(list), list[4:]
		if count != 3 || len(list) != 3*24 {
			t.Fatalf("%s: %d logs in %d bytes, want 3 in 72", loader, count, len(list))
		}
		var algs []tpm2.TPMAlgID
		for entry := range slices.Chunk(list, 24) {
			alg := tpm2.TPMAlgID(binary.LittleEndian.Uint16(entry))
			algs = append(algs, alg)
			log, buffer := memory.log(entry[4:])
			if len(buffer) != 0x1000 {
				t.Errorf("%s: buffer of %#x bytes for bank %#x, want 0x1000", loader, len(buffer), uint16(alg))
			}

			events := readBankLog(t, log, alg)
			for pcr, want := range replay(t, events, alg) {
				if got := readPCR(t, n, alg, uint(pcr)); !bytes.Equal(got, want) {
					t.Errorf("%s: bank %#x: PCR %d is %x, the log replays to %x", loader, uint16(alg), pcr, got, want)
				}
			}
		}
		if diff := cmp.Diff([]tpm2.TPMAlgID{4, 0xb, 0xc}, algs); diff != "" {
			t.Errorf("%s: banks (-want +got):\n%s", loader, diff)
		}
	}
}

func TestHeapIsAsOddAsRealOnes(t *testing.T) {
	t.Parallel()
	memory := readMemory(t, writeRoot(t, tpmsimtest.Start(t, tpmsim.Options{}), tpmsim.TXTHeap))

	if size := memory.u64(memory.base); size%8 == 0 {
		t.Errorf("BiosData has %d bytes, a multiple of 8", size)
	}
	sinit := memory.table(2)
	if version := binary.LittleEndian.Uint32(sinit); version != 7 {
		t.Errorf("OsSinitData has version %d, want 7", version)
	}
	if capabilities := binary.LittleEndian.Uint32(sinit[80:]); capabilities != 0x601 {
		t.Errorf("capabilities are %#x, not those that are measured", capabilities)
	}
	var kinds []uint32
	for _, e := range memory.elements() {
		kinds = append(kinds, e.kind)
	}
	if want := []uint32{4, 0x7f, 8, 9, 0}; !slices.Equal(kinds, want) {
		t.Errorf("elements %v, want %v", kinds, want)
	}
	if version := binary.LittleEndian.Uint32(memory.table(3)); version != 9 {
		t.Errorf("SinitMleData has version %d, want 9", version)
	}
}

func TestRegistersTellOfTheLaunch(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	memory := readMemory(t, writeRoot(t, n, tpmsim.TXTHeap))

	want := map[int64]uint64{0: 0x180b1, 8: 0, 0x30: 0xc0000001, 0x110: 0x1b0068086, 0x300: 0xb9f20000, 0x308: 0xe0000, 0x8f0: 0xe}
	for offset, value := range want {
		if got := memory.u64(0xfed30000 + offset); got != value {
			t.Errorf("register %#x = %#x, want %#x", offset, got, value)
		}
	}
}

func TestHeapWithoutLaunchHoldsWhatFirmwareLeaves(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{Scenario: tpmsim.NoLaunch})

	for _, layout := range []tpmsim.RootLayout{tpmsim.TXTHeap, tpmsim.TXTHeapPerBank} {
		memory := readMemory(t, writeRoot(t, n, layout))
		for _, offset := range []int64{0, 0x30, 0x8f0} {
			if got := memory.u64(0xfed30000 + offset); got != 0 {
				t.Errorf("%s: register %#x = %#x, want 0", layout, offset, got)
			}
		}
		if got := memory.u64(0xfed30110); got != 0x1b0068086 {
			t.Errorf("%s: TXT.DIDVID = %#x: the machine has TXT all the same", layout, got)
		}
		if got := memory.u64(memory.base); got != 0x2c {
			t.Errorf("%s: BiosData has %#x bytes, want 0x2c", layout, got)
		}
		if got := memory.u64(memory.base + 0x2c); got != 0 {
			t.Errorf("%s: OsMleData has %#x bytes, want none", layout, got)
		}
	}
}

func TestMemoryIsAFileWithHoles(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(filepath.Join(writeRoot(t, tpmsimtest.Start(t, tpmsim.Options{}), tpmsim.TXTHeap), "dev/mem"))
	if err != nil {
		t.Fatal(err)
	}
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 1<<20 {
		t.Errorf("dev/mem takes %d bytes on disk", used)
	}
}

func TestSecureLaunchDirectoryHoldsThePaddedLogAndTheRegisters(t *testing.T) {
	t.Parallel()
	for _, layout := range []tpmsim.RootLayout{"", tpmsim.SecureLaunch} {
		n := tpmsimtest.Start(t, tpmsim.Options{Loader: tpmsim.TrenchBoot})
		root := writeRoot(t, n, layout)

		buffer := readFile(t, root, "sys/kernel/security/slaunch/eventlog")
		log := n.EventLog()
		if len(buffer) != 0x8000 || !bytes.HasPrefix(buffer, log) || len(bytes.Trim(buffer[len(log):], "\x00")) != 0 {
			t.Errorf("layout %q: eventlog of %#x bytes, want the node's log padded with zeros to 0x8000", layout, len(buffer))
		}

		want := map[string]string{
			"sts":        "0x00000000000180b1\n\x00",
			"ests":       "0x00\n\x00",
			"errorcode":  "0xc0000001\n\x00",
			"didvid":     "0x00000001b0068086\n\x00",
			"ver_emif":   "0x9d003000\n\x00",
			"scratchpad": "0x0000000000000000\n\x00",
			"e2sts":      "0x000000000000000e\n\x00",
		}
		got := make(map[string]string)
		for _, name := range fileNames(t, filepath.Join(root, "sys/kernel/security/slaunch/txt")) {
			got[name] = string(readFile(t, root, "sys/kernel/security/slaunch/txt/"+name))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("layout %q: registers (-want +got):\n%s", layout, diff)
		}
		if _, err := os.Stat(filepath.Join(root, "dev/mem")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("layout %q: dev/mem: %v, want none", layout, err)
		}
	}
}

func TestTamperedLogIsServedInEveryLayout(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{Scenario: tpmsim.TamperedLog})

	memory := readMemory(t, writeRoot(t, n, tpmsim.TXTHeap))
	if log, _ := memory.log(memory.element(8)); !bytes.Equal(log, n.EventLog()) {
		t.Error("heap: another log than the node's")
	}
	root := writeRoot(t, n, tpmsim.SecureLaunch)
	if !bytes.HasPrefix(readFile(t, root, "sys/kernel/security/slaunch/eventlog"), n.EventLog()) {
		t.Error("slaunch: another log than the node's")
	}
	memory = readMemory(t, writeRoot(t, n, tpmsim.TXTHeapPerBank))
	log, _ := memory.log(memory.element(7)[4+24+4:])
	events := readBankLog(t, log, tpm2.TPMAlgSHA256)
	if bytes.Equal(replay(t, events, tpm2.TPMAlgSHA256)[17], readPCR(t, n, tpm2.TPMAlgSHA256, 17)) {
		t.Error("heap per bank: sha256:17 replays")
	}
}

func TestRootIsReplacedAtEachCall(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})
	root := t.TempDir()
	const slaunch, memory = "sys/kernel/security/slaunch", "dev/mem"

	for _, c := range []struct {
		scenario tpmsim.Scenario
		layout   tpmsim.RootLayout
		want     []string
	}{
		{tpmsim.Trusted, tpmsim.TXTHeap, []string{memory}},
		{tpmsim.Trusted, tpmsim.SecureLaunch, []string{slaunch}},
		{tpmsim.NoLaunch, tpmsim.SecureLaunch, nil},
		{tpmsim.NoLaunch, tpmsim.TXTHeap, []string{memory}},
		{tpmsim.Trusted, tpmsim.TXTHeapPerBank, []string{memory}},
		{tpmsim.Trusted, tpmsim.NoSource, nil},
	} {
		if err := n.Reboot(t.Context(), c.scenario); err != nil {
			t.Fatal(err)
		}
		if err := n.WriteRoot(root, c.layout); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range []string{memory, slaunch} {
			if _, err := os.Stat(filepath.Join(root, name)); err == nil {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s, %s: %v, want %v", c.scenario, c.layout, got, c.want)
		}
	}
}

func TestSameScenarioGivesTheSameRootButForItsName(t *testing.T) {
	t.Parallel()
	a, b := tpmsimtest.Start(t, tpmsim.Options{}), tpmsimtest.Start(t, tpmsim.Options{})
	rootA, rootB := writeRoot(t, a, tpmsim.TXTHeap), writeRoot(t, b, tpmsim.TXTHeap)

	memoryA, memoryB := readMemory(t, rootA), readMemory(t, rootB)
	if !bytes.Equal(memoryA.bytes(memoryA.base, int(memoryA.size)), memoryB.bytes(memoryB.base, int(memoryB.size))) {
		t.Error("the heaps differ")
	}
	if bytes.Equal(readFile(t, rootA, "sys/class/dmi/id/product_uuid"), readFile(t, rootB, "sys/class/dmi/id/product_uuid")) {
		t.Error("two nodes have the same UUID")
	}
}

func TestUUIDIsOfTheMachineAndNotOfItsTPM(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	n := tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})
	identity := func(n *tpmsim.Node) string {
		root := writeRoot(t, n, tpmsim.NoSource)
		return string(readFile(t, root, "sys/class/dmi/id/product_uuid")) + string(readFile(t, root, "sys/class/dmi/id/product_serial"))
	}

	want := identity(n)
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\nsimulated-[0-9a-f]{8}\n$`).MatchString(want) {
		t.Errorf("UUID and serial number are %q", want)
	}
	if err := n.Replace(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := identity(n); got != want {
		t.Errorf("with another TPM: %q, before %q", got, want)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if got := identity(tpmsimtest.Start(t, tpmsim.Options{StateDir: dir})); got != want {
		t.Errorf("taken up again: %q, before %q", got, want)
	}
}

func TestRootIsRefused(t *testing.T) {
	t.Parallel()
	n := tpmsimtest.Start(t, tpmsim.Options{})

	if err := n.WriteRoot("/", tpmsim.NoSource); err == nil {
		t.Error("this host's own root was taken")
	}
	if err := n.WriteRoot(t.TempDir(), "no such"); err == nil {
		t.Error("an unknown layout was taken")
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "dev/mem"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := n.WriteRoot(root, tpmsim.NoSource); err == nil {
		t.Error("something that is no file was replaced")
	}

	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.WriteRoot(t.TempDir(), tpmsim.TXTHeap); !errors.Is(err, tpmsim.ErrClosed) {
		t.Errorf("after Close: error = %v, want %v", err, tpmsim.ErrClosed)
	}
}

func writeRoot(t *testing.T, n *tpmsim.Node, layout tpmsim.RootLayout) string {
	t.Helper()

	root := filepath.Join(t.TempDir(), "made if missing")
	if err := n.WriteRoot(root, layout); err != nil {
		t.Fatal(err)
	}
	return root
}

func readFile(t *testing.T, root, name string) []byte {
	t.Helper()

	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
