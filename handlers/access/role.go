// Package access decides who may do what: tokens, the roles they have, and the
// actions that a role may take in an application.
//
// It owns tokens from their making to their revocation. It must never keep a
// secret, only its hash, and must never answer from the store while a request waits: what
// Authenticate needs is in memory.
//
// # Roles and actions
//
//	               operator  admin  producer  viewer  exporter  auditor
//	manage_apps       x        x
//	read_apps         x        x       x        x        x         x
//	write_accounts    x        x       x
//	read_accounts     x        x                x
//	export            x        x                         x
//	read_outcomes     x        x       x                 x
//	audit             x        x                                   x
//	manage_tokens     x        x
//	manage_dead       x        x
//	operate           x
//
// An operator acts in every application, all others in the one that their token
// is bound to. An exporter cannot read the account list, nor a producer the accounts that it did not
// write itself: a role gets what its work needs. Only an operator makes, sees and revokes the tokens of
// operators.
package access

import "slices"

// Role is what a token is for. The zero value may do nothing.
type Role string

// The roles. All but Operator are bound to one application.
const (
	Operator Role = "operator" // everything, in all applications
	Admin    Role = "admin"    // everything in one application
	Producer Role = "producer" // commands
	Viewer   Role = "viewer"   // reads
	Exporter Role = "exporter" // exports
	Auditor  Role = "auditor"  // history, events, proofs
)

// Roles returns all roles, from the mightiest on.
func Roles() []Role { return []Role{Operator, Admin, Producer, Viewer, Exporter, Auditor} }

// Action is something that a request does. The zero value is permitted to nobody.
type Action string

// The actions.
const (
	ManageApps    Action = "manage_apps"    // create and edit an application
	ReadApps      Action = "read_apps"      // see the record of an application
	WriteAccounts Action = "write_accounts" // create, edit, delete and import accounts
	ReadAccounts  Action = "read_accounts"  // see and list accounts
	Export        Action = "export"         // order, see, follow, cancel and download exports, and have their events sent to webhooks
	ReadOutcomes  Action = "read_outcomes"  // learn what became of commands that were sent as messages
	Audit         Action = "audit"          // history, events, proofs
	ManageTokens  Action = "manage_tokens"  // create, list and revoke tokens
	ManageDead    Action = "manage_dead"    // see, retry and drop messages that could not be understood as commands
	Operate       Action = "operate"        // projections and what else is of the instance, not of an application
)

// Actions returns all actions.
func Actions() []Action {
	return []Action{ManageApps, ReadApps, WriteAccounts, ReadAccounts, Export, ReadOutcomes, Audit, ManageTokens, ManageDead, Operate}
}

// grants tells which actions a role may take. It is the table of the package comment and
// never changes.
var grants = map[Role][]Action{
	Operator: {ManageApps, ReadApps, WriteAccounts, ReadAccounts, Export, ReadOutcomes, Audit, ManageTokens, ManageDead, Operate},
	Admin:    {ManageApps, ReadApps, WriteAccounts, ReadAccounts, Export, ReadOutcomes, Audit, ManageTokens, ManageDead},
	Producer: {ReadApps, WriteAccounts, ReadOutcomes},
	Viewer:   {ReadApps, ReadAccounts},
	Exporter: {ReadApps, Export, ReadOutcomes},
	Auditor:  {ReadApps, Audit},
}

func (r Role) may(a Action) bool { return slices.Contains(grants[r], a) }
