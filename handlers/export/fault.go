package export

import (
	"errors"
	"maps"
	"slices"

	"rollcall/domain"
)

// What an attempt can end by without its own fault. These texts are what those who ordered the
// export read; what is wrapped together with them is for the log alone.
var (
	errList  = errors.New("the account list is not available")
	errStore = errors.New("the file store is not available")
	errLog   = errors.New("the log is not available")
)

// What Files wrap in their errors where they know what is wrong, for people to read.
var (
	ErrStoreFull    = errors.New("the file store has no space left")
	ErrStoreAway    = errors.New("the file store cannot be reached")
	ErrStoreRefuses = errors.New("the service has no credentials that the file store takes")
	ErrNoBucket     = errors.New("the file store has no such bucket")
	ErrStoreTaken   = errors.New("the file store belongs to another Rollcall")
)

// Other reasons that people read.
const (
	reasonStopped  = "the service was stopped"
	reasonRecalled = "an account that the file may hold was deleted; it is written anew without it"
	reasonRestless = "accounts are deleted faster than the file is written; order fewer by a filter or user_ids, or again when fewer are deleted"
	reasonInternal = "an internal error; the log of the service tells more"
)

// Reason names, for programs, why a job failed or expired: what its Error tells people.
type Reason string

// reasons are those that have a name. The texts are in events that are kept, so that none is ever changed, only added.
var reasons = map[string]Reason{
	errList.Error(): "list_unavailable", errStore.Error(): "store_unavailable", errLog.Error(): "log_unavailable",
	ErrStoreFull.Error(): "store_full", ErrStoreAway.Error(): "store_away", ErrStoreRefuses.Error(): "store_refuses", ErrNoBucket.Error(): "no_bucket",
	ErrStoreTaken.Error(): "store_taken",
	reasonStopped:         "stopped", reasonRecalled: "account_deleted", reasonErased: "account_deleted", reasonRestless: "accounts_deleted_too_often", reasonInternal: "internal",
	reasonAge: "age", reasonLost: "file_lost",
}

// Reason names why the job failed or expired; empty for no reason, and for one that has no name.
func (j Job) Reason() Reason { return reasons[j.Error] }

// Reasons returns all names that Job.Reason may give.
func Reasons() []Reason {
	return slices.Compact(slices.Sorted(maps.Values(reasons)))
}

// unavailable tells whether an error is about the circumstances rather than about the job.
func unavailable(err error) bool {
	return errors.Is(err, errList) || errors.Is(err, errStore) || errors.Is(err, errLog)
}

// forPeople words an error for those who ordered the export, without anything of the
// inside of the service.
func forPeople(err error) string {
	var refused *domain.Rejection
	if errors.As(err, &refused) {
		return refused.Detail
	}
	if errors.Is(err, errRecalled) {
		return reasonRestless
	}
	for _, known := range []error{ErrStoreFull, ErrStoreAway, ErrStoreRefuses, ErrNoBucket, ErrStoreTaken, errStore, errList, errLog} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return reasonInternal
}
