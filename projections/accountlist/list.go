// Package accountlist is the list of accounts: a read model of all
// applications and their accounts, built from the log. It owns the interface
// that queries and exports use, what a cursor is, and the order of a list; its adapters own
// the tables.
//
// It must never decide anything that is not in the log: every adapter can be
// thrown away and built again from position zero.
package accountlist

import (
	"context"
	"fmt"

	"rollcall/domain"
	"rollcall/projections"
)

// Name is the name of this projection.
const Name = "account_list"

// Version is the version of what the list holds. An adapter whose tables were
// written by another version builds them again from position zero.
const Version = 1

// List is the list of accounts. Implementations are safe for concurrent use; reads go on
// while events are applied, and each read shows exactly one position of the log.
//
// All errors of reads that the caller is to blame for are a *domain.Rejection.
type List interface {
	projections.Projection

	// Page returns one page of an application's accounts. An account that is in
	// the list all the while is on exactly one of the pages that follow from
	// each other's cursors, whatever comes and goes beside it.
	//
	// Rejections: domain.CodeAppNotFound, domain.CodeInvalid, CodeInvalidCursor.
	Page(ctx context.Context, l domain.Listing) (domain.Page, error)

	// Account returns one account and the position that the answer shows, which
	// is also told with a rejection: domain.CodeAppNotFound, domain.CodeAccountNotFound.
	Account(ctx context.Context, app domain.AppID, id domain.UserID) (domain.Account, uint64, error)

	// App returns one application and the position that the answer shows, which
	// is also told with a rejection: domain.CodeAppNotFound.
	App(ctx context.Context, app domain.AppID) (domain.App, uint64, error)

	// Apps returns all applications by id and the position that the answer shows.
	Apps(ctx context.Context) ([]domain.App, uint64, error)

	// Chunk returns consecutive accounts, as of one position, or those that are named; user ids
	// that name no account are left out. An account that is in the list all the while is in exactly
	// one of the chunks that follow from each other's last places. Rejections:
	// domain.CodeAppNotFound, domain.CodeInvalid.
	Chunk(ctx context.Context, s domain.Stretch) (domain.Chunk, error)
}

// AppNotFound returns the rejection of a read in an application that does not exist.
func AppNotFound(app domain.AppID) error {
	return &domain.Rejection{Code: domain.CodeAppNotFound, Detail: fmt.Sprintf("there is no application %q; create it first", app)}
}

// AccountNotFound returns the rejection of a read of an account that does not exist.
func AccountNotFound(app domain.AppID, id domain.UserID) error {
	return &domain.Rejection{Code: domain.CodeAccountNotFound, Detail: fmt.Sprintf("there is no account %q in application %s", id, app)}
}
