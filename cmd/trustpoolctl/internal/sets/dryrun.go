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
	"github.com/trustpool/trustpool/verifier/knowngood"
)

func newDryRun(out *console.Output) *cobra.Command {
	var (
		change      api.DryRun
		files       []string
		pools       []string
		poolChanges string
	)
	cmd := &cobra.Command{
		Use:   "dry-run",
		Short: "Tell whom a change would condemn or pardon, without making it",
		Long: `dry-run has the server judge the newest evidence of each node twice: by what is in force, and by what would be. Nothing is changed, and no node is asked.

What the flags name happens all at once: --approve a new set and --retire the old one to see the whole exchange.

Undecided are nodes whose stored evidence does not tell: it lacks a PCR that would be demanded, or is not whole. They are asked at once when the change is made.

It takes the role operator.

Exit codes:
  0  nobody would be condemned
  1  failed
  2  wrong usage
  4  nodes would be condemned, or are undecided`,
		Example: `  trustpoolctl knowngood dry-run --approve xen-4.18 --retire xen-4.17
  trustpoolctl knowngood dry-run --set draft.json --in-pool gold
  trustpoolctl knowngood dry-run --pools pools.json`,
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&change.Approve, "approve", nil, "a `draft` that would be approved; repeat it for each")
	flags.StringSliceVar(&change.Retire, "retire", nil, "a `set` that would be retired; repeat it for each")
	flags.StringArrayVar(&files, "set", nil, "a set's `file`, which would be put in force; repeat it for each")
	flags.StringSliceVar(&pools, "in-pool", nil, "a `pool` in which the sets of --set would count; repeat it for each")
	flags.StringVar(&poolChanges, "pools", "", `JSON `+"`file`"+` with pools as they would be: {"NAME": {"requires": [{"part": "hypervisor", "match": "any_of"}]}}`)
	return asks(out, cmd, cobra.NoArgs, func(ctx context.Context, a asker, server *api.Client, _ []string) error {
		change.Sets = make(map[string]api.SetSpec, len(files))
		for _, file := range files {
			set, err := readSet(file, cmd.InOrStdin())
			if err != nil {
				return err
			}
			if set.Name == "" {
				return fmt.Errorf("%s is a known-good file, which does not say of which part it is: import it first", file)
			}
			if change.Sets[set.Name], err = specOf(&set, pools); err != nil {
				return err
			}
		}
		if err := readPools(poolChanges, &change); err != nil {
			return err
		}
		if len(change.Approve)+len(change.Retire)+len(change.Sets)+len(change.Pools) == 0 {
			return console.Usagef("nothing would change: name a set with --approve, --retire or --set, or pools with --pools")
		}
		effect, err := server.DryRun(ctx, change)
		if err != nil {
			return err
		}
		return a.tell(&effect)
	})
}

// specOf is a set as the server takes it.
func specOf(set *knowngood.Set, pools []string) (api.SetSpec, error) {
	set.KnownGood.AKs = nil // enrolment says which key may sign
	raw, err := set.KnownGood.MarshalJSON()
	if err != nil {
		return api.SetSpec{}, err
	}
	if pools == nil {
		pools = []string{}
	}
	return api.SetSpec{
		Description: set.Description, Part: set.Part, Pools: pools, Node: set.Node, KnownGood: raw, Source: set.Source, ValidFrom: set.ValidFrom, ValidUntil: set.ValidUntil,
	}, nil
}

func readPools(file string, change *api.DryRun) error {
	if file == "" {
		return nil
	}
	raw, err := readFile(file, nil)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&change.Pools); err != nil {
		return fmt.Errorf("reading the pools of %s: %w", file, err)
	}
	return nil
}

// tell prints an effect. Somebody who would be condemned is a refusal.
func (a asker) tell(effect *api.Effect) error {
	tell := a.out.Print
	if effect.Condemned+effect.Undecided > 0 {
		tell = a.out.Refuse
	}
	return tell(effect, func(p *console.Page) { effectText(p, effect) })
}

func effectText(p *console.Page, e *api.Effect) {
	p.Line("%d nodes judged, in the pools %s", e.Judged, console.Printable(strings.Join(e.Pools, ", ")))
	p.Field("condemned", "%s", counted(e.Condemned, p.Bad))
	p.Field("pardoned", "%s", counted(e.Pardoned, p.Good))
	p.Field("undecided", "%s", counted(e.Undecided, p.Warn))
	p.Field("as they are", "%d trusted, %d untrusted", e.Trusted, e.Untrusted)
	if e.WithoutEvidence+e.Idle > 0 {
		p.Field("not judged", "%d without evidence, %d not active", e.WithoutEvidence, e.Idle)
	}
	for i := range e.Nodes {
		n := &e.Nodes[i]
		p.Line("")
		p.Line("%s %s in %s: %s now, %s then", console.Printable(n.Effect), p.Head(console.Printable(n.Node)), console.Printable(n.Pool), console.Printable(n.ReasonNow), console.Printable(n.Reason))
		p.Line("    by evidence of %s: %s", n.QuotedAt.Format(time.RFC3339), console.Printable(n.Detail))
	}
	if listed := len(e.Nodes); listed < e.Condemned+e.Pardoned+e.Undecided {
		p.Line("")
		p.Line("and %d nodes more", e.Condemned+e.Pardoned+e.Undecided-listed)
	}
}

func counted(n int, paint func(string) string) string {
	if n == 0 {
		return "none"
	}
	return paint(fmt.Sprint(n))
}
