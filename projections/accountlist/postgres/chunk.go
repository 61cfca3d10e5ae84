package postgres

import (
	"context"
	"fmt"
	"slices"

	"rollcall/domain"
	"rollcall/projections/accountlist"
)

// Chunk returns consecutive accounts.
func (l *List) Chunk(ctx context.Context, s domain.Stretch) (chunk domain.Chunk, err error) {
	if err := s.Check(); err != nil {
		return domain.Chunk{}, err
	}
	err = l.read(ctx, l.db.scanners, func(ctx context.Context, v *view) error {
		app, err := v.app(ctx, s.App)
		if err != nil {
			return err
		}
		p := chunkPager(app, s)
		p.ctx, p.view = ctx, v
		chunk = domain.Chunk{Position: v.position, Total: app.Total(s.Type)}
		chunk.Accounts, err = p.accounts(p.stretch(s))
		return err
	})
	if err != nil {
		return domain.Chunk{}, err
	}
	return chunk, nil
}

// chunkPager stands where a stretch begins.
func chunkPager(app appRow, s domain.Stretch) *pager {
	sort := domain.SortCreatedAt
	if len(s.UserIDs) > 0 {
		sort = domain.SortUserID
	}
	return &pager{
		app: app,
		Request: accountlist.Request{
			Listing: domain.Listing{App: s.App, Filter: domain.Filter{Type: s.Type}, Sort: sort, Order: domain.Ascending},
			After:   accountlist.Key{CreatedAt: s.After.CreatedAt, UserID: s.After.UserID}, Resumed: !s.After.IsZero(),
		},
	}
}

// stretch selects the accounts that are named, or the next ones along the index of times of creation, along which the rows lie in the table: by
// that of user ids each row would be a page to read.
func (p *pager) stretch(stretch domain.Stretch) (s statement) {
	where, limit := p.scope(&s), ""
	if len(stretch.UserIDs) > 0 {
		names := make([]string, len(stretch.UserIDs))
		for i, id := range stretch.UserIDs {
			names[i] = string(id)
		}
		slices.Sort(names)
		where += " AND a.user_id = ANY(" + s.arg(slices.Compact(names)) + ")"
	} else {
		where += p.place(&s)
		limit = fmt.Sprintf(" LIMIT %d", stretch.Limit)
	}
	s.sql = "SELECT " + accountColumns + " FROM list.accounts a WHERE " + where + " ORDER BY " + p.order() + limit
	return s
}
