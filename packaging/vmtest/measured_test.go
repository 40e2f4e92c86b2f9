//go:build vm

package vmtest_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/trustpool/trustpool/packaging/vmtest"
	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// measured is a launch, and the values that it gives to PCRs 17 to 19 of the SHA-256 bank.
type measured struct {
	vmtest.Launch
	values map[uint32][]byte
}

// scriptedLaunch takes the launch that every simulated node performs, and its log in the format that TXT leaves it in.
func scriptedLaunch(ctx context.Context) (measured, []byte, error) {
	node, err := tpmsim.Start(ctx, tpmsim.Options{})
	if err != nil {
		return measured{}, nil, err
	}

	raw := node.EventLog()
	if err := node.Close(); err != nil {
		return measured{}, nil, err
	}

	log, err := eventlog.Parse(raw)
	if err != nil {
		return measured{}, nil, err
	}

	m := measured{values: map[uint32][]byte{17: make([]byte, 32), 18: make([]byte, 32), 19: make([]byte, 32)}}

	for _, event := range log.Events {
		if !event.Extended() {
			continue
		}

		digest, is := event.Digest(eventlog.AlgSHA256)
		if !is {
			return measured{}, nil, fmt.Errorf("event %d has no SHA-256 digest", event.Num)
		}

		// What a TPM does (TPM 2.0 Part 1, 17.2), computed here apart from the project's own replay.
		value := sha256.Sum256(append(m.values[event.PCR], digest...))
		m.values[event.PCR] = value[:]

		if event.Type == eventlog.TypeHashStart {
			m.HashStart = event.Data

			continue
		}

		const sinit, environment = 3, 2

		locality := uint8(sinit)
		if event.Type == eventlog.TypeTbootMeasurement {
			locality = environment
		}

		m.Extends = append(m.Extends, vmtest.Extend{
			Locality: locality, PCR: event.PCR, Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: digest}},
		})
	}

	if m.HashStart == nil || len(m.Extends) == 0 {
		return measured{}, nil, errors.New("the log tells of no launch")
	}

	return m, raw, nil
}
