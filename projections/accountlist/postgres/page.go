package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"rollcall/domain"
	"rollcall/projections/accountlist"
)

// Page returns one page of an application's accounts.
func (l *List) Page(ctx context.Context, listing domain.Listing) (page domain.Page, err error) {
	request, err := accountlist.Ask(listing)
	if err != nil {
		return domain.Page{}, err
	}
	err = l.look(ctx, func(ctx context.Context, v *view) error {
		app, err := v.app(ctx, request.Listing.App)
		if err != nil {
			return err
		}
		p := pager{ctx: ctx, view: v, app: app, Request: request}
		page, err = p.page()
		page.Position = v.position
		return err
	})
	if err != nil {
		return domain.Page{}, err
	}
	return page, nil
}

// pager makes one page.
type pager struct {
	accountlist.Request
	ctx  context.Context // of the call of Page
	view *view
	app  appRow
}

func (p *pager) page() (domain.Page, error) {
	var accounts []domain.Account
	var total int
	var estimate bool
	var err error
	switch f := p.Listing.Filter; {
	case f.Text == "":
		total = p.app.Total(f.Type)
		accounts, err = p.accounts(p.walk())
	case f.Type == domain.TypeAdmin:
		accounts, total, err = p.searchAdmins()
	default:
		accounts, total, estimate, err = p.search()
	}
	if err != nil {
		return domain.Page{}, err
	}
	return p.Page(accounts, total, estimate), nil
}

// accounts runs a statement that selects accountColumns.
func (p *pager) accounts(s statement) (accounts []domain.Account, err error) {
	err = p.view.query(p.ctx, s.sql, func(rows pgx.Rows) error {
		a, err := readAccount(rows, p.app.app.ID)
		accounts = append(accounts, a)
		return err
	}, s.args...)
	return accounts, err
}

// statement is SQL with its arguments.
type statement struct {
	sql  string
	args []any
}

// arg adds an argument and returns its name.
func (s *statement) arg(v any) string {
	s.args = append(s.args, v)
	return fmt.Sprintf("$%d", len(s.args))
}

// walk takes the accounts of the page from the index that has their order.
func (p *pager) walk() statement {
	var s statement
	s.sql = "SELECT " + accountColumns + " FROM list.accounts a WHERE " + p.scope(&s) + p.place(&s) +
		" ORDER BY " + p.order() + fmt.Sprintf(" LIMIT %d", p.Wanted())
	return s
}

// scope is the condition that an account is of the application and type.
func (p *pager) scope(s *statement) string {
	where := "a.app = " + s.arg(p.app.id)
	switch p.Listing.Filter.Type {
	case domain.TypeAdmin:
		where += " AND a.type = 'admin'"
	case domain.TypeNormal:
		where += " AND a.type = 'normal'"
	}
	return where
}

// place is the condition that an account comes after the place where the page begins.
func (p *pager) place(s *statement) string {
	if !p.Resumed {
		return ""
	}
	var places []string
	switch p.Listing.Sort {
	case domain.SortCreatedAt:
		places = append(places, s.arg(p.After.CreatedAt.UnixNano()))
	case domain.SortNickname:
		places = append(places, s.arg(p.After.Nickname))
	}
	places = append(places, s.arg(string(p.After.UserID)))
	compare := " > "
	if p.Listing.Order == domain.Descending {
		compare = " < "
	}
	return " AND (" + strings.Join(p.keys(), ", ") + ")" + compare + "(" + strings.Join(places, ", ") + ")"
}

// keys are the columns that the list is sorted by.
func (p *pager) keys() []string {
	switch p.Listing.Sort {
	case domain.SortCreatedAt:
		return []string{"a.created_at", "a.user_id"}
	case domain.SortNickname:
		return []string{"a.nickname", "a.user_id"}
	}
	return []string{"a.user_id"}
}

// order is the order of the list. The application is part of it, though it is but one, so that
// nothing but the index fits.
func (p *pager) order() string {
	direction := ""
	if p.Listing.Order == domain.Descending {
		direction = " DESC"
	}
	return strings.Join(append([]string{"a.app"}, p.keys()...), direction+", ") + direction
}
