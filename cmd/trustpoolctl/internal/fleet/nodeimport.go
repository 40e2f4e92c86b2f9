package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

// maxImport bounds a list of nodes, in bytes: what the server takes.
const maxImport = 64 << 20

func newNodeImport(a asker) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Add many nodes, all or none",
		Long: `import adds the nodes of a CSV or JSON file; - is stdin. If anything is wrong with one of them, none is added, and it tells which lines are wrong.

CSV has a first line that names its columns, in any order; name, address and pool have to be there. Lines that begin with # are left out. Aliases, and labels as
KEY=VALUE, have spaces between them:

  name,address,pool,binding,aliases,server_name,labels,ek_name,ek_serial,ek_issuer
  node1.example,node1.example:9443,gold,inventory,node1 10.0.0.1,,rack=7 row=b,000b4d1f...,,
  node2.example,node2.example:9443,gold,chain,,,,,,

JSON is a list of nodes as the server's API has them, or an object with that list as "nodes":

  [{"name": "node1.example", "address": "node1.example:9443", "pool": "gold", "ek": {"name": "000b4d1f..."}}]

It takes the role admin.`,
		Example: `  trustpoolctl node import nodes.csv
  inventory-tool export | trustpoolctl node import - --format json`,
	}
	cmd.Flags().StringVar(&format, "format", "", "csv or json (default: what the file's name ends with)")
	a.completeFlag(cmd, "format", cobra.FixedCompletions([]string{"csv", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		list, err := readList(args[0], format, cmd.InOrStdin())
		if err != nil {
			return err
		}
		progress := a.progress(args[0], len(list.lines))
		done, err := list.send(ctx, server, progress)
		progress.end()
		if err != nil {
			return list.explain(args[0], err)
		}
		return a.done(done, "Added %d nodes.", done.Added)
	})
}

// readList reads a file and finds out where each entry begins.
func readList(path, format string, stdin io.Reader) (*nodeList, error) {
	if format == "" {
		format = filepath.Ext(path)
	}
	var parse func([]byte) (*nodeList, error)
	switch format {
	case "csv", ".csv":
		parse = parseCSV
	case "json", ".json":
		parse = parseJSON
	default:
		return nil, console.WithHint(console.Usagef("nothing says whether %q is CSV or JSON", path), "Write --format csv or --format json.")
	}
	raw, err := readBounded(path, stdin)
	if err != nil {
		return nil, fmt.Errorf("reading the list of nodes: %w", err)
	}
	list, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the list of nodes %s: %w", path, err)
	}
	if len(list.lines) == 0 {
		return nil, fmt.Errorf("reading the list of nodes %s: there are none in it", path)
	}
	return list, nil
}

func readBounded(path string, stdin io.Reader) (raw []byte, err error) {
	in := stdin
	if path != "-" {
		file, err := os.Open(path) // #nosec G304 -- the operator names the file
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // read only: nothing to lose
		in = file
	}
	raw, err = io.ReadAll(io.LimitReader(in, maxImport+1))
	if err == nil && len(raw) > maxImport {
		err = fmt.Errorf("%s has more than %d bytes: import it in parts", path, maxImport)
	}
	return raw, err
}

// send has the server add the nodes, all or none.
func (l *nodeList) send(ctx context.Context, server *api.Client, progress *importProgress) (api.Imported, error) {
	if l.nodes != nil {
		progress.waiting()
		return server.ImportNodes(ctx, l.nodes)
	}
	return server.ImportNodesCSV(ctx, progress.counting(bytes.NewReader(l.csv), len(l.csv)))
}

// importProgress tells a person at a terminal how far an import is. For anybody else it does nothing.
type importProgress struct {
	out   *console.Output // nil: nobody looks
	label string
}

func (a asker) progress(path string, nodes int) *importProgress {
	if !a.out.Watched() {
		return &importProgress{}
	}
	return &importProgress{out: a.out, label: fmt.Sprintf("%s: %d nodes", console.Printable(path), nodes)}
}

// line replaces the one before: CR and ECMA-48 EL.
func (p *importProgress) line(text string) {
	if p.out != nil {
		_, _ = fmt.Fprint(p.out.Stderr, "\r\x1b[K"+text)
	}
}

func (p *importProgress) waiting() { p.line(p.label + ": the server checks and adds them") }
func (p *importProgress) end()     { p.line("") }

// counting tells how much of a list was sent.
func (p *importProgress) counting(r io.Reader, size int) io.Reader {
	return &counter{in: r, size: size, progress: p}
}

type counter struct {
	in         io.Reader
	size, done int
	progress   *importProgress
}

// Read implements io.Reader.
func (c *counter) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.done += n
	if errors.Is(err, io.EOF) {
		c.progress.waiting()
	} else {
		c.progress.line(fmt.Sprintf("%s: sent %d %%", c.progress.label, 100*c.done/max(c.size, 1)))
	}
	return n, err
}
