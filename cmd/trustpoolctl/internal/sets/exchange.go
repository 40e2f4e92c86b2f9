package sets

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newCapture(out *console.Output) *cobra.Command {
	var (
		how   api.Capture
		parts []string
	)
	cmd := &cobra.Command{
		Use:   "capture NODE --prefix PREFIX",
		Short: "Learn drafts from a node's last evidence, one for each part",
		Long: `capture makes drafts of what an enrolled node measured, from the last evidence that the server has of it: PREFIX-platform, PREFIX-hypervisor, PREFIX-host. The evidence has to
be authentic, bound to the server's connection, of a measured launch, and explained by its logs; whether the node is trusted does not count.

PCRs go to a part by who extends them: 0, 2, 3, 6, 7, 14 and 18 to platform, 1, 5, 10, 15, 16 and 23 to host_specific, the others to hypervisor. --part moves one.

What was captured is what the node measured, not what is good: look at it before you approve it.

It takes the role operator.`,
		Example: `  trustpoolctl knowngood capture node1.example --prefix xen-4.17
  trustpoolctl knowngood capture node1.example --prefix xen-4.17 --part 18=hypervisor`,
	}
	flags := cmd.Flags()
	flags.StringVar(&how.Prefix, "prefix", "", "begins the `names` of the sets")
	flags.StringSliceVar(&how.Pools, "pool", nil, "a `pool` in which they are to count; repeat it for each (default: the node's)")
	flags.StringSliceVar(&parts, "part", nil, "moves a PCR to another part, `PCR=PART`; repeat it for each")
	return asks(out, cmd, cobra.ExactArgs(1), func(ctx context.Context, a asker, server *api.Client, args []string) error {
		if how.Prefix == "" {
			return console.Usagef("--prefix is missing: it begins the names of the sets")
		}
		how.Parts = make(map[string]string, len(parts))
		for _, word := range parts {
			pcr, part, found := strings.Cut(word, "=")
			if !found {
				return console.Usagef("--part: %q is no PCR=PART, write 18=hypervisor", word)
			}
			how.Parts[pcr] = part
		}
		done, err := server.CaptureNode(ctx, args[0], how)
		if err != nil {
			return err
		}
		return a.out.Print(done, func(p *console.Page) {
			p.Line("%s from %s, by its evidence of %s", p.Good("Learned"), console.Printable(args[0]), done.QuotedAt.Format(time.RFC3339))
			for i := range done.Sets {
				p.Line("  draft %s, %s", console.Printable(done.Sets[i].Name), console.Printable(done.Sets[i].Part))
			}
			notesText(p, done.Notes)
		})
	})
}

func notesText(p *console.Page, notes []string) {
	for _, note := range notes {
		p.Line("%s %s", p.Warn("note:"), console.Printable(note))
	}
}

const formatWords = "trustpool, keylime-tpm-policy or openattestation-mle"

func newImport(out *console.Output) *cobra.Command {
	var in api.SetImport
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Make a draft of a set in a file, of ours or of others",
		Long: `import makes a draft on the server. Formats:
  trustpool            a set's file, as export and precompute write it, or a known-good file, as learn writes it; keys that it pins are left out
  keylime-tpm-policy   Keylime's tpm_policy: allowed values of each PCR
  openattestation-mle  OpenAttestation's MLE with its manifests: a BIOS is the platform, a VMM the hypervisor

Values of SHA-1 are told and left out: others can make content to match them, so that nothing may rest on them. A file that has no others makes no set.

It takes the role operator.`,
		Example: `  trustpoolctl knowngood import draft.json --pool gold
  trustpoolctl knowngood import tpm_policy.json --format keylime-tpm-policy --name old-nodes --part platform --pool gold`,
	}
	flags := cmd.Flags()
	flags.StringVar(&in.Format, "format", api.FormatTrustpool, "the file's `format`: "+formatWords)
	flags.StringVar(&in.Name, "name", "", "the set's `name` (default: that of the file)")
	flags.StringVar(&in.Part, "part", "", "the `part` that it speaks of: platform, hypervisor or host_specific (default: that of the file)")
	flags.StringVar(&in.Node, "node", "", "the `node` that it is for, if the part is host_specific")
	flags.StringSliceVar(&in.Pools, "pool", nil, "a `pool` in which it is to count; repeat it for each")
	return asks(out, cmd, cobra.ExactArgs(1), func(ctx context.Context, a asker, server *api.Client, args []string) error {
		raw, err := readFile(args[0], cmd.InOrStdin())
		if err != nil {
			return err
		}
		if !json.Valid(raw) {
			return fmt.Errorf("%s is not JSON, which each of the formats is", args[0])
		}
		in.Document = raw
		done, err := server.ImportSet(ctx, in)
		if err != nil {
			return err
		}
		return a.out.Print(done, func(p *console.Page) {
			setText(p, &done.Set)
			for _, v := range done.Untrusted {
				p.Line("%s %s PCR %d: %s", p.Warn("not trusted:"), console.Printable(v.Bank), v.PCR, console.Printable(v.Value))
			}
			notesText(p, done.Notes)
		})
	})
}

func newExport(out *console.Output) *cobra.Command {
	var (
		format string
		file   console.File
	)
	cmd := &cobra.Command{
		Use:   "export NAME",
		Short: "Write a set into a file, in a format of ours or of others",
		Long: `export writes a set to standard output, or to a file. Formats other than ours have no events: they take the values that the events add up to, and can't hold every set.

It takes the role reader.`,
		Example: `  trustpoolctl knowngood export xen-4.17-hypervisor --out xen.json
  trustpoolctl knowngood export xen-4.17-hypervisor --format keylime-tpm-policy`,
	}
	flags := cmd.Flags()
	flags.StringVar(&format, "format", api.FormatTrustpool, "the `format`: "+formatWords)
	file.Register(cmd, "out", "write it to this `file`")
	return asks(out, cmd, cobra.ExactArgs(1), func(ctx context.Context, a asker, server *api.Client, args []string) error {
		if err := file.CheckOptional(); err != nil {
			return err
		}
		raw, err := server.ExportSet(ctx, args[0], format)
		if err != nil {
			return err
		}
		if file.Path != "" {
			return file.Write(raw)
		}
		_, err = a.out.Stdout.Write(raw)
		return err
	})
}
