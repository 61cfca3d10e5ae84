package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/projections"
)

// batch is what a run of events makes of the rows that they touch: rows are read once, at
// the beginning, and written once, at the end, however often events change them.
type batch struct {
	tx         pgx.Tx
	generation int64
	apps       map[domain.AppID]*appState
	accounts   map[accountKey]*accountState
	order      []*accountState // in which they were touched
	deleted    int             // accounts
}

// appState is an application: the row as it will be.
type appState struct {
	appRow
	changed bool
}

type accountKey struct {
	app domain.AppID
	id  domain.UserID
}

// accountState is an account as the table has it and as it will be.
type accountState struct {
	app    *appState
	stored domain.Account
	now    domain.Account
	// looked tells that the table was asked whether it has the account.
	looked bool
	// created tells that the account was created in this batch, perhaps again.
	created bool
	changed bool
}

func newBatch(tx pgx.Tx, generation int64) *batch {
	return &batch{tx: tx, generation: generation, apps: make(map[domain.AppID]*appState), accounts: make(map[accountKey]*accountState)}
}

// touched returns which account an event is about, if any, and whether it creates it.
func touched(event domain.Event) (key accountKey, creates, ok bool) {
	switch e := event.(type) {
	case domain.AccountCreated:
		return accountKey{e.App, e.UserID}, true, true
	case domain.AccountEdited:
		return accountKey{e.App, e.UserID}, false, true
	case domain.AccountDeleted:
		return accountKey{e.App, e.UserID}, false, true
	}
	return accountKey{}, false, false
}

// load reads the rows that events are about: all applications, and those accounts that an
// event finds there before another one has created them; with created all.
func (b *batch) load(ctx context.Context, events []taken, created bool) error {
	var apps, ofApps, ids []string
	app := func(id domain.AppID) {
		if b.apps[id] == nil {
			b.apps[id] = &appState{}
			apps = append(apps, string(id))
		}
	}
	for _, e := range events {
		switch event := e.event.(type) {
		case domain.AppCreated:
			app(event.App)
		case domain.AppEdited:
			app(event.App)
		}
		key, creates, ok := touched(e.event)
		if !ok {
			continue
		}
		app(key.app)
		if b.accounts[key] != nil {
			continue
		}
		looked := !creates || created
		b.accounts[key] = &accountState{app: b.apps[key.app], looked: looked}
		if looked {
			ofApps, ids = append(ofApps, string(key.app)), append(ids, string(key.id))
		}
	}
	if err := b.loadApps(ctx, apps); err != nil || len(ids) == 0 {
		return err
	}
	return b.loadAccounts(ctx, ofApps, ids)
}

func (b *batch) loadApps(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := b.tx.Query(ctx, in(b.generation, selectApps+" WHERE app = ANY($1)"), ids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r, err := readApp(rows)
		if err != nil {
			return err
		}
		b.apps[r.app.ID].appRow = r
	}
	return rows.Err()
}

func (b *batch) loadAccounts(ctx context.Context, apps, ids []string) error {
	const sql = "SELECT p.app, " + accountColumns + " FROM unnest($1::text[], $2::text[]) AS k (app, user_id) " +
		"JOIN list.apps p ON p.app = k.app JOIN list.accounts a ON a.app = p.id AND a.user_id = k.user_id"
	rows, err := b.tx.Query(ctx, in(b.generation, sql), apps, ids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var app domain.AppID
		a, err := readAccount(rows, "", &app)
		if err != nil {
			return err
		}
		a.App = app
		s := b.accounts[accountKey{app, a.UserID}]
		s.stored, s.now = a, a
	}
	return rows.Err()
}

// take takes in one event.
func (b *batch) take(ctx context.Context, t taken) error {
	if err := storableTime(t.env.Time); err != nil {
		return impossible(t.env, err)
	}
	switch e := t.event.(type) {
	case domain.AppCreated:
		return b.takeApp(ctx, e.App, t)
	case domain.AppEdited:
		return b.takeApp(ctx, e.App, t)
	case domain.AdminLimitSet, domain.AdminSeatTaken, domain.AdminSeatReleased, domain.AccountErased:
		return nil // the application and the accounts tell the same
	}
	key, creates, ok := touched(t.event)
	if !ok {
		return impossible(t.env, fmt.Errorf("the account list does not know %T", t.event))
	}
	return b.takeAccount(key, creates, t)
}

// impossible returns the error of an event that can never be applied.
func impossible(env *eventstore.Envelope, err error) error {
	return &projections.EventError{Position: env.Position, Type: env.Type, Err: err}
}

func presence(exists bool) string {
	if exists {
		return "it exists already"
	}
	return "it does not exist"
}

func (b *batch) takeApp(ctx context.Context, id domain.AppID, t taken) error {
	s := b.apps[id]
	_, creates := t.event.(domain.AppCreated)
	if creates == s.app.Exists() {
		return impossible(t.env, fmt.Errorf("application %s: %s", id, presence(s.app.Exists())))
	}
	s.app = domain.Evolve(domain.State{App: s.app}, t.event, uint64(t.env.Position)).App
	s.changed = true
	if err := storable(s.app.Name); err != nil {
		return impossible(t.env, err)
	}
	if !creates {
		return nil
	}
	// Its accounts need the number of the row, which the flush fills in.
	const insert = "INSERT INTO list.apps (app, name, max_admins, created_at, updated_at, revision, normals, admins) " +
		"VALUES ($1, '', 0, 0, 0, 0, 0, 0) RETURNING id"
	return b.tx.QueryRow(ctx, in(b.generation, insert), string(id)).Scan(&s.id)
}

func (b *batch) takeAccount(key accountKey, creates bool, t taken) error {
	s := b.accounts[key]
	if !s.app.app.Exists() {
		return impossible(t.env, fmt.Errorf("application %s does not exist", key.app))
	}
	if creates == s.now.Exists() {
		return impossible(t.env, fmt.Errorf("account %s of application %s: %s", key.id, key.app, presence(s.now.Exists())))
	}
	if !s.changed {
		s.changed = true
		b.order = append(b.order, s)
	}
	s.created = s.created || creates
	was := s.now
	s.now = domain.Evolve(domain.State{Account: s.now}, t.event, uint64(t.env.Position)).Account
	s.app.Change(was, s.now)
	s.app.changed = true
	if err := storableAccount(&s.now); err != nil {
		return impossible(t.env, err)
	}
	return nil
}
