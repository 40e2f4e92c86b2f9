package agent

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/agent/internal/logs"
	"github.com/trustpool/trustpool/agent/internal/tpm"
	"github.com/trustpool/trustpool/agent/internal/txt"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

func TestTheLaunchIsReadFromPCR17AndExplainedByTheRegisters(t *testing.T) {
	t.Parallel()

	filled := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
	failed := &txt.Registers{ErrorCode: 0xC0000000 | 1<<10}

	if !failed.Failed() {
		t.Fatal("the registers tell of no failure")
	}

	for name, test := range map[string]struct {
		value []byte
		host  logs.Host
		want  agentv1.LaunchStatus
		words string
	}{
		"extended": {
			append(filled(0xFF)[1:], 0),
			logs.Host{},
			agentv1.LaunchStatus_LAUNCH_STATUS_LAUNCHED, "a verifier has to say",
		},
		"all zeros": {filled(0), logs.Host{}, agentv1.LaunchStatus_LAUNCH_STATUS_ANOMALOUS, "treat the host as not launched"},
		"all FF":    {filled(0xFF), logs.Host{}, agentv1.LaunchStatus_LAUNCH_STATUS_NOT_LAUNCHED, "no measured launch"},
		"all FF, registers not readable": {
			filled(0xFF),
			logs.Host{RegistersDetail: "no permission"},
			agentv1.LaunchStatus_LAUNCH_STATUS_NOT_LAUNCHED, "no permission",
		},
		"all FF, registers without error": {
			filled(0xFF),
			logs.Host{Registers: &txt.Registers{}},
			agentv1.LaunchStatus_LAUNCH_STATUS_NOT_LAUNCHED, "boot the host through",
		},
		"all FF, registers tell of an error": {
			filled(0xFF),
			logs.Host{Registers: failed},
			agentv1.LaunchStatus_LAUNCH_STATUS_FAILED, "ERRORCODE",
		},
		"all FF, no registers": {
			filled(0xFF),
			logs.Host{NoRegisters: true, RegistersDetail: "none"},
			agentv1.LaunchStatus_LAUNCH_STATUS_NOT_CAPABLE, "no TXT registers",
		},
	} {
		banks := []tpm.Bank{{Selection: tpm.Select(tpm2.TPMAlgSHA256, 17), Values: [][]byte{test.value}}}

		got := readLaunch(banks, test.host, nil)
		if got.status != test.want || !strings.Contains(got.detail, test.words) {
			t.Errorf("%s: %v %q, want %v %q", name, got.status, got.detail, test.want, test.words)
		}
	}

	if got := readLaunch(nil, logs.Host{}, nil); got.status != agentv1.LaunchStatus_LAUNCH_STATUS_UNSPECIFIED {
		t.Errorf("without PCR 17: %v", got.status)
	}
}
