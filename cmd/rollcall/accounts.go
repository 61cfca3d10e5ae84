package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rollcall/cmd/rollcall/internal/client"
)

// accountsCmd are the commands on accounts.
type accountsCmd struct {
	remote

	Create accountCreateCmd `cmd:"" help:"Create an account."`
	Edit   accountEditCmd   `cmd:"" help:"Change the profile of an account."`
	Delete accountDeleteCmd `cmd:"" help:"Delete accounts. Their personal data cannot be recovered."`
	Get    accountGetCmd    `cmd:"" help:"Show one account."`
	List   accountListCmd   `cmd:"" help:"List accounts."`
	Import accountImportCmd `cmd:"" help:"Import accounts from an NDJSON or CSV file."`

	History accountHistoryCmd `cmd:"" help:"Show who changed an account, when, and from what to what."`
}

var accountColumns = []column[client.Account]{
	{"user_id", func(a client.Account) string { return a.UserID }},
	{"type", func(a client.Account) string { return a.Type }},
	{"created_at", func(a client.Account) string { return moment(a.CreatedAt) }},
	{"nickname", func(a client.Account) string { return a.Nickname }},
	{"face_url", func(a client.Account) string { return a.FaceURL }},
}

// allColumns are those of one account, and of CSV.
var allColumns = append(slices.Clone(accountColumns),
	column[client.Account]{"gender", func(a client.Account) string { return a.Gender }},
	column[client.Account]{"birthday", func(a client.Account) string { return nonzero(a.Birthday) }},
	column[client.Account]{"location", func(a client.Account) string { return a.Location }},
	column[client.Account]{"self_signature", func(a client.Account) string { return a.SelfSignature }},
	column[client.Account]{"allow_type", func(a client.Account) string { return a.AllowType }},
	column[client.Account]{"language", func(a client.Account) string { return optional(a.Language) }},
	column[client.Account]{"msg_settings", func(a client.Account) string { return optional(a.MsgSettings) }},
	column[client.Account]{"admin_forbid_type", func(a client.Account) string { return a.AdminForbidType }},
	column[client.Account]{"level", func(a client.Account) string { return optional(a.Level) }},
	column[client.Account]{"role", func(a client.Account) string { return optional(a.Role) }},
	column[client.Account]{"updated_at", func(a client.Account) string { return moment(a.UpdatedAt) }},
	column[client.Account]{"revision", func(a client.Account) string { return whole(a.Revision) }},
)

// printAccount prints one account with all of its fields, below each other in a table.
func printAccount(s *streams, format string, a client.Account) error {
	if format != "table" {
		return printAll(s, format, allColumns, a)
	}
	t := tableWriter{w: s.out}
	t.add([]string{"app", a.App})
	for _, c := range allColumns {
		if v := c.text(a); v != "" {
			t.add([]string{c.name, v})
		}
	}
	return t.flush()
}

// profileFlags are the fields that create and edit may set.
type profileFlags struct {
	Nickname        *string `help:"At most 500 bytes."`
	FaceURL         *string `name:"face-url" help:"Address of the profile picture."`
	Gender          *string `help:"unknown, female or male."`
	Birthday        *uint32 `help:"YYYYMMDD."`
	Location        *string `help:"At most 16 bytes."`
	SelfSignature   *string `help:"At most 500 bytes."`
	AllowType       *string `help:"Friend request verification: need_confirm, allow_any or deny_any."`
	Language        *uint32 `help:"A number."`
	MsgSettings     *uint32 `help:"A number; bit 0: do not receive."`
	AdminForbidType *string `help:"May add friends: none or send_out."`
	Level           *uint32 `help:"A number."`
	Role            *uint32 `help:"A number."`
}

// fields returns what is set, by public name.
func (p *profileFlags) fields() map[string]any {
	fields := make(map[string]any)
	for name, v := range map[string]*string{
		"nickname": p.Nickname, "face_url": p.FaceURL, "gender": p.Gender, "location": p.Location,
		"self_signature": p.SelfSignature, "allow_type": p.AllowType, "admin_forbid_type": p.AdminForbidType,
	} {
		if v != nil {
			fields[name] = *v
		}
	}
	for name, v := range map[string]*uint32{
		"birthday": p.Birthday, "language": p.Language, "msg_settings": p.MsgSettings, "level": p.Level, "role": p.Role,
	} {
		if v != nil {
			fields[name] = *v
		}
	}
	return fields
}

// accountCreateCmd creates an account.
type accountCreateCmd struct {
	UserID string `arg:"" name:"user-id" help:"1 to 32 bytes of printable ASCII without space."`
	Type   string `help:"normal or admin." default:"normal"`
	profileFlags
}

// Run creates the account and prints it.
func (c *accountCreateCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	fields := c.fields()
	maps.Copy(fields, map[string]any{"user_id": c.UserID, "type": c.Type})
	a, err := api.CreateAccount(ctx, app, fields)
	if err != nil {
		return err
	}
	return printAccount(s, r.Output, a)
}

// accountEditCmd changes the profile of an account.
type accountEditCmd struct {
	UserID     string   `arg:"" name:"user-id" help:"The account."`
	Unset      []string `help:"Fields to unset, such as nickname,location." placeholder:"FIELD,…"`
	IfRevision uint64   `help:"Only if the account is still at this revision."`
	profileFlags
}

// Run changes the account and prints it.
func (c *accountEditCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	patch := c.fields()
	for _, name := range c.Unset {
		name = underscored(name)
		if _, set := patch[name]; set {
			return usage("%s is both set and unset", name)
		}
		patch[name] = nil
	}
	if len(patch) == 0 {
		return usage("say what to change, such as --nickname or --unset nickname")
	}
	a, err := api.EditAccount(ctx, app, c.UserID, patch, c.IfRevision)
	if err != nil {
		return err
	}
	return printAccount(s, r.Output, a)
}

// accountGetCmd shows an account.
type accountGetCmd struct {
	UserID string `arg:"" name:"user-id" help:"The account."`
}

// Run prints the account.
func (c *accountGetCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	a, err := api.Account(ctx, app, c.UserID)
	if err != nil {
		return err
	}
	return printAccount(s, r.Output, a)
}

// accountListCmd lists accounts.
type accountListCmd struct {
	Type   string `help:"Only accounts of this type: normal or admin."`
	Q      string `help:"Only accounts with this text in the user id or nickname." placeholder:"TEXT"`
	Sort   string `help:"created_at, user_id or nickname." default:"created_at"`
	Order  string `help:"asc or desc." default:"asc"`
	Limit  int    `help:"Accounts a page, 1 to 1000." default:"50"`
	Cursor string `help:"Go on behind an earlier page."`
	All    bool   `help:"All pages."`
	AsOf   string `name:"as-of" help:"The list as it was at a time, as in 2026-01-31T12:00:00Z, or a position." placeholder:"MOMENT"`
}

// Run prints one page or all of them.
func (c *accountListCmd) Run(ctx context.Context, r *remote, s *streams) error {
	if c.Limit < 1 {
		return usage("--limit: a page has at least one account")
	}
	api, app, err := r.app()
	if err != nil {
		return err
	}
	columns := accountColumns
	if r.Output == "csv" {
		columns = allColumns
	}
	p := newPrinter(s, r.Output, columns)
	var last client.Page
	shown := 0
	building := newProgress(s.err, "percent", 0)
	for page, err := range api.Pages(ctx, app, client.Listing{
		Type: c.Type, Text: c.Q, Sort: c.Sort, Order: c.Order, Limit: c.Limit, Cursor: c.Cursor, AsOf: c.AsOf,
		Waits: func(p *client.Problem) { building.say(p.Detail) },
	}) {
		building.end()
		if err != nil {
			return err
		}
		for _, a := range page.Accounts {
			if err := p.print(a); err != nil {
				return err
			}
		}
		last, shown = page, shown+len(page.Accounts)
		if !c.All {
			break
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	about := ""
	if last.TotalIsEstimate {
		about = "about "
	}
	fmt.Fprintf(s.err, "%s of %s%s accounts\n", grouped(shown), about, grouped(last.Total))
	if !c.All && last.NextCursor != "" {
		fmt.Fprintf(s.err, "next page: --cursor %s\n", last.NextCursor)
	}
	return nil
}

// accountDeleteCmd deletes accounts.
type accountDeleteCmd struct {
	UserIDs []string `arg:"" name:"user-id" help:"The accounts."`
}

var deleteColumns = []column[client.DeleteResult]{
	{"user_id", func(d client.DeleteResult) string { return d.UserID }},
	{"result", func(d client.DeleteResult) string {
		if p := d.Problem(); p != nil {
			return p.Error()
		}
		return d.Status
	}},
	{"position", func(d client.DeleteResult) string { return nonzero(d.Position) }},
}

// Run deletes the accounts and prints what became of each.
func (c *accountDeleteCmd) Run(ctx context.Context, r *remote, s *streams) error {
	api, app, err := r.app()
	if err != nil {
		return err
	}
	p := newPrinter(s, r.Output, deleteColumns)
	var refused *client.Problem
	var failed []string
	for ids := range slices.Chunk(c.UserIDs, client.MaxDelete) {
		results, err := api.DeleteAccounts(ctx, app, ids)
		if err != nil {
			return err
		}
		for _, d := range results {
			if why := d.Problem(); why != nil {
				refused, failed = why, append(failed, d.UserID)
			}
			if err := p.print(d); err != nil {
				return err
			}
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	if refused != nil {
		return fmt.Errorf("%d of %d accounts were not deleted (%s), the last because: %w", len(failed), len(c.UserIDs), strings.Join(failed, ", "), refused)
	}
	return nil
}
