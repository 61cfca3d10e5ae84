package domain

import (
	"slices"
	"time"
)

// App is the state of an application. The zero value does not exist.
type App struct {
	ID        AppID
	Name      string
	MaxAdmins int
	CreatedAt time.Time
	UpdatedAt time.Time
	Revision  uint64
}

// Exists tells whether the application has been created.
func (a App) Exists() bool { return a.ID != "" }

// Roster is an application's list of administrators: an invariant over several
// accounts, kept in one place so that it can be guarded.
type Roster struct {
	Limit int
	Seats []UserID // sorted
}

// Holds tells whether the account has a seat.
func (r Roster) Holds(id UserID) bool {
	_, ok := slices.BinarySearch(r.Seats, id)
	return ok
}

func (r Roster) with(id UserID) Roster {
	i, ok := slices.BinarySearch(r.Seats, id)
	if !ok {
		r.Seats = slices.Insert(slices.Clone(r.Seats), i, id)
	}
	return r
}

func (r Roster) without(id UserID) Roster {
	if i, ok := slices.BinarySearch(r.Seats, id); ok {
		r.Seats = slices.Delete(slices.Clone(r.Seats), i, i+1)
	}
	return r
}
