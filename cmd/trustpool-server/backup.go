package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/server"
)

func backupCommand(configPath *string) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the database into a file, while the server runs",
		Long: `backup writes the database as it is at this moment into a new file, and checks that file: its pages, its references, and the chain of the admin log. The server
may run meanwhile. The file is as secret as the database: it has everything but the tokens' texts. Run it as the server's user. It is for SQLite; of a PostgreSQL database,
pg_dump --format=custom makes a backup.`,
		Example: "  runuser -u trustpool-server -- trustpool-server backup /var/lib/trustpool-server/backup-$(date +%F).db",
		Args:    oneArg("file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return onDatabase(*configPath, func(database, _ string) error {
				found, err := server.Backup(cmd.Context(), database, args[0])
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is whole: %d nodes, admin log up to entry %d\n", args[0], found.Nodes, found.AdminLog)
				return nil
			})
		},
	}
}

func restoreCommand(configPath *string) *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the database",
		Long: `restore puts a backup in the place of the database, on which no server may run. The backup is checked first; a database that is there already is kept beside
it. All verdicts are unknown until the nodes were asked again, which they are at the next start. What happened since the backup is gone: look through tokens, refused
keys, retired sets and held nodes before you start the server, since what was withdrawn since counts again. Run it as the server's user. It is for SQLite; a
PostgreSQL database is restored by pg_restore and mark-restored.`,
		Example: `  systemctl stop trustpool-server
  runuser -u trustpool-server -- trustpool-server restore /var/lib/trustpool-server/backup-2026-11-23.db
  systemctl start trustpool-server`,
		Args: oneArg("file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return onDatabase(*configPath, func(database, by string) error {
				restored, err := server.Restore(cmd.Context(), database, args[0], by)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is restored: %d nodes, admin log up to entry %d of the backup\n", database, restored.Nodes, restored.AdminLog)
				if restored.Aside != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "the database that was there is %s\n", restored.Aside)
				}
				return nil
			})
		},
	}
}

func markRestoredCommand(configPath *string) *cobra.Command {
	return &cobra.Command{
		Use:   "mark-restored SOURCE",
		Short: "Have all verdicts unknown, after pg_restore",
		Long: `mark-restored is what remains to be done after a backup was put into a PostgreSQL database by pg_restore, or by going back to a point in time: what was found since
is not in it. All verdicts are unknown until the nodes were asked again, and the numbers of changes go on above all that were ever given. It checks the chain of the
admin log first, and leaves an entry with SOURCE in it. No replica may run from before pg_restore until this is done. Look through tokens, refused keys, retired
sets and held nodes before you start them, since what was withdrawn since the backup counts again.`,
		Example: `  systemctl stop trustpool-server    # on all machines
  pg_restore --clean --if-exists --single-transaction --dbname=trustpool trustpool-2026-11-23.dump
  trustpool-server mark-restored trustpool-2026-11-23.dump
  systemctl start trustpool-server`,
		Args: oneArg("source"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return onDatabase(*configPath, func(database, by string) error {
				if err := server.MarkRestored(cmd.Context(), database, args[0], by); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), "all verdicts are unknown until the nodes were asked again")
				return nil
			})
		},
	}
}
