package sqlite

import (
	"context"
	"strings"

	"zombiezen.com/go/sqlite"

	"rollcall/domain"
	"rollcall/projections/accountlist"
)

// Page returns one page of an application's accounts.
func (l *List) Page(ctx context.Context, listing domain.Listing) (page domain.Page, err error) {
	request, err := accountlist.Ask(listing)
	if err != nil {
		return domain.Page{}, err
	}
	err = l.read(ctx, l.readers, func(v *view) error {
		app, err := v.app(request.Listing.App)
		if err != nil {
			return err
		}
		p := pager{conn: v.conn, app: app, Request: request}
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
	conn *sqlite.Conn
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
		accounts, err = p.walk()
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

// walk takes the accounts from the index that has their order.
func (p *pager) walk() (accounts []domain.Account, err error) {
	sql := walkSQL(accountColumns, p.Listing, p.Resumed)
	err = query(p.conn, sql, func(row *sqlite.Stmt) error {
		accounts = append(accounts, readAccount(row, p.app.app.ID).account)
		return p.enough(accounts)
	}, p.args()...)
	return accounts, err
}

func (p *pager) enough(accounts []domain.Account) error {
	if len(accounts) >= p.Wanted() {
		return errEnough
	}
	return nil
}

// args are the arguments of the statement that walkSQL makes.
func (p *pager) args() []any {
	args := []any{p.app.id}
	if !p.Resumed {
		return args
	}
	switch p.Listing.Sort {
	case domain.SortCreatedAt:
		args = append(args, p.After.CreatedAt.UnixNano())
	case domain.SortNickname:
		args = append(args, p.After.Nickname)
	}
	return append(args, string(p.After.UserID))
}

// walkSQL returns the statement that walks the accounts of an application in
// order, along an index: parameter 1 is the application, the next ones are the place to begin after.
func walkSQL(columns string, l domain.Listing, resumed bool) string {
	index, keys, places := "accounts_", "user_id", "?2"
	switch l.Sort {
	case domain.SortCreatedAt:
		keys, places = "created_at, user_id", "?2, ?3"
	case domain.SortNickname:
		keys, places = "nickname, user_id", "?2, ?3"
	}
	compare, direction := " > ", " ASC"
	if l.Order == domain.Descending {
		compare, direction = " < ", " DESC"
	}
	where := " WHERE app = ?1"
	switch l.Filter.Type {
	case domain.TypeAdmin:
		index = "admins_"
		where += " AND type = 'admin'"
	case domain.TypeNormal:
		where += " AND type = 'normal'"
	}
	if resumed {
		where += " AND (" + keys + ")" + compare + "(" + places + ")"
	}
	return "SELECT " + columns + " FROM accounts INDEXED BY " + index + string(l.Sort) + where +
		" ORDER BY " + strings.ReplaceAll(keys, ",", direction+",") + direction
}
