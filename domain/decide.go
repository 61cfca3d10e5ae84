// Package domain is the model of applications and accounts: state, commands,
// events, the decision which events a command leads to, and how events make state.
//
// It is pure. It must never read a clock, make an id, do input or output, or
// know how anything is written or transported; ids and times arrive in commands.
package domain

// State is what a command is decided on. A command needs only a part of it:
// commands on applications need App and Roster; commands on accounts need App,
// Account and, where an administrator is created or deleted, Roster; that an account is
// erased needs Erasure alone.
type State struct {
	App     App
	Roster  Roster
	Account Account
	Erasure Erasure
}

// Erasure is what is recorded of the erasure of the accounts that had one user id. It is apart from Account, which may have been
// created again by then: its revision is not moved by what became of an earlier one.
type Erasure struct {
	Deletion uint64 // position of the latest deletion whose erasure is recorded, zero for none
}

// NeedsRoster tells whether the command is decided on the roster of
// administrators too, given the state of the application and the account.
func NeedsRoster(s State, c Command) bool {
	switch c := c.(type) {
	case CreateApp, EditApp:
		return true
	case CreateAccount:
		return c.Type == TypeAdmin
	case UpsertAccount:
		return c.Type == TypeAdmin && !s.Account.Exists()
	case DeleteAccount:
		return s.Account.Type == TypeAdmin
	}
	return false
}

// Decide returns the events that a command leads to, none when it changes
// nothing, or a *Rejection. There is at most one event for each of the
// application, its roster, the account and its erasure.
func Decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case CreateApp:
		return decideCreateApp(s, c)
	case EditApp:
		return decideEditApp(s, c)
	case CreateAccount:
		return decideCreate(s, c)
	case EditAccount:
		return decideEdit(s, c)
	case UpsertAccount:
		return decideUpsert(s, c)
	case DeleteAccount:
		return decideDelete(s, c)
	case RecordErasure:
		return decideErasure(s, c)
	}
	return nil, reject(CodeInvalid, "there is no such command")
}

func (c *checks) app(name string, maxAdmins int) {
	c.text("name", name, MaxAppNameBytes)
	if maxAdmins < 0 || maxAdmins > HighestMaxAdmins {
		c.add("max_admins", CodeBadValue, "a number from 0 to %d", HighestMaxAdmins)
	}
}

func decideCreateApp(s State, c CreateApp) ([]Event, error) {
	limit := DefaultMaxAdmins
	if c.MaxAdmins != nil {
		limit = *c.MaxAdmins
	}
	var bad checks
	bad.appID(c.App)
	bad.app(c.Name, limit)
	if err := bad.err("the application"); err != nil {
		return nil, err
	}
	if s.App.Exists() {
		return nil, reject(CodeAppExists, "application %s exists already; choose another name", c.App)
	}
	return []Event{
		AppCreated{App: c.App, Name: c.Name, MaxAdmins: limit, At: c.At},
		AdminLimitSet{App: c.App, Limit: limit, At: c.At},
	}, nil
}

func decideEditApp(s State, c EditApp) ([]Event, error) {
	if !s.App.Exists() {
		return nil, appNotFound(c.App)
	}
	name, limit := s.App.Name, s.App.MaxAdmins
	if c.Name != nil {
		name = *c.Name
	}
	if c.MaxAdmins != nil {
		limit = *c.MaxAdmins
	}
	var bad checks
	bad.app(name, limit)
	if err := bad.err("the application"); err != nil {
		return nil, err
	}
	if name == s.App.Name && limit == s.App.MaxAdmins {
		return nil, nil
	}
	events := []Event{AppEdited{App: c.App, Name: name, MaxAdmins: limit, At: c.At}}
	if limit == s.App.MaxAdmins {
		return events, nil
	}
	if seats := len(s.Roster.Seats); limit < seats {
		return nil, reject(CodeAdminsOverLimit, "application %s has %d administrators; delete some before the limit is lowered to %d", c.App, seats, limit)
	}
	return append(events, AdminLimitSet{App: c.App, Limit: limit, At: c.At}), nil
}

func decideCreate(s State, c CreateAccount) ([]Event, error) {
	if c.Type == "" {
		c.Type = TypeNormal
	}
	var bad checks
	bad.userID(c.UserID)
	bad.accountType(c.Type)
	bad.profile(c.Profile)
	if err := bad.err("the account"); err != nil {
		return nil, err
	}
	if !s.App.Exists() {
		return nil, appNotFound(c.App)
	}
	if s.Account.Exists() {
		return nil, reject(CodeAccountExists, "account %s exists already in application %s", c.UserID, c.App)
	}
	events := []Event{AccountCreated{App: c.App, UserID: c.UserID, Type: c.Type, Profile: c.Profile, At: c.At}}
	if c.Type != TypeAdmin {
		return events, nil
	}
	if len(s.Roster.Seats) >= s.Roster.Limit {
		return nil, reject(CodeAdminLimitReached, "application %s has all of its %d administrators; delete one or raise max_admins", c.App, s.Roster.Limit)
	}
	return append(events, AdminSeatTaken{App: c.App, UserID: c.UserID, At: c.At}), nil
}

func decideEdit(s State, c EditAccount) ([]Event, error) {
	if fixed := c.Patch.Fields &^ ProfileFields; fixed != 0 {
		return nil, immutable(fixed)
	}
	var bad checks
	bad.profile(c.Patch.Values)
	if err := bad.err("the edit"); err != nil {
		return nil, err
	}
	if !s.App.Exists() {
		return nil, appNotFound(c.App)
	}
	if !s.Account.Exists() {
		return nil, accountNotFound(c.App, c.UserID)
	}
	if c.IfRevision != 0 && c.IfRevision != s.Account.Revision {
		return nil, reject(CodeRevisionMismatch, "account %s is at revision %d, not %d; read it again and repeat the edit", c.UserID, s.Account.Revision, c.IfRevision)
	}
	after := s.Account.Profile
	after.take(c.Patch.Fields, c.Patch.Values)
	changed := after.diff(s.Account.Profile)
	if changed == 0 {
		return nil, nil
	}
	var values Profile
	values.take(changed, after)
	return []Event{AccountEdited{App: c.App, UserID: c.UserID, Patch: Patch{Fields: changed, Values: values}, At: c.At}}, nil
}

func decideUpsert(s State, c UpsertAccount) ([]Event, error) {
	if !s.Account.Exists() {
		var p Profile
		p.take(c.Patch.Fields, c.Patch.Values)
		return decideCreate(s, CreateAccount{App: c.App, UserID: c.UserID, Type: c.Type, Profile: p, At: c.At})
	}
	if c.Type != "" && c.Type != s.Account.Type {
		return nil, immutable(FieldsOf(FieldType))
	}
	return decideEdit(s, EditAccount{App: c.App, UserID: c.UserID, Patch: c.Patch, At: c.At})
}

func decideDelete(s State, c DeleteAccount) ([]Event, error) {
	if !s.App.Exists() {
		return nil, appNotFound(c.App)
	}
	if !s.Account.Exists() {
		return nil, accountNotFound(c.App, c.UserID)
	}
	events := []Event{AccountDeleted{App: c.App, UserID: c.UserID, At: c.At}}
	if s.Account.Type == TypeAdmin {
		events = append(events, AdminSeatReleased{App: c.App, UserID: c.UserID, At: c.At})
	}
	return events, nil
}

// decideErasure records each erasure once. Deletions are erased in the order of the log, so that one at or before the latest
// that is recorded is recorded too.
func decideErasure(s State, c RecordErasure) ([]Event, error) {
	if c.Deletion == 0 {
		return nil, reject(CodeInvalid, "name the deletion that account %q of application %s was erased for", c.UserID, c.App)
	}
	if c.Deletion <= s.Erasure.Deletion {
		return nil, nil
	}
	return []Event{AccountErased{App: c.App, UserID: c.UserID, Deletion: c.Deletion, DeletedAt: c.DeletedAt, At: c.At}}, nil
}

func appNotFound(app AppID) error {
	return reject(CodeAppNotFound, "there is no application %q; create it first", app)
}

func accountNotFound(app AppID, id UserID) error {
	return reject(CodeAccountNotFound, "there is no account %q in application %s", id, app)
}

func immutable(fixed Fields) error {
	r := &Rejection{Code: CodeImmutable, Detail: "an edit names fields that never change; leave them out"}
	for f := range fixed.All() {
		r.Fields = append(r.Fields, FieldError{Field: f.String(), Code: CodeImmutable, Detail: "cannot be changed"})
	}
	return r
}
