package sets

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/connect"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/verifier/knowngood"
)

// readFile reads a file, or standard input if its name is -.
func readFile(name string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if name != "-" || stdin == nil {
		file, err := os.Open(filepath.Clean(name)) // the operator names the file
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // only read
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, knowngood.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(raw) > knowngood.MaxFile {
		return nil, fmt.Errorf("reading %s: it has more than %d bytes", name, knowngood.MaxFile)
	}
	return raw, nil
}

// readSet reads a set's file, or a known-good file, which is a set without a name.
func readSet(name string, stdin io.Reader) (knowngood.Set, error) {
	raw, err := readFile(name, stdin)
	if err != nil {
		return knowngood.Set{}, err
	}
	set, err := knowngood.ParseSet(raw)
	if err != nil {
		return knowngood.Set{}, fmt.Errorf("%s: %w", name, err)
	}
	return set, nil
}

// isFile tells a file from the name of a set on a server.
func isFile(word string) bool {
	return word == "-" || strings.ContainsRune(word, filepath.Separator) || strings.HasSuffix(word, ".json")
}

func newCompare(out *console.Output) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Say in words how two sets differ",
		Long: `compare says what is in one set and not in the other. A and B are files if they end in .json or have a / in them, - for standard input, or else the names of sets on the server; with two
files, no server is asked.

Exit codes:
  0  no difference: whatever meets one meets the other
  1  failed
  2  wrong usage
  4  different`,
		Example: `  trustpoolctl knowngood compare old.json new.json
  trustpoolctl knowngood compare xen-4.17-hypervisor ./draft.json`,
		Args: console.Args(cobra.ExactArgs(2)),
	}
	flags := connect.New(out)
	flags.Register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args[0] == "-" && args[1] == "-" {
			return console.Usagef("both sets can't be read from standard input")
		}
		pair := make([]knowngood.Set, 0, len(args))
		for _, word := range args {
			set, err := fetch(cmd, flags, word)
			if err != nil {
				return err
			}
			pair = append(pair, set)
		}
		return tellDifferences(out, args, knowngood.Compare(pair[0].KnownGood, pair[1].KnownGood))
	}
	return cmd
}

// fetch reads a set from a file, or from the server.
func fetch(cmd *cobra.Command, flags *connect.Flags, word string) (set knowngood.Set, err error) {
	if isFile(word) {
		return readSet(word, cmd.InOrStdin())
	}
	err = flags.Do(cmd.Context(), func(ctx context.Context, server *api.Client) error {
		raw, err := server.ExportSet(ctx, word, api.FormatTrustpool)
		if err == nil {
			set, err = knowngood.ParseSet(raw)
		}
		return err
	})
	return set, err
}

// comparisonView is what compare prints.
type comparisonView struct {
	A           string                 `json:"a"`
	B           string                 `json:"b"`
	Equal       bool                   `json:"equal"`
	Differences []knowngood.Difference `json:"differences"`
}

func tellDifferences(out *console.Output, names []string, found []knowngood.Difference) error {
	view := comparisonView{A: names[0], B: names[1], Equal: len(found) == 0, Differences: append([]knowngood.Difference{}, found...)}
	tell := out.Refuse
	if view.Equal {
		tell = out.Print
	}
	return tell(view, func(p *console.Page) {
		if view.Equal {
			p.Line("%s: whatever meets one meets the other", p.Good("No difference"))
			return
		}
		p.Line("A is %s, B is %s", p.Head(console.Printable(view.A)), p.Head(console.Printable(view.B)))
		for _, d := range found {
			p.Line("  %s", d.Text)
		}
	})
}
