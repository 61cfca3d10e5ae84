package domain

import "time"

// Command is a request to change something. Its time arrives with it.
type Command interface{ isCommand() }

// CreateApp asks for a new application. A nil MaxAdmins means DefaultMaxAdmins.
type CreateApp struct {
	App       AppID
	Name      string
	MaxAdmins *int
	At        time.Time
}

// EditApp asks for a change of an application. Nil leaves a value as it is.
type EditApp struct {
	App       AppID
	Name      *string
	MaxAdmins *int
	At        time.Time
}

// CreateAccount asks for a new account. An empty Type means normal.
type CreateAccount struct {
	App     AppID
	UserID  UserID
	Type    AccountType
	Profile Profile
	At      time.Time
}

// EditAccount asks for a change of an account's profile. IfRevision, unless
// zero, is the revision that the account must still be at.
type EditAccount struct {
	App        AppID
	UserID     UserID
	Patch      Patch
	IfRevision uint64
	At         time.Time
}

// UpsertAccount asks for an account to be as told, created or edited. An empty Type
// means normal for a new account and any for one that exists.
type UpsertAccount struct {
	App    AppID
	UserID UserID
	Type   AccountType
	Patch  Patch
	At     time.Time
}

// DeleteAccount asks for an account to be deleted. Its personal data cannot be
// recovered afterwards.
type DeleteAccount struct {
	App    AppID
	UserID UserID
	At     time.Time
}

// RecordErasure asks for it to be recorded that a deleted account has been erased.
type RecordErasure struct {
	App       AppID
	UserID    UserID
	Deletion  uint64    // position of the deletion
	DeletedAt time.Time // when the log took the deletion; in old records, when it was asked for
	At        time.Time
}

func (CreateApp) isCommand()     {}
func (EditApp) isCommand()       {}
func (CreateAccount) isCommand() {}
func (EditAccount) isCommand()   {}
func (UpsertAccount) isCommand() {}
func (DeleteAccount) isCommand() {}
func (RecordErasure) isCommand() {}
