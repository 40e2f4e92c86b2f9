package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/internal/daemon"
	"github.com/trustpool/trustpool/server"
)

func tokenCommand(configPath *string) *cobra.Command {
	command := &cobra.Command{
		Use:   "token",
		Short: "Add, list and remove tokens in the database",
		Long: `token works on the database itself, for the first administrator, and for whoever has lost his token. The server may run meanwhile, and follows at once.
Administrators with a token use trustpoolctl instead, from wherever they are. Run it as the server's user.`,
		Args: usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return daemon.UsageError{Err: fmt.Errorf("write add, list or remove; see %s --help", cmd.CommandPath())}
		},
	}
	command.AddCommand(tokenAdd(configPath), tokenList(configPath), tokenRemove(configPath))
	return command
}

func tokenAdd(configPath *string) *cobra.Command {
	var (
		role    string
		expires time.Duration
	)
	command := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a token and print it once",
		Long: `add makes a token and prints it. The server keeps only what it takes to know it again, so that nobody can print it a second time. Roles:
  reader    ask for verdicts; see nodes, pools, sets, alarms and history: for schedulers
  operator  also have nodes asked at once, hold them, refuse keys, write drafts
  admin     also what can make a host trusted: nodes, pools, approving sets; and tokens`,
		Example: `  runuser -u trustpool-server -- trustpool-server token add alice --role admin
  runuser -u trustpool-server -- trustpool-server token add nova --role reader --expires 8760h`,
		Args: oneArg("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			parsed, err := server.ParseRole(role)
			if err != nil {
				return daemon.UsageError{Err: fmt.Errorf("--role: %w", err)}
			}
			if cmd.Flags().Changed("expires") && expires <= 0 {
				return daemon.UsageError{Err: errors.New("--expires has to be more than 0; leave it out for a token that does not end")}
			}
			var end time.Time
			if expires > 0 {
				end = time.Now().Add(expires)
			}
			return onDatabase(*configPath, func(database, by string) error {
				text, err := server.AddToken(cmd.Context(), database, by, args[0], parsed, end)
				if errors.Is(err, server.ErrTokenExists) {
					return fmt.Errorf("%w; choose another name, or remove that one first", err)
				}
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), text)
				fmt.Fprintln(cmd.ErrOrStderr(), "keep it: it is shown this once")
				return nil
			})
		},
	}
	command.Flags().StringVar(&role, "role", "", "what it may do: `reader`, operator or admin (needed)")
	command.Flags().DurationVar(&expires, "expires", 0, "after which `time` it ends, such as 8760h (default: never)")
	return command
}

func tokenList(configPath *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the tokens",
		Long:  "list shows the name, role and end of each token, and who made it when.",
		Args:  usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return onDatabase(*configPath, func(database, _ string) error {
				tokens, err := server.Tokens(cmd.Context(), database)
				if err != nil {
					return err
				}
				table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(table, "NAME\tROLE\tEXPIRES\tCREATED\tBY")
				for _, t := range tokens {
					end := "never"
					if !t.ExpiresAt.IsZero() {
						end = t.ExpiresAt.Format(time.RFC3339)
					}
					fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", t.Name, t.Role, end, t.CreatedAt.Format(time.RFC3339), t.CreatedBy)
				}
				return table.Flush()
			})
		},
	}
}

func tokenRemove(configPath *string) *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "End a token",
		Long:    "remove ends a token at once. A stream of events that it opened ends within 15 minutes.",
		Example: "  runuser -u trustpool-server -- trustpool-server token remove alice",
		Args:    oneArg("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return onDatabase(*configPath, func(database, by string) error {
				return server.RemoveToken(cmd.Context(), database, by, args[0])
			})
		},
	}
}

// onDatabase runs do on the configured database, by whoever is at the keyboard. What another user made there, the server could not open.
func onDatabase(configPath string, do func(database, by string) error) error {
	config, err := loadConfig(configPath)
	if err != nil {
		return hintConfig(configPath, err)
	}
	if !server.IsShared(config.Database) {
		if err := checkOwner(filepath.Dir(config.Database)); err != nil {
			return err
		}
	}
	return do(config.Database, "local:"+userName(strconv.Itoa(os.Getuid())))
}

// checkOwner refuses another user than the one whose folder it is.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("looking for the database: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	owner := userName(strconv.FormatUint(uint64(stat.Uid), 10))
	return daemon.UsageError{Err: fmt.Errorf("%s belongs to the user %s, who has to run this; put \"runuser -u %[2]s --\" before the command", dir, owner)}
}

// userName is the name of a user, or its number if it has none.
func userName(uid string) string {
	found, err := user.LookupId(uid)
	if err != nil {
		return uid
	}
	return found.Username
}
