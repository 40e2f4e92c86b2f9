package store

import (
	"fmt"
	"strings"
)

// many are rows that one statement reads or writes at once.
type many struct {
	// columns are names, each with its type: "id BIGINT", "name TEXT", "nonce BYTEA" or "booted BOOLEAN".
	columns []string
	// rows have a value for each column: int64, string, []byte or bool.
	rows [][]any
}

func (m *many) add(values ...any) { m.rows = append(m.rows, values) }

// manyAtOnce bounds the rows of one statement, and so what it takes of memory.
const manyAtOnce = 500

// execMany runs a statement on rows, and returns how many it touched. The statement calls the rows by ROWS, and their columns v.NAME.
func (t tx) execMany(statement string, m many) (touched int64, err error) {
	err = t.eachPart(statement, m, func(text string, args []any) error {
		n, err := t.exec(text, args...)
		touched += n
		return err
	})
	return touched, err
}

// queryMany is execMany for a statement that returns something, in no order.
func (t tx) queryMany(statement string, m many, each func(scan func(...any) error) error) error {
	return t.eachPart(statement, m, func(text string, args []any) error { return t.rows(text, args, each) })
}

func (t tx) eachPart(statement string, m many, do func(text string, args []any) error) error {
	text := strings.ReplaceAll(statement, "ROWS", t.rowsOf(m.columns))
	for from := 0; from < len(m.rows); from += t.atOnce {
		part := m.rows[from:min(from+t.atOnce, len(m.rows))]
		if err := do(text, t.argsOf(m.columns, part)); err != nil {
			return err
		}
	}
	return nil
}

// oneRow has a statement run for each row: SQLite is in this process, so that a statement that is prepared costs less than a list that it would have to take apart.
func oneRow(columns []string) string {
	parts := make([]string, len(columns))
	for i, column := range columns {
		name, _, _ := strings.Cut(column, " ")
		parts[i] = fmt.Sprintf("$%d AS %s", i+1, name)
	}
	return "(SELECT " + strings.Join(parts, ", ") + ") AS v"
}

func oneRowArgs(_ []string, rows [][]any) []any { return rows[0] }

// unnested has a statement run once for all rows (PostgreSQL, 9.19): each column is an array.
func unnested(columns []string) string {
	arrays, names := make([]string, len(columns)), make([]string, len(columns))
	for i, column := range columns {
		name, kind, _ := strings.Cut(column, " ")
		arrays[i], names[i] = fmt.Sprintf("$%d::%s[]", i+1, kind), name
	}
	return "unnest(" + strings.Join(arrays, ", ") + ") AS v(" + strings.Join(names, ", ") + ")"
}

func unnestedArgs(columns []string, rows [][]any) []any {
	args := make([]any, len(columns))
	for i, column := range columns {
		switch _, kind, _ := strings.Cut(column, " "); kind {
		case "BIGINT":
			args[i] = arrayOf[int64](rows, i)
		case "TEXT":
			args[i] = arrayOf[string](rows, i)
		case "BYTEA":
			args[i] = arrayOf[[]byte](rows, i)
		case "BOOLEAN":
			args[i] = arrayOf[bool](rows, i)
		default:
			panic("a column of an unknown type: " + column) // of this package's own
		}
	}
	return args
}

func arrayOf[T any](rows [][]any, column int) []T {
	values := make([]T, len(rows))
	for i, row := range rows {
		values[i] = row[column].(T)
	}
	return values
}
