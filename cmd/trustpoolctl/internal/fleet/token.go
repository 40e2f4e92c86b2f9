package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/server/api"
)

func newToken(out *console.Output) *cobra.Command {
	cmd, a := group(out, "token", "Keep the bearer tokens of an attestation server",
		`token says who may ask the server by a bearer token, and in which role. reader may ask for verdicts and see nodes, pools, known-good sets and alarms; operator may also
do what makes no host trusted; admin may do everything. The server keeps no token, only its digest.

All of it takes the role admin.`)
	cmd.AddCommand(newTokenAdd(a), newTokenList(a), newTokenRemove(a))
	return cmd
}

func newTokenAdd(a asker) *cobra.Command {
	var (
		spec api.TokenSpec
		ends string
		file console.File
	)
	cmd := &cobra.Command{
		Use:   "add NAME --role ROLE",
		Short: "Make a token, which is told this once",
		Long: `add makes a token. Its text is told this once: with --out it goes into a file that only you can read, else to stdout. The name is what the admin log shows for whoever
uses it.`,
		Example: `  trustpoolctl token add nova-scheduler --role reader --out nova.token
  trustpoolctl token add alice --role operator --expires 720h --out ~/.config/trustpool/token`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringVar(&spec.Role, "role", "", "what it may do: reader, operator or admin")
	flags.StringVar(&ends, "expires", "", "when it ends: a `time` such as 2027-01-31 or 2027-01-31T12:00:00Z, or from now on, 720h (default: never)")
	file.Register(cmd, "out", "`file` to write the token into")
	a.completeFlag(cmd, "role", cobra.FixedCompletions([]string{"reader", "operator", "admin"}, cobra.ShellCompDirectiveNoFileComp))
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) (err error) {
		spec.Name = args[0]
		if spec.ExpiresAt, err = parseEnd(ends, time.Now()); err != nil {
			return err
		}
		if spec.Role == "" {
			return console.Usagef("--role is missing: write reader, operator or admin")
		}
		if err := file.CheckOptional(); err != nil {
			return err
		}
		if file.Path == "" {
			return a.addToken(ctx, server, spec)
		}
		return a.addTokenFile(ctx, server, spec, file)
	})
}

func (a asker) addToken(ctx context.Context, server *api.Client, spec api.TokenSpec) error {
	token, err := server.AddToken(ctx, spec)
	if err != nil {
		return err
	}
	a.out.Warn("this is the only time that the token is told")
	return a.done(token, "%s", console.Printable(token.Token))
}

// addTokenFile makes room for the token before the token, so that none is made which is then lost.
func (a asker) addTokenFile(ctx context.Context, server *api.Client, spec api.TokenSpec, file console.File) error {
	draft, err := file.Draft()
	if err != nil {
		return err
	}
	token, err := server.AddToken(ctx, spec)
	if err != nil {
		return errors.Join(err, draft.Discard())
	}
	if err := saveToken(draft, token); err != nil {
		return err
	}
	return a.done(struct {
		api.TokenSpec
		WrittenTo string `json:"written_to"`
	}{token.TokenSpec, file.Path}, "Wrote the token of %s into %s.", console.Printable(spec.Name), console.Printable(file.Path))
}

// saveToken leaves nothing behind but the token. What can't be placed stays in the draft: the server tells a token once.
func saveToken(draft *console.Draft, token api.NewToken) error {
	err := draft.Place([]byte(token.Token + "\n"))
	if err == nil {
		return draft.Discard()
	}
	switch at, placed := draft.Holds(); {
	case at == "":
		err = errors.Join(fmt.Errorf("writing the token: %w", err), draft.Discard())
		return console.WithHint(err, "It is lost. Remove it, and make another: trustpoolctl token remove %s.", console.Printable(token.Name))
	case placed:
		err = errors.Join(fmt.Errorf("writing the token: %w", err), draft.Discard())
		return console.WithHint(err, "The token of %s counts. If %s is lost, remove it: trustpoolctl token remove %[1]s.", console.Printable(token.Name), console.Printable(at))
	default:
		err = errors.Join(fmt.Errorf("writing the token: %w; it is in %s", err, console.Printable(at)), draft.Keep())
		return console.WithHint(err, "The token of %s counts, and %s is the only file that has it. Move that to where you want it.", console.Printable(token.Name), console.Printable(at))
	}
}

// parseEnd reads when a token ends; the zero time: never.
func parseEnd(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	var end time.Time
	if d, err := time.ParseDuration(text); err == nil {
		end = now.Add(d)
	} else if end, err = time.Parse(time.DateOnly, text); err != nil {
		if end, err = time.Parse(time.RFC3339, text); err != nil {
			return time.Time{}, console.Usagef("--expires: %q is no time, write 2027-01-31, 2027-01-31T12:00:00Z or 720h", text)
		}
	}
	if !end.After(now) {
		return time.Time{}, console.Usagef("--expires: %s is not in the future", end.UTC().Format(time.RFC3339))
	}
	return end.UTC().Truncate(time.Second), nil
}

func newTokenList(a asker) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List tokens, by name", Example: `  trustpoolctl token list`}
	return a.asks(cmd, cobra.NoArgs, func(ctx context.Context, server *api.Client, _ []string) error {
		tokens, err := server.Tokens(ctx)
		if err != nil {
			return err
		}
		return a.out.Print(api.Tokens{Tokens: tokens}, func(p *console.Page) {
			rows := make([][]console.Cell, 0, len(tokens))
			for i := range tokens {
				t := &tokens[i]
				end := console.Cell{Text: "never"}
				if !t.ExpiresAt.IsZero() {
					end.Text = t.ExpiresAt.UTC().Format(time.RFC3339)
				}
				if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(time.Now()) {
					end.Paint = p.Warn
				}
				row := console.Cells(t.Name, t.Role, "", t.CreatedAt.UTC().Format(time.RFC3339), t.CreatedBy, t.ID)
				row[2] = end
				rows = append(rows, row)
			}
			p.Table([]string{"NAME", "ROLE", "ENDS", "MADE", "BY", "ID"}, rows)
		})
	})
}

func newTokenRemove(a asker) *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove NAME", Short: "End a token", Long: "remove ends a token at once.", Example: `  trustpoolctl token remove nova-scheduler`, ValidArgsFunction: a.completeTokens,
	}
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		if err := server.RemoveToken(ctx, args[0]); err != nil {
			return err
		}
		return a.done(deed{"remove", args[0]}, "Removed the token %s.", console.Printable(args[0]))
	})
}

func (a asker) completeTokens(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(cmd, word, func(ctx context.Context, server *api.Client, yield func(string, error) bool) {
		tokens, err := server.Tokens(ctx)
		for i := 0; err == nil && i < len(tokens); i++ {
			if !yield(tokens[i].Name, nil) {
				return
			}
		}
	})
}
