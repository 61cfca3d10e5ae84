package sqlite

import (
	"context"
	"slices"

	"zombiezen.com/go/sqlite"

	"rollcall/domain"
)

// Chunk returns consecutive accounts.
func (l *List) Chunk(ctx context.Context, s domain.Stretch) (chunk domain.Chunk, err error) {
	if err := s.Check(); err != nil {
		return domain.Chunk{}, err
	}
	err = l.read(ctx, l.scanners, func(v *view) error {
		app, err := v.app(s.App)
		if err != nil {
			return err
		}
		chunk = domain.Chunk{Position: v.position, Total: app.Total(s.Type)}
		if len(s.UserIDs) > 0 {
			chunk.Accounts, err = namedAccounts(v.conn, app, s)
		} else {
			chunk.Accounts, err = stretch(v.conn, app, s)
		}
		return err
	})
	if err != nil {
		return domain.Chunk{}, err
	}
	return chunk, nil
}

// stretch walks the index of times of creation, along which the rows lie in the table: by that of user ids each row would be a page to read.
func stretch(conn *sqlite.Conn, app appRow, s domain.Stretch) ([]domain.Account, error) {
	l := domain.Listing{Filter: domain.Filter{Type: s.Type}, Sort: domain.SortCreatedAt, Order: domain.Ascending}
	args := []any{app.id}
	if !s.After.IsZero() {
		args = append(args, s.After.CreatedAt.UnixNano(), string(s.After.UserID))
	}
	accounts := make([]domain.Account, 0, min(s.Limit, app.Total(s.Type)))
	err := query(conn, walkSQL(accountColumns, l, !s.After.IsZero()), func(row *sqlite.Stmt) error {
		if accounts = append(accounts, readAccount(row, app.app.ID).account); len(accounts) == s.Limit {
			return errEnough
		}
		return nil
	}, args...)
	return accounts, err
}

// namedAccounts looks up each of the ids.
func namedAccounts(conn *sqlite.Conn, app appRow, s domain.Stretch) (accounts []domain.Account, err error) {
	for _, id := range slices.Compact(slices.Sorted(slices.Values(s.UserIDs))) {
		r, err := findAccount(conn, app, id)
		if err != nil {
			return nil, err
		}
		if r.id != 0 && (s.Type == "" || r.account.Type == s.Type) {
			accounts = append(accounts, r.account)
		}
	}
	return accounts, nil
}
