package txt_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trustpool/trustpool/agent/internal/txt"
)

// launched is what a Dell E5470 showed after tboot's launch.
func launched() txt.Registers {
	return txt.Registers{STS: 0x180b1, E2STS: 0xe, DIDVID: 0x00000001b0068086}
}

func TestRegistersAreReadFromMemory(t *testing.T) {
	t.Parallel()

	m := memory{registers: map[int64]uint64{0: 0x180b1, 8: 1, 0x30: 0xC0000001, 0x8F0: 0xe, 0x110: 0x00000001b0068086}}

	got, err := txt.ReadRegisters(m)
	if err != nil {
		t.Fatal(err)
	}

	want := launched()
	want.ESTS, want.ErrorCode = 1, 0xC0000001

	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNotIntelHasNoRegisters(t *testing.T) {
	t.Parallel()

	for name, didvid := range map[string]uint64{"nothing answers": ^uint64(0), "zeros": 0, "another vendor": 0x1022} {
		if _, err := txt.ReadRegisters(memory{registers: map[int64]uint64{0x110: didvid}}); !errors.Is(err, txt.ErrNoRegisters) {
			t.Errorf("%s: %v", name, err)
		}
	}

	if _, err := txt.ReadRegisters(strings.NewReader("")); !errors.Is(err, txt.ErrNoRegisters) {
		t.Errorf("memory that ends below them: %v", err)
	}
}

func TestSecureLaunchRegistersAreReadWithTheirNUL(t *testing.T) {
	t.Parallel()

	write := func(t *testing.T, change map[string]string) string {
		dir := t.TempDir()
		files := map[string]string{
			"sts": "0x00000000000180b1\n\x00", "ests": "0x00\n\x00", "errorcode": "0x00000000\n\x00",
			"didvid": "0x00000001b0068086\n\x00", "e2sts": "0x000000000000000e\n\x00",
		}

		for name, text := range change {
			files[name] = text
		}

		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}

		return dir
	}

	got, err := txt.ReadSecureLaunchRegisters(write(t, nil))
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff(launched(), got); diff != "" {
		t.Error(diff)
	}

	for name, text := range map[string]string{"empty": "", "no number": "0xyes\n", "too long": "0x" + strings.Repeat("1", 17), "endless": strings.Repeat("0", 1<<20)} {
		if _, err := txt.ReadSecureLaunchRegisters(write(t, map[string]string{"ests": text})); err == nil || errors.Is(err, txt.ErrNoRegisters) {
			t.Errorf("%s: error %v", name, err)
		}
	}

	if _, err := txt.ReadSecureLaunchRegisters(t.TempDir()); !errors.Is(err, txt.ErrNoRegisters) {
		t.Errorf("no files: %v", err)
	}
}

func TestRegistersAreToldInWords(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		change func(*txt.Registers)
		want   string
	}{
		"launched":                   {func(*txt.Registers) {}, "TXT.STS 0x000180b1: measured launch done, private space open, locality 1 open, locality 2 open"},
		"not launched":               {func(r *txt.Registers) { r.STS = 0 }, "TXT.STS 0x00000000: no measured launch"},
		"memory locked":              {func(r *txt.Registers) { r.STS = 0x41 }, "measured launch done, memory configuration locked"},
		"ended":                      {func(r *txt.Registers) { r.STS = 0x3 }, "measured launch ended (SEXIT)"},
		"no reset":                   {func(*txt.Registers) {}, "TXT.ESTS 0x00: no TXT reset"},
		"reset":                      {func(r *txt.Registers) { r.ESTS = 1 }, "TXT.ESTS 0x01: TXT reset"},
		"no error":                   {func(*txt.Registers) {}, "TXT.ERRORCODE 0x00000000: no error"},
		"the code of success":        {func(r *txt.Registers) { r.ErrorCode = 0xC0000001 }, "no error: what a launch that went well leaves"},
		"a code that is not valid":   {func(r *txt.Registers) { r.ErrorCode = 0x40000001 }, "not valid"},
		"an error of the processor":  {func(r *txt.Registers) { r.ErrorCode = 0x80000005 }, "processor or chipset, type 0x5"},
		"an error of SINIT":          {func(r *txt.Registers) { r.ErrorCode = 0xC0030C61 }, "SINIT, class 0x6, major 0x3, minor 0x3"},
		"an error of the BIOS ACM":   {func(r *txt.Registers) { r.ErrorCode = 0xC0000010 }, "the BIOS ACM, class 0x1, major 0x0, minor 0x0"},
		"an error of another module": {func(r *txt.Registers) { r.ErrorCode = 0xC0000012 }, "ACM module 2, class 0x1"},
		"an error of the MLE":        {func(r *txt.Registers) { r.ErrorCode = 0xC0008003 }, "launched software (MLE), code 0x3"},
		"secrets":                    {func(*txt.Registers) {}, "TXT.E2STS 0x0000000e: secrets in memory"},
		"no secrets":                 {func(r *txt.Registers) { r.E2STS = 0 }, "TXT.E2STS 0x00000000: no secrets in memory"},
		"chipset":                    {func(*txt.Registers) {}, "vendor 8086, device b006, revision 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r := launched()
			tc.change(&r)

			if words := strings.Join(r.Words(), "\n"); !strings.Contains(words, tc.want) {
				t.Errorf("%s\nhas no %q", words, tc.want)
			}
		})
	}
}

func TestRegistersTellWhetherALaunchWentWrong(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		registers        txt.Registers
		launched, failed bool
	}{
		"launched":              {launched(), true, false},
		"launched, with a code": {txt.Registers{STS: 1, ErrorCode: 0xC0000001}, true, false},
		"never tried":           {txt.Registers{}, false, false},
		"code that is invalid":  {txt.Registers{ErrorCode: 0x40030C61}, false, false},
		"failed":                {txt.Registers{ErrorCode: 0xC0030C61}, false, true},
		"reset":                 {txt.Registers{ESTS: 1}, false, true},
	} {
		if got := tc.registers; got.Launched() != tc.launched || got.Failed() != tc.failed {
			t.Errorf("%s: launched %t, failed %t", name, got.Launched(), got.Failed())
		}
	}
}
