package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/eventlog/cel"
)

const logExplanations = `FILE is a log in a file, or - for standard input: crypto-agile (TXT, Secure Launch, UEFI), SHA-1 (older firmware, TXT), TXT's older
FRMT ID EVENT00, Linux IMA's binary list, or TCG's canonical form, CEL-JSON or CEL-TLV. Zeros or FF behind the log are cut off. Nothing of it is signed: a log proves something only
together with a quote, see verify.`

// logFlags are those of the commands that read logs.
type logFlags struct {
	bank string
	ima  bool
	in   io.Reader
}

func (f *logFlags) register(cmd *cobra.Command, withBank bool) {
	cmd.Flags().BoolVar(&f.ima, "ima", false, "read the file as an IMA binary list (default: recognise it)")
	if withBank {
		cmd.Flags().StringVar(&f.bank, "bank", "", "the `bank` whose digests count (default: sha256, or the first)")
	}
}

func newEventLog(out *console.Output) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "eventlog",
		Short: "Show, replay, compare and convert event logs in files",
		Long:  "eventlog reads the logs of a host's launch and boot. It needs no node.\n\n" + logExplanations,
		Args:  console.SubcommandOnly,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEventLogShow(out), newEventLogReplay(out), newEventLogDiff(out), newEventLogExport(out))
	return cmd
}

func newEventLogShow(out *console.Output) *cobra.Command {
	var flags logFlags
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show a log's events and what they are about",
		Long: `show lists the events of a log: number, PCR, type, digest, and what the event is about. An event without a digest was not extended.

What an event is about is the log's own word, unless its digest is of just that data: then data that was changed is marked.

` + logExplanations,
		Example: `  trustpoolctl eventlog show /sys/kernel/security/tpm0/binary_bios_measurements
  trustpoolctl eventlog show evidence/log-txt.bin --bank sha1
  trustpoolctl eventlog show --json - <evidence/log-txt.bin`,
		Args: console.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.in = cmd.InOrStdin()
			return showLog(flags, args[0], out)
		},
	}
	flags.register(cmd, true)
	return cmd
}

func showLog(flags logFlags, name string, out *console.Output) error {
	log, err := flags.read(name)
	if err != nil {
		return err
	}
	bank, err := flags.chooseBank(log.banks)
	if err != nil {
		return err
	}
	view := newShowView(log, bank)
	return out.Print(view, view.text)
}

// read reads a log of any format.
func (f *logFlags) read(name string) (*logFile, error) {
	raw, err := f.readBytes(name)
	if err != nil {
		return nil, fmt.Errorf("reading log %s: %w", name, err)
	}
	log, err := parseLog(name, raw, f.ima)
	if errors.Is(err, eventlog.ErrEmpty) {
		return nil, console.WithHint(fmt.Errorf("reading log %s: %w", name, err), "A host without a measured launch has such a log.")
	}
	if err != nil {
		return nil, hintLog(raw, fmt.Errorf("reading log %s: %w", name, err))
	}
	return log, nil
}

// hintLog says what a file is that is no log.
func hintLog(raw []byte, err error) error {
	begin := raw[:min(len(raw), 512)]
	binary := func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) && r != utf8.RuneError }
	switch {
	case len(begin) == 0 || bytes.ContainsFunc(begin, binary) || cel.Detect(raw) != cel.FormatUnknown:
		return err
	case bytes.Contains(begin, []byte(" ima-")):
		return console.WithHint(err, "This is IMA's list as text: give binary_runtime_measurements, which lies beside it.")
	default:
		return console.WithHint(err, "This is text, not a binary log.")
	}
}

// readBytes reads to the end: files of the kernel say that they have no bytes.
func (f *logFlags) readBytes(name string) (raw []byte, err error) {
	in := f.in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // only read
		in = file
	}
	raw, err = io.ReadAll(io.LimitReader(in, eventlog.MaxIMASize+1))
	if err == nil && len(raw) > eventlog.MaxIMASize {
		err = fmt.Errorf("it has more than %d bytes", eventlog.MaxIMASize)
	}
	return raw, err
}

// chooseBank picks the bank to show.
func (f *logFlags) chooseBank(banks []eventlog.Alg) (eventlog.Alg, error) {
	if f.bank == "" {
		for _, bank := range banks {
			if bank == eventlog.AlgSHA256 {
				return bank, nil
			}
		}
		return banks[0], nil
	}

	bank, err := eventlog.ParseAlg(f.bank)
	if err != nil {
		return 0, console.Usagef("--bank: %w", err)
	}
	for _, has := range banks {
		if has == bank {
			return bank, nil
		}
	}
	return 0, console.Usagef("--bank: there are no digests of %s, only of %s", bank, bankNames(banks))
}
