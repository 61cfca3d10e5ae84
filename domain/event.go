package domain

import "time"

// Event is a fact. It never changes.
type Event interface{ isEvent() }

// AppCreated tells that an application was created.
type AppCreated struct {
	App       AppID
	Name      string
	MaxAdmins int
	At        time.Time
}

// AppEdited tells the name and limit that an application has from now on.
type AppEdited struct {
	App       AppID
	Name      string
	MaxAdmins int
	At        time.Time
}

// AdminLimitSet tells how many administrators an application may have from
// now on.
type AdminLimitSet struct {
	App   AppID
	Limit int
	At    time.Time
}

// AdminSeatTaken tells that an account became an administrator.
type AdminSeatTaken struct {
	App    AppID
	UserID UserID
	At     time.Time
}

// AdminSeatReleased tells that an account is no longer an administrator.
type AdminSeatReleased struct {
	App    AppID
	UserID UserID
	At     time.Time
}

// AccountCreated tells that an account was created.
type AccountCreated struct {
	App     AppID
	UserID  UserID
	Type    AccountType
	Profile Profile
	At      time.Time
}

// AccountEdited tells which fields of an account changed, and to what.
type AccountEdited struct {
	App    AppID
	UserID UserID
	Patch  Patch
	At     time.Time
}

// AccountDeleted tells that an account was deleted.
type AccountDeleted struct {
	App    AppID
	UserID UserID
	At     time.Time
}

// AccountErased tells that nothing of a deleted account can be read any more. It says nothing of an account
// that was created again under the same id.
type AccountErased struct {
	App       AppID
	UserID    UserID
	Deletion  uint64    // position of the deletion
	DeletedAt time.Time // when the log took the deletion; in old records, when it was asked for
	At        time.Time
}

func (AppCreated) isEvent()        {}
func (AppEdited) isEvent()         {}
func (AdminLimitSet) isEvent()     {}
func (AdminSeatTaken) isEvent()    {}
func (AdminSeatReleased) isEvent() {}
func (AccountCreated) isEvent()    {}
func (AccountEdited) isEvent()     {}
func (AccountDeleted) isEvent()    {}
func (AccountErased) isEvent()     {}
