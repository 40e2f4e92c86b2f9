package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/cmw"
	"github.com/trustpool/trustpool/verifier/eventlog/cel"
	"github.com/trustpool/trustpool/verifier/saved"
)

func newEvidence(out *console.Output) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "Write saved evidence as one message for other tools, or back",
		Long: `evidence turns a folder of evidence into one message, a Conceptual Message Wrapper (RFC 9999), and back. It judges nothing: verify does, also of
such a message.`,
		Args: console.SubcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newEvidenceExport(out), newEvidenceImport(out))
	return cmd
}

func newEvidenceExport(out *console.Output) *cobra.Command {
	var (
		format, logs string
		target       console.File
	)
	cmd := &cobra.Command{
		Use:   "export DIR --format FORM --out FILE",
		Short: "Write a folder of evidence as one message",
		Long: `export writes the evidence in a folder as one message, for protocols and tools that take evidence of any attester in this shape:

  cmw-json  a Conceptual Message Wrapper (RFC 9999) as JSON, application/cmw+json
  cmw-cbor  the same as CBOR, application/cmw+cbor

It is a collection with a record for each file of the folder. Event logs are in there as the node had them; --log-format has them in TCG's canonical form.
verify and learn read such a message in the place of a folder, whichever form the logs are in.`,
		Example: `  trustpoolctl evidence export evidence --format cmw-json --out evidence.json
  trustpoolctl evidence export evidence --format cmw-cbor --log-format cel-tlv --out evidence.cbor
  trustpoolctl verify evidence.cbor --known-good known-good.json --nonce 5bd1...07`,
		Args: console.Args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return exportEvidence(args[0], format, logs, target, out) },
	}
	cmd.Flags().StringVar(&format, "format", "", "the `form`: cmw-json or cmw-cbor")
	cmd.Flags().StringVar(&logs, "log-format", "", "the `form` of event logs: cel-json or cel-tlv (default: as they are)")
	target.Register(cmd, "out", "write the message to this `file`, - for standard output")
	return cmd
}

func exportEvidence(dir, format, logs string, target console.File, out *console.Output) error {
	form, err := cmw.ParseFormat(format)
	if err != nil {
		return console.Usagef("--format: %q is none, write cmw-json or cmw-cbor", format)
	}
	logForm := cel.FormatUnknown
	if logs != "" {
		if logForm, err = cel.ParseFormat(logs); err != nil {
			return console.Usagef("--log-format: %q is none, write cel-json or cel-tlv", logs)
		}
	}
	if err := checkExport(target, out); err != nil {
		return err
	}
	ev, err := readEvidence(dir)
	if err != nil {
		return err
	}
	data, err := cmw.Encode(ev, form, logForm)
	if err != nil {
		return err
	}
	return exportTo(target, data, &exportView{From: dir, Format: form.String(), WrittenTo: target.Path, Size: len(data), MediaType: form.MediaType()}, out)
}

// readEvidence reads evidence of ours, be it a folder or one message, or a folder of others.
func readEvidence(path string) (verifier.Evidence, error) {
	if isMessage(path) {
		return readMessage(path)
	}
	ev, err := saved.Read(path)
	if errors.Is(err, saved.ErrNoIndex) {
		ev, err = saved.ReadForeign(path, nil)
	}
	return ev, err
}

func newEvidenceImport(out *console.Output) *cobra.Command {
	var target string
	cmd := &cobra.Command{
		Use:   "import FILE --out DIR",
		Short: "Make a folder of a message that export wrote",
		Long: `import makes a folder of evidence out of a message that export wrote, with the event logs as the node had them. A message that was altered since is
refused, and so is one of another kind; nothing else is judged.`,
		Example: `  trustpoolctl evidence import evidence.cbor --out evidence`,
		Args:    console.Args(cobra.ExactArgs(1)),
		RunE:    func(_ *cobra.Command, args []string) error { return importEvidence(args[0], target, out) },
	}
	cmd.Flags().StringVar(&target, "out", "", "make this new `folder`")
	return cmd
}

func importEvidence(name, target string, out *console.Output) error {
	if target == "" {
		return console.Usagef("--out is missing: name a folder that does not exist yet")
	}
	ev, err := readMessage(name)
	if errors.Is(err, saved.ErrAltered) {
		return refusedError{err}
	}
	if err != nil {
		return err
	}
	if err := saved.Write(target, ev); err != nil {
		return err
	}
	view := &importView{From: name, WrittenTo: target, Nonce: ev.Nonce}
	return out.Print(view, view.text)
}

// importView is what import prints.
type importView struct {
	From      string `json:"from"`
	WrittenTo string `json:"written_to"`
	// Nonce is what the message says that it was asked with.
	Nonce verifier.Hex `json:"nonce"`
}

func (v *importView) text(p *console.Page) {
	p.Line("Saved the evidence of %s in %s.", console.Printable(v.From), console.Printable(v.WrittenTo))
}

// isMessage tells a message from a folder.
func isMessage(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func readMessage(path string) (ev verifier.Evidence, err error) {
	file, err := os.Open(path)
	if err != nil {
		return ev, fmt.Errorf("reading evidence: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()

	data, err := io.ReadAll(io.LimitReader(file, cmw.MaxSize+1))
	if err != nil {
		return ev, fmt.Errorf("reading evidence in %s: %w", path, err)
	}
	if ev, err = cmw.Decode(data); err != nil {
		return ev, fmt.Errorf("reading %s: %w", path, err)
	}
	return ev, nil
}
