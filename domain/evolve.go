package domain

// Evolve returns the state after an event that stands at a position of the log.
func Evolve(s State, e Event, position uint64) State {
	switch e := e.(type) {
	case AppCreated:
		s.App = App{ID: e.App, Name: e.Name, MaxAdmins: e.MaxAdmins, CreatedAt: e.At, UpdatedAt: e.At, Revision: position}
	case AppEdited:
		s.App.Name, s.App.MaxAdmins = e.Name, e.MaxAdmins
		s.App.UpdatedAt, s.App.Revision = e.At, position
	case AdminLimitSet:
		s.Roster.Limit = e.Limit
	case AdminSeatTaken:
		s.Roster = s.Roster.with(e.UserID)
	case AdminSeatReleased:
		s.Roster = s.Roster.without(e.UserID)
	case AccountCreated:
		s.Account = Account{
			App: e.App, UserID: e.UserID, Type: e.Type, Profile: e.Profile,
			CreatedAt: e.At, UpdatedAt: e.At, Revision: position,
		}
	case AccountEdited:
		s.Account.Profile.take(e.Patch.Fields, e.Patch.Values)
		s.Account.UpdatedAt, s.Account.Revision = e.At, position
	case AccountDeleted:
		s.Account = Account{Revision: position}
	case AccountErased:
		s.Erasure.Deletion = e.Deletion
	}
	return s
}
