package postgres

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"

	"rollcall/domain"
)

// Scan calls visit with the selected accounts as of one position. It holds one read
// transaction until visit returns, during which nothing that is deleted meanwhile can be
// vacuumed, in no generation.
func (l *List) Scan(ctx context.Context, s domain.Selection, visit func(domain.Snapshot) error) error {
	if err := s.Check(); err != nil {
		return err
	}
	return l.read(ctx, l.db.scanners, func(ctx context.Context, v *view) error {
		app, err := v.app(ctx, s.App)
		if err != nil {
			return err
		}
		c := scan{pager: pager{ctx: ctx, view: v, app: app, listing: domain.Listing{
			App: s.App, Filter: s.Filter, Sort: domain.SortUserID, Order: domain.Ascending,
		}}}
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
	pager
	used bool
	over bool
}

// open counts the accounts and returns the statement that selects them.
func (c *scan) open(ids []domain.UserID) (total int, rows statement, err error) {
	where := c.scope
	switch {
	case len(ids) > 0:
		where = c.named(ids)
	case c.listing.Filter.Text != "":
		where = func(s *statement) string { return c.candidates(s) }
	default:
		return c.app.total(c.listing.Filter.Type), c.selected(where), nil
	}
	var all statement
	all.sql = "SELECT count(*) FROM list.accounts a WHERE " + where(&all)
	total, err = c.count(all)
	return total, c.selected(where), err
}

// named is the condition that an account has one of the ids.
func (c *scan) named(ids []domain.UserID) func(*statement) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return func(s *statement) string { return c.scope(s) + " AND a.user_id = ANY(" + s.arg(names) + ")" }
}

// selected selects the accounts for which a condition holds, by user id.
func (c *scan) selected(where func(*statement) string) (s statement) {
	from := "list.accounts a WHERE " + where(&s)
	if c.listing.Filter.Text != "" { // OFFSET 0 lets the order have no say in how they are found
		from = "(SELECT a.* FROM " + from + " OFFSET 0) a"
	}
	s.sql = "SELECT " + accountColumns + " FROM " + from + " ORDER BY " + c.order()
	return s
}

var (
	errUsed   = errors.New("the accounts of a snapshot can be read once, until visit returns")
	errEnough = errors.New("enough rows")
)

// once yields the accounts to the first who asks in time.
func (c *scan) once(s statement) iter.Seq2[domain.Account, error] {
	return func(yield func(domain.Account, error) bool) {
		if c.used || c.over {
			yield(domain.Account{}, errUsed)
			return
		}
		c.used = true
		err := c.each(s, func(a domain.Account) error {
			if !yield(a, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(domain.Account{}, err)
		}
	}
}

// each calls visit with each account as it comes over the connection, until it returns an
// error. The connection is given up when rows are left, which may be a million.
func (c *scan) each(s statement, visit func(domain.Account) error) error {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	return c.view.query(ctx, s.sql, func(rows pgx.Rows) error {
		if err := c.ctx.Err(); err != nil {
			return err // though what is buffered could be read on
		}
		a, err := readAccount(rows, c.app.app.ID)
		if err == nil {
			err = visit(a)
		}
		if err != nil {
			cancel()
		}
		return err
	}, s.args...)
}
