package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// tx is one transaction, or one statement, with its context.
type tx struct {
	ctx context.Context
	*dialect
	q interface { // *sql.Tx or *sql.DB
		ExecContext(context.Context, string, ...any) (sql.Result, error)
		QueryContext(context.Context, string, ...any) (*sql.Rows, error)
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}
	turned *bool // whether a verdict has changed; nil where nothing is written
}

// exec runs a statement and returns how many rows it touched.
func (t tx) exec(statement string, args ...any) (int64, error) {
	result, err := t.q.ExecContext(t.ctx, statement, storable(args)...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// row reads one row; ErrNotFound if there is none.
func (t tx) row(statement string, args []any, into ...any) error {
	err := t.q.QueryRowContext(t.ctx, statement, storable(args)...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// rows calls each for every row.
func (t tx) rows(statement string, args []any, each func(scan func(...any) error) error) (err error) {
	rows, err := t.q.QueryContext(t.ctx, statement, storable(args)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()

	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// storable makes of arguments what both databases take: some of them are texts that a node said, and it shall not get out of a verdict by one that can't be stored.
func storable(args []any) []any {
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			args[i] = storableText(arg)
		case []byte:
			if arg == nil {
				args[i] = []byte{} // not NULL
			}
		case []string:
			texts := make([]string, len(arg))
			for j, text := range arg {
				texts[j] = storableText(text)
			}
			args[i] = texts
		case [][]byte:
			for j := range arg {
				if arg[j] == nil {
					arg[j] = []byte{}
				}
			}
		}
	}
	return args
}

// storableText returns a text that is UTF-8 without the character U+0000, which PostgreSQL has no room for.
func storableText(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
