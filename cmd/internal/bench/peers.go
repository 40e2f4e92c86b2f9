package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// peerCases prepares other programs that quote, each on a TPM of its own: the libraries of docs/bench and tpm2_quote.
func (s *stage) peerCases(ctx context.Context, kind string) ([]*series, error) {
	if s.bench.peers == "" {
		return nil, nil
	}

	var set []*series

	for _, library := range []struct{ flag, name string }{
		{"go-attestation", "go-attestation AttestPlatform"},
		{"go-tpm-tools", "go-tpm-tools Attest"},
	} {
		one := &series{name: library.name, calls: s.bench.calls}
		if err := s.startPeer(ctx, one, library.flag, kind); err != nil {
			return nil, fmt.Errorf("%s: %w", library.flag, err)
		}

		set = append(set, one)
	}

	run, err := s.tpm2Quote(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("tpm2_quote: %w", err)
	}

	return append(set, &series{name: "tpm2_quote", run: run, calls: max(1, s.bench.calls/4)}), nil
}

// startPeer starts the program of docs/bench for a series. It reads lines such as {"calls":20}, and answers each with the nanoseconds of the calls.
func (s *stage) startPeer(ctx context.Context, one *series, library, kind string) error {
	dir, err := s.folder()
	if err != nil {
		return err
	}

	tpm, err := startTPM(ctx, dir)
	if err != nil {
		return err
	}

	s.onClose(tpm.stop)

	cmd := exec.Command(s.bench.peers, "-library", library, "-key", kind, "-tpm", tpm.socket) //nolint:gosec // a program that the benchmark is about
	cmd.Stderr = os.Stderr

	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}

	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}

	if err := cmd.Start(); err != nil {
		return err
	}

	s.onClose(func() error { return errors.Join(in.Close(), cmd.Wait()) })

	one.run = one.askPeer(in, bufio.NewReader(out))

	return nil
}

func (one *series) askPeer(in io.Writer, out *bufio.Reader) timed {
	return func(_ context.Context, calls int) ([]time.Duration, error) {
		if _, err := fmt.Fprintf(in, "{\"calls\":%d}\n", calls); err != nil {
			return nil, err
		}

		line, err := out.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("reading from the peer: %w", err)
		}

		var answer struct {
			Nanoseconds []time.Duration `json:"ns"`
			Commands    int             `json:"commands"`
		}

		if err := json.Unmarshal(line, &answer); err != nil {
			return nil, fmt.Errorf("reading from the peer: %w", err)
		}

		one.commands = answer.Commands

		return answer.Nanoseconds, nil
	}
}

// tpm2Quote runs the command of tpm2-tools, as a script would, with the key that a daemon made.
func (s *stage) tpm2Quote(ctx context.Context, kind string) (timed, error) {
	program, err := exec.LookPath("tpm2_quote")
	if err != nil {
		return nil, fmt.Errorf("%w: install tpm2-tools", err)
	}

	n, err := s.node(ctx, kind, false, 0)
	if err != nil {
		return nil, err
	}

	if err := n.halt(); err != nil {
		return nil, err
	}

	if n.tpm, err = n.tpm.overTCP(ctx); err != nil {
		return nil, err
	}

	return func(ctx context.Context, calls int) ([]time.Duration, error) {
		return repeat(ctx, calls, func(ctx context.Context) (func() error, error) {
			cmd := exec.CommandContext(ctx, program, "-T", n.tpm.tcti, "-c", fmt.Sprintf("0x%08x", uint32(akHandle)), "-l", "sha256:17,18,19", //nolint:gosec // our own words
				"-q", hex.EncodeToString(newNonce()), "-m", filepath.Join(n.dir, "quote"), "-s", filepath.Join(n.dir, "signature"))

			said, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, said)
			}

			return func() error { return nil }, err
		})
	}, nil
}
