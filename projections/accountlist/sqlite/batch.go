package sqlite

import (
	"fmt"
	"slices"

	"zombiezen.com/go/sqlite"

	"rollcall/domain"
	"rollcall/eventstore"
)

// batch is what a run of events makes of the rows that they touch. Rows are read when
// an event needs them and written once, at the end.
type batch struct {
	conn     *sqlite.Conn
	apps     map[domain.AppID]*appState
	accounts map[accountKey]*accountState
	order    []*accountState // in which they were touched
	firstID  int64           // rows with lower ids were there before the batch
	nextID   int64
	postings postingChanges
	erased   bool // an account was deleted

	before, after []gram // used again for each account
}

// appState is an application: the row as it will be.
type appState struct {
	appRow
	stored  bool // the table has the row
	changed bool
}

type accountKey struct {
	app int64
	id  domain.UserID
}

// accountState is an account: its row as the table has it and as it will be.
type accountState struct {
	app    *appState
	stored accountRow
	now    domain.Account
	// presumed tells that the table was not asked whether it has the account.
	presumed bool
	// created is the event that created the account in this batch, if any.
	created *eventstore.Envelope
}

func newBatch(conn *sqlite.Conn) (*batch, error) {
	last, err := count(conn, "SELECT max(id) FROM accounts")
	return &batch{
		conn:     conn,
		apps:     make(map[domain.AppID]*appState),
		accounts: make(map[accountKey]*accountState),
		firstID:  last + 1,
		nextID:   last + 1,
		postings: make(postingChanges),
	}, err
}

// app returns the state of an application, which may not exist.
func (b *batch) app(id domain.AppID) (*appState, error) {
	if s := b.apps[id]; s != nil {
		return s, nil
	}
	row, err := findApp(b.conn, id)
	if err != nil {
		return nil, err
	}
	s := &appState{appRow: row, stored: row.id != 0}
	b.apps[id] = s
	return s, nil
}

func (b *batch) takeApp(id domain.AppID, event domain.Event, env *eventstore.Envelope) error {
	s, err := b.app(id)
	if err != nil {
		return err
	}
	if _, creates := event.(domain.AppCreated); creates == s.app.Exists() {
		return impossible(env, fmt.Errorf("application %s: %s", id, presence(s.app.Exists())))
	}
	s.app = domain.Evolve(domain.State{App: s.app}, event, uint64(env.Position)).App
	s.changed = true
	if s.id == 0 { // accounts of this batch need the id of the row
		if s.id, err = count(b.conn, "SELECT coalesce(max(id), 0) + 1 FROM apps"); err != nil {
			return err
		}
		return b.flushApp(s)
	}
	return nil
}

func presence(exists bool) string {
	if exists {
		return "it exists already"
	}
	return "it does not exist"
}

func (b *batch) takeAccount(appID domain.AppID, id domain.UserID, event domain.Event, env *eventstore.Envelope) error {
	app, err := b.app(appID)
	if err != nil {
		return err
	}
	if !app.app.Exists() {
		return impossible(env, fmt.Errorf("application %s does not exist", appID))
	}
	_, creates := event.(domain.AccountCreated)
	s, err := b.account(app, id, creates)
	if err != nil {
		return err
	}
	if creates == s.now.Exists() {
		return impossible(env, fmt.Errorf("account %s of application %s: %s", id, appID, presence(s.now.Exists())))
	}
	if creates {
		s.created = env
	}
	was := s.now
	s.now = domain.Evolve(domain.State{Account: s.now}, event, uint64(env.Position)).Account
	app.Change(was, s.now)
	app.changed = true
	return nil
}

// account returns the state of an account. One that is to be created is taken
// as absent, which is verified when it is written.
func (b *batch) account(app *appState, id domain.UserID, creates bool) (*accountState, error) {
	key := accountKey{app: app.id, id: id}
	if s := b.accounts[key]; s != nil {
		return s, nil
	}
	s := &accountState{app: app, presumed: creates}
	if !creates {
		row, err := findAccount(b.conn, app.appRow, id)
		if err != nil {
			return nil, err
		}
		s.stored, s.now = row, row.account
	}
	b.accounts[key] = s
	b.order = append(b.order, s)
	return s, nil
}

// flush writes all rows.
func (b *batch) flush() error {
	var created []*accountState
	for _, s := range b.order {
		if err := b.flushAccount(s); err != nil {
			return err
		}
		if s.created != nil && s.now.Exists() {
			created = append(created, s)
		}
	}
	if err := b.insert(created); err != nil {
		return err
	}
	for _, s := range b.apps {
		if !s.changed {
			continue
		}
		if err := b.flushApp(s); err != nil {
			return err
		}
	}
	return b.postings.flush(b.conn)
}

func (b *batch) flushApp(s *appState) error {
	s.changed = false
	sql := "INSERT INTO apps VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
	if s.stored {
		sql = "UPDATE apps SET app=?2, name=?3, max_admins=?4, created_at=?5, updated_at=?6, revision=?7, normals=?8, admins=?9 WHERE id=?1"
	}
	s.stored = true
	a := s.app
	return exec(b.conn, sql, s.id, string(a.ID), a.Name, int64(a.MaxAdmins),
		a.CreatedAt.UnixNano(), a.UpdatedAt.UnixNano(), int64(a.Revision), s.Normals, s.Admins)
}

// flushAccount writes what became of one account, unless it is to be inserted.
func (b *batch) flushAccount(s *accountState) error {
	was, now := s.stored.account, s.now
	if was.Exists() && (s.created != nil || !now.Exists()) {
		b.erased = true
		b.before = accountGrams(b.before, was.UserID, was.Profile.Nickname)
		b.postings.note(s.app.id, s.stored.id, b.before, true)
		if err := exec(b.conn, deleteAccount, s.stored.id); err != nil {
			return err
		}
	}
	switch {
	case !now.Exists() && s.presumed:
		return b.verifyAbsent(s)
	case !now.Exists() || s.created != nil:
		return nil
	}
	if err := b.rename(s); err != nil {
		return err
	}
	stmt, err := b.conn.Prepare(updateAccount)
	if err != nil {
		return err
	}
	bindAccount(stmt, 0, s.app.id, s.stored.id, &s.now)
	_, err = stmt.Step()
	return finish(stmt, err)
}

// insert inserts the accounts that were created.
func (b *batch) insert(created []*accountState) error {
	for rows := range slices.Chunk(created, insertRows) {
		if len(rows) == insertRows {
			if err := b.insertAll(insertMany, rows); err != nil {
				return err
			}
			continue
		}
		for i := range rows {
			if err := b.insertAll(insertOne, rows[i:i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// insertAll inserts accounts with one statement.
func (b *batch) insertAll(sql string, rows []*accountState) error {
	stmt, err := b.conn.Prepare(sql)
	if err != nil {
		return err
	}
	for i, s := range rows {
		id := b.nextID
		b.nextID++
		b.after = accountGrams(b.after, s.now.UserID, s.now.Profile.Nickname)
		b.postings.note(s.app.id, id, b.after, false)
		bindAccount(stmt, i*accountParams, s.app.id, id, &s.now)
	}
	_, err = stmt.Step()
	err = finish(stmt, err)
	if sqlite.ErrCode(err) != sqlite.ResultConstraintUnique {
		return err
	}
	for _, s := range rows {
		if err := b.verifyAbsent(s); err != nil {
			return err
		}
	}
	return err
}

// verifyAbsent checks that the table did not have an account that an event of the
// batch created.
func (b *batch) verifyAbsent(s *accountState) error {
	row, err := findAccount(b.conn, s.app.appRow, domain.UserID(s.created.Aggregate.Name))
	if err == nil && row.id != 0 && row.id < b.firstID {
		err = duplicate(s)
	}
	return err
}

func duplicate(s *accountState) error {
	return impossible(s.created, fmt.Errorf("account %s: %s", s.created.Aggregate, presence(true)))
}

// rename writes a nickname that has changed.
func (b *batch) rename(s *accountState) error {
	was, now := s.stored.account.Profile.Nickname, s.now.Profile.Nickname
	if was == now {
		return nil
	}
	b.before = accountGrams(b.before, s.now.UserID, was)
	b.after = accountGrams(b.after, s.now.UserID, now)
	gone, added := gramChange(b.before, b.after)
	b.postings.note(s.app.id, s.stored.id, gone, true)
	b.postings.note(s.app.id, s.stored.id, added, false)
	return exec(b.conn, renameAccount, s.stored.id, now)
}
