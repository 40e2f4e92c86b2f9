// Command bench quotes as other libraries do, for the benchmark of trustpool to measure beside its own. It is a module of its own, so that these libraries
// are nobody's dependency.
//
// It reads lines such as {"calls":20} from its standard input, makes that many attestations one after the other, and answers each line with one such as
// {"ns":[1700000,...],"commands":17}: the nanoseconds of each, and the TPM commands of the last.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

func main() {
	library := flag.String("library", "", "go-attestation or go-tpm-tools")
	key := flag.String("key", "ecdsa-p256", "ecdsa-p256 or rsa-2048")
	path := flag.String("tpm", "", "the unix `socket` of a TPM that nobody else uses")
	flag.Parse()

	if err := run(*library, *key, *path, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// attester makes one attestation: everything that a library does for it once its key is loaded.
type attester func(nonce []byte) error

// run answers lines until there are no more.
func run(library, key, path string, in io.Reader, out io.Writer) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return fmt.Errorf("connecting to the TPM: %w", err)
	}
	defer conn.Close()

	tpm := &counted{Conn: conn}

	attest, err := newAttester(library, key, tpm)
	if err != nil {
		return fmt.Errorf("preparing %s: %w", library, err)
	}

	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var request struct {
			Calls int `json:"calls"`
		}

		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			return fmt.Errorf("reading a request: %w", err)
		}

		times, err := repeat(request.Calls, tpm, attest)
		if err != nil {
			return fmt.Errorf("attesting by %s: %w", library, err)
		}

		if err := json.NewEncoder(out).Encode(map[string]any{"ns": times, "commands": tpm.last}); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}

	return lines.Err()
}

func newAttester(library, key string, tpm *counted) (attester, error) {
	switch library {
	case "go-attestation":
		return goAttestation(key, tpm)
	case "go-tpm-tools":
		return goTPMTools(key, tpm)
	default:
		return nil, errors.New("no such library")
	}
}

// repeat takes the time of attestations, one after the other.
func repeat(calls int, tpm *counted, attest attester) ([]time.Duration, error) {
	times := make([]time.Duration, 0, calls)

	for range calls {
		nonce := make([]byte, 32)
		_, _ = rand.Read(nonce) // never fails

		before, began := tpm.commands.Load(), time.Now()

		if err := attest(nonce); err != nil {
			return nil, err
		}

		times = append(times, time.Since(began))
		tpm.last = tpm.commands.Load() - before
	}

	return times, nil
}

// counted is a way to a TPM that counts commands: these libraries write each in one piece.
type counted struct {
	net.Conn

	commands atomic.Int64
	last     int64 // those of the last attestation
}

// Write implements io.Writer.
func (c *counted) Write(command []byte) (int, error) {
	c.commands.Add(1)

	return c.Conn.Write(command)
}

// MeasurementLog is what go-attestation asks of a TPM beside commands.
func (c *counted) MeasurementLog() ([]byte, error) { return emptyLog(), nil }

// emptyLog stands for an event log, which neither library reads into for an attestation.
func emptyLog() []byte { return []byte{0} }
