package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier/eventlog"
	"github.com/trustpool/trustpool/verifier/eventlog/cel"
)

// formatTCG is the form in which firmware and TXT keep logs.
const formatTCG = "tcg"

func newEventLogExport(out *console.Output) *cobra.Command {
	var flags logFlags
	var format string
	var target console.File
	cmd := &cobra.Command{
		Use:   "export FILE --format FORM --out FILE",
		Short: "Write a log in TCG's canonical form, or back",
		Long: `export writes a log in another form, for tools that want it so:

  cel-json  TCG's Canonical Event Log as JSON: an array of records, digests and data in hexadecimal digits
  cel-tlv   TCG's Canonical Event Log as type, length and value
  tcg       the form that firmware and TXT keep logs in

Nothing is lost: what was a log of firmware comes back with --format tcg, byte by byte. Data of events is written as it is, and not interpreted; show does that,
of logs in every form. An IMA list has no other form here.

` + logExplanations,
		Example: `  trustpoolctl eventlog export evidence/log-txt.bin --format cel-json --out log.json
  trustpoolctl eventlog export log.json --format tcg --out - | trustpoolctl eventlog replay -`,
		Args: console.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.in = cmd.InOrStdin()
			return exportLog(flags, args[0], format, target, out)
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "the `form`: cel-json, cel-tlv or tcg")
	target.Register(cmd, "out", "write the log to this `file`, - for standard output")
	return cmd
}

func exportLog(flags logFlags, name, format string, target console.File, out *console.Output) error {
	form, err := cel.ParseFormat(format)
	if err != nil && format != formatTCG {
		return console.Usagef("--format: %q is none, write cel-json, cel-tlv or tcg", format)
	}
	if err := checkExport(target, out); err != nil {
		return err
	}
	log, err := flags.read(name)
	if err != nil {
		return err
	}
	if log.ima != nil {
		return fmt.Errorf("%s is an IMA list, which has no other form here", name)
	}
	data, err := formLog(log.log, form)
	if err != nil {
		return fmt.Errorf("exporting %s: %w", name, err)
	}
	return exportTo(target, data, &exportView{From: name, Format: format, WrittenTo: target.Path, Size: len(data)}, out)
}

// formLog gives a log in its canonical form, or as firmware has it.
func formLog(log *eventlog.Log, form cel.Format) ([]byte, error) {
	if form == cel.FormatUnknown {
		return log.Bytes(), nil
	}
	return cel.Encode(log, form)
}

// exportView is what the export commands print, unless what they export goes to standard output.
type exportView struct {
	From      string `json:"from"`
	Format    string `json:"format"`
	WrittenTo string `json:"written_to"`
	Size      int    `json:"size"`
	// MediaType is what to call it in protocols, if there is a name.
	MediaType string `json:"media_type,omitempty"`
}

func (v *exportView) text(p *console.Page) {
	p.Line("Wrote %s as %s to %s, %d bytes.", console.Printable(v.From), v.Format, console.Printable(v.WrittenTo), v.Size)
}

// toStdout is the path of standard output.
const toStdout = "-"

// checkExport finds what can't be written before anything is read.
func checkExport(target console.File, out *console.Output) error {
	switch {
	case target.Path == "":
		return console.Usagef("--out is missing: name the file to write, or - for standard output")
	case target.Path != toStdout:
		return target.Check()
	case out.JSON:
		return console.Usagef("--json and --out - would both write to standard output")
	}
	target.Path = "" // no file
	return target.CheckOptional()
}

// exportTo writes data to a file and tells of it, or to standard output.
func exportTo(target console.File, data []byte, view *exportView, out *console.Output) error {
	if target.Path != toStdout {
		if err := target.Write(data); err != nil {
			return err
		}
		return out.Print(view, view.text)
	}
	if _, err := out.Stdout.Write(data); err != nil {
		return fmt.Errorf("writing to standard output: %w", err)
	}
	return nil
}
