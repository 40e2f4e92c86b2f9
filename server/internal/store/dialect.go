package store

import (
	"context"
	"database/sql"
)

// dialect is in what the two databases differ.
type dialect struct {
	// viewing is how a transaction that reads sees one state of the database.
	viewing sql.IsolationLevel
	// bound ends what takes too long; SQLite's file does not go away.
	bound func(context.Context) (context.Context, context.CancelFunc)
	// isAway tells whether an error says that the database does not answer.
	isAway func(error) bool
	// ready asks for a sign of life.
	ready func(context.Context, *Store) error
	// begin is the first of each transaction that writes.
	begin func(tx, *Store) error
	// announce is the last of each that changes a verdict: the other servers look once it is committed.
	announce func(tx) error
	// claim is the statement that claims nodes, and its arguments beside now, the end of the lease and how many.
	claim     string
	claimArgs func(s *Store, now int64) []any
	// claimsAlone: claims need not wait for whoever writes.
	claimsAlone bool
	// mine selects of nodes under one lease those that this replica may give back; $2 is its number.
	mine string
	// abandoned selects the claimed nodes whose server is gone; $1 is this replica's number.
	abandoned string
	// skipGenerations has the next generation be $1 above the last.
	skipGenerations func(t tx, gap int64) error
	// size is what the database takes on the disk.
	size func(context.Context, *Store) (int64, error)
	// among is an expression that tells whether a column has one of the values in the parameter at a place, which list has made.
	among func(column, place string) string
	list  func(values any) any
	// rowsOf is what a statement on many rows reads them from, argsOf its arguments for some of them, atOnce how many rows it takes.
	rowsOf func(columns []string) string
	argsOf func(columns []string, rows [][]any) []any
	atOnce int
}

// unbound is the context as it is.
func unbound(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} }
