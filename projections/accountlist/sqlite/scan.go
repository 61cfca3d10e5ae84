package sqlite

import (
	"context"
	"errors"
	"iter"
	"slices"

	"zombiezen.com/go/sqlite"

	"rollcall/domain"
)

// Scan calls visit with the selected accounts as of one position. It holds one read
// transaction until visit returns, during which the write-ahead log grows and
// deleted text stays in it.
func (l *List) Scan(ctx context.Context, s domain.Selection, visit func(domain.Snapshot) error) error {
	if err := s.Check(); err != nil {
		return err
	}
	return l.read(ctx, l.scanners, func(v *view) error {
		app, err := v.app(s.App)
		if err != nil {
			return err
		}
		c := scan{ctx: ctx, conn: v.conn, app: app, filter: s.Filter}
		total, rows, err := c.open(s.UserIDs)
		if err != nil {
			return err
		}
		defer func() { c.over = true }()
		return visit(domain.Snapshot{Position: v.position, Total: total, Accounts: c.once(rows)})
	})
}

// scan is one pass over the accounts of an application.
type scan struct {
	ctx    context.Context // of the Scan, which outlives the pass
	conn   *sqlite.Conn
	app    appRow
	filter domain.Filter
	used   bool
	over   bool
}

// rows calls visit with each account, until it returns an error.
type rows func(visit func(domain.Account) error) error

// open counts the accounts and returns what visits them.
func (c *scan) open(ids []domain.UserID) (total int, all rows, err error) {
	if len(ids) > 0 {
		return c.named(ids)
	}
	if c.filter.Text != "" {
		return c.found()
	}
	return c.app.total(c.filter.Type), func(visit func(domain.Account) error) error {
		return query(c.conn, walkSQL(accountColumns, c.listing(), false), func(row *sqlite.Stmt) error {
			return visit(readAccount(row, c.app.app.ID).account)
		}, c.app.id)
	}, nil
}

func (c *scan) listing() domain.Listing {
	return domain.Listing{App: c.app.app.ID, Filter: c.filter, Sort: domain.SortUserID, Order: domain.Ascending}
}

// named visits the accounts with the given ids.
func (c *scan) named(ids []domain.UserID) (total int, all rows, err error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	all = func(visit func(domain.Account) error) error {
		for _, id := range ids {
			r, err := findAccount(c.conn, c.app, id)
			if err == nil && r.id != 0 {
				err = visit(r.account)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	total, err = countRows(all)
	return total, all, err
}

// found visits the accounts that have the filter's text.
func (c *scan) found() (total int, all rows, err error) {
	may, err := findCandidates(c.conn, c.app.id, c.filter.Text)
	if err != nil {
		return 0, nil, err
	}
	l := c.listing()
	l.Filter.Type = "" // is told by the account
	all = func(visit func(domain.Account) error) error {
		return query(c.conn, walkSQL("id", l, false), func(row *sqlite.Stmt) error {
			id := row.ColumnInt64(0)
			if !may.has(id) {
				return nil
			}
			r, err := accountByID(c.conn, c.app, id)
			if err == nil && c.filter.Matches(r.account) {
				err = visit(r.account)
			}
			return err
		}, c.app.id)
	}
	total, err = countRows(all)
	return total, all, err
}

func countRows(all rows) (n int, err error) {
	err = all(func(domain.Account) error {
		n++
		return nil
	})
	return n, err
}

var errUsed = errors.New("the accounts of a snapshot can be read once, until visit returns")

// once yields the accounts to the first who asks in time.
func (c *scan) once(all rows) iter.Seq2[domain.Account, error] {
	return func(yield func(domain.Account, error) bool) {
		if c.used || c.over {
			yield(domain.Account{}, errUsed)
			return
		}
		c.used = true
		err := all(func(a domain.Account) error {
			if !yield(a, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(domain.Account{}, contextError(c.ctx, err))
		}
	}
}
