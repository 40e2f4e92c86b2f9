package store

import (
	"context"
	"database/sql/driver"
)

// preparing makes connections that keep the statements they have compiled: SQLite's driver would compile each text anew at each use.
type preparing struct{ driver.Connector }

// Connect implements driver.Connector.
func (p preparing) Connect(ctx context.Context) (driver.Conn, error) {
	bare, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &preparedConn{sqliteConn: bare.(sqliteConn), kept: make(map[string]*preparedStmt)}, nil
}

// sqliteConn is what the driver's connections are, without what would run a text that was not compiled before.
type sqliteConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// preparedConn is used by one goroutine at a time, as every driver.Conn.
type preparedConn struct {
	sqliteConn
	kept map[string]*preparedStmt
}

// maxPrepared bounds the statements of a connection. The package has fewer.
const maxPrepared = 512

// PrepareContext implements driver.ConnPrepareContext.
func (c *preparedConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	if kept := c.kept[text]; kept != nil && !kept.busy {
		kept.busy = true
		return kept, nil
	}
	bare, err := c.sqliteConn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	fresh := &preparedStmt{sqliteStmt: bare.(sqliteStmt), busy: true}
	if c.kept[text] == nil && len(c.kept) < maxPrepared {
		c.kept[text], fresh.keep = fresh, true
	}
	return fresh, nil
}

// Close implements driver.Conn.
func (c *preparedConn) Close() error {
	for text, kept := range c.kept {
		_ = kept.sqliteStmt.Close() // the connection goes, too
		delete(c.kept, text)
	}
	return c.sqliteConn.Close()
}

type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// preparedStmt is a statement that is kept, unless another one has its text.
type preparedStmt struct {
	sqliteStmt
	busy, keep bool
}

// Close implements driver.Stmt: whoever used the statement is done.
func (s *preparedStmt) Close() error {
	s.busy = false
	if s.keep {
		return nil
	}
	return s.sqliteStmt.Close()
}
