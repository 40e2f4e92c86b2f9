package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/verifier"
	"github.com/trustpool/trustpool/verifier/saved"
)

func newNodeEvidence(a asker) *cobra.Command {
	var out string
	var record console.File
	cmd := &cobra.Command{
		Use:   "evidence NAME [good|bad|NUMBER] --out DIR",
		Short: "Save what a verdict rests on, so that others can judge it again",
		Long: `evidence saves a folder that trustpoolctl verify judges again, without the server: the quote, the values of the PCRs, the logs, and the nonce that the server says it asked
with. good is the last that the server trusted, bad the last that it did not; a number is that of a change, which node history and node show tell. Without any, it
is good for a node that is trusted, else bad.

--record also saves the node's record, with the keys that may sign for it: for verify --node. Known-good values are not in it; trustpoolctl knowngood has them.

It takes the role operator.`,
		Example: `  trustpoolctl node evidence node1.example --out evidence --record node1.json
  trustpoolctl verify evidence --node node1.json --known-good known-good.json --nonce 5bd1...07
  trustpoolctl node evidence node1.example 42 --out before-the-update`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{api.EvidenceLastGood, api.EvidenceLastBad}, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeNode(cmd, args, word)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`folder` to save it in, which must not exist or be empty")
	record.Register(cmd, "record", "`file` to save the node's record in")
	return a.asks(cmd, cobra.RangeArgs(1, 2), func(ctx context.Context, server *api.Client, args []string) error {
		if out == "" {
			return console.Usagef("--out is missing: name a folder that does not exist yet")
		}
		if err := record.CheckOptional(); err != nil {
			return err
		}
		node, err := server.Node(ctx, args[0])
		if err != nil {
			return err
		}
		which, err := whichEvidence(args[1:], &node)
		if err != nil {
			return err
		}
		ev, err := fetchEvidence(ctx, server, node.Name, which, out)
		if err != nil {
			return err
		}
		if record.Path != "" {
			if err := writeRecord(&node, record); err != nil {
				return err
			}
		}
		view := &evidenceView{Node: node.Name, Which: which, WrittenTo: out, Nonce: ev.Nonce, RecordWrittenTo: record.Path}
		return a.out.Print(view, view.text)
	})
}

// whichEvidence is what the words ask for, if any.
func whichEvidence(words []string, node *api.Node) (string, error) {
	switch {
	case len(words) == 0 && node.Verdict.Trust == api.Trusted:
		return api.EvidenceLastGood, nil
	case len(words) == 0:
		return api.EvidenceLastBad, nil
	case words[0] == api.EvidenceLastGood || words[0] == api.EvidenceLastBad:
		return words[0], nil
	}
	if id, err := strconv.ParseInt(words[0], 10, 64); err != nil || id < 1 {
		return "", console.Usagef("%q is no evidence, write good, bad or the number that trustpoolctl node history tells", words[0])
	}
	return words[0], nil
}

// fetchEvidence saves evidence and reads what it saved, so that nobody finds out later that it is no evidence.
func fetchEvidence(ctx context.Context, server *api.Client, name, which, dir string) (ev verifier.Evidence, err error) {
	tar, err := server.Evidence(ctx, name, which)
	if api.IsNotFound(err) {
		return ev, console.WithHint(err, "Ask for another: good, bad, or a number that trustpoolctl node history tells.")
	}
	if err != nil {
		return ev, err
	}
	defer func() { err = errors.Join(err, tar.Close()) }()

	if err := saved.ExtractTar(dir, io.LimitReader(tar, maxEvidence)); err != nil {
		return ev, err
	}
	return saved.Read(dir)
}

// maxEvidence bounds what is read of a server, in bytes: sixteen logs of 16 MiB, and small files.
const maxEvidence = 17 * 16 << 20

// writeRecord saves the keys that may sign for a node.
func writeRecord(node *api.Node, file console.File) error {
	if len(node.Record) == 0 {
		return errors.New("writing the node's record: the node is not enrolled, so that no key may sign for it")
	}
	record, err := verifier.ParseNodeRecord(node.Record)
	if err != nil {
		return fmt.Errorf("reading the node's record: %w", err)
	}
	raw, err := record.Marshal()
	if err != nil {
		return fmt.Errorf("writing the node's record: %w", err)
	}
	return file.Write(raw)
}

// evidenceView is what evidence prints.
type evidenceView struct {
	Node      string `json:"node"`
	Which     string `json:"which"`
	WrittenTo string `json:"written_to"`
	// Nonce is what the server says it asked with.
	Nonce           verifier.Hex `json:"nonce"`
	RecordWrittenTo string       `json:"record_written_to,omitempty"`
}

func (v *evidenceView) text(p *console.Page) {
	p.Line("Saved evidence of %s in %s. The server says that it asked with this nonce:", console.Printable(v.Node), console.Printable(v.WrittenTo))
	p.Line("  %s", v.Nonce)
	node := ""
	if v.RecordWrittenTo != "" {
		node = " --node " + console.Printable(v.RecordWrittenTo)
	}
	p.Line("To judge it again: trustpoolctl verify %s%s --known-good FILE --nonce %s", console.Printable(v.WrittenTo), node, v.Nonce)
}
