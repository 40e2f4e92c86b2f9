package logs

import (
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhyMemoryIsClosedIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		err  error
		c    circumstances
		want []string
	}{
		"no device":              {unix.ENOENT, circumstances{}, []string{"there is no /dev/mem", "CONFIG_DEVMEM", "agent.yaml"}},
		"mode":                   {unix.EACCES, circumstances{rawIO: true}, []string{"by root only", "trustpool-agent collect"}},
		"mode, under lockdown":   {unix.EACCES, circumstances{lockdown: "none [integrity] confidentiality"}, []string{"by root only"}},
		"lockdown":               {unix.EPERM, circumstances{lockdown: "none [integrity] confidentiality", rawIO: true}, []string{"locked down (integrity", "Secure Boot"}},
		"stronger lockdown":      {unix.EPERM, circumstances{lockdown: "none integrity [confidentiality]", rawIO: true}, []string{"locked down (confidentiality"}},
		"no lockdown, no cap":    {unix.EPERM, circumstances{lockdown: "[none] integrity confidentiality"}, []string{"CAP_SYS_RAWIO"}},
		"no lockdown known":      {unix.EPERM, circumstances{}, []string{"CAP_SYS_RAWIO"}},
		"strict memory":          {unix.EPERM, circumstances{lockdown: "[none] integrity confidentiality", rawIO: true}, []string{"CONFIG_STRICT_DEVMEM"}},
		"lockdown file is weird": {unix.EPERM, circumstances{lockdown: "[", rawIO: true}, []string{"CONFIG_STRICT_DEVMEM"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got := memoryDenied("/dev/mem", &fs.PathError{Op: "open", Path: "/dev/mem", Err: tc.err}, tc.c)
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q has no %q", got, want)
				}
			}

			if plain(got) != got {
				t.Errorf("%q is too long", got)
			}
		})
	}
}
