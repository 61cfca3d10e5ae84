package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"rollcall/domain"
)

// Deletion is an account that was deleted, and when the log took that in.
type Deletion struct {
	User domain.UserID
	At   time.Time
}

// forgetPage is how many dead letters are looked at at once.
const forgetPage = 100

// Forget removes the dead letters of an application that may be about deleted accounts, and rejects their commands: their bodies hold what
// was to become of the accounts. Those that came after a deletion are of whoever has the user id now. It may be repeated.
//
// Outcomes hold no personal data, and what is decided is in the queue no more.
func (s *Service) Forget(ctx context.Context, app domain.AppID, deletions ...Deletion) error {
	var errs []error
	for after := uint64(0); ; {
		letters, err := s.cfg.DeadLetters.List(ctx, app, after, forgetPage)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("look for dead letters of deleted accounts: %w", err))...)
		}
		for _, d := range letters {
			after = d.ID
			if d.mayHold(deletions) {
				errs = append(errs, s.discard(ctx, d, "the account that it is about has been deleted and erased"))
			}
		}
		if len(letters) < forgetPage {
			return errors.Join(errs...)
		}
	}
}

// mayHold tells whether a dead letter may be about one of the deleted accounts. It could not be understood, so that what counts is whether the user
// id stands in it as a JSON string.
func (d DeadLetter) mayHold(deletions []Deletion) bool {
	for _, del := range deletions {
		id, err := json.Marshal(string(del.User))
		if !d.Time.After(del.At) && (err != nil || bytes.Contains(d.Data, id) || bytes.Contains(d.Data, plainQuoted(del.User))) {
			return true
		}
	}
	return false
}

// plainQuoted is a user id in quotes as most write it: encoding/json escapes < > and & besides.
func plainQuoted(id domain.UserID) []byte { return []byte(`"` + string(id) + `"`) }
