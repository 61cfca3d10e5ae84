package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
)

// Deletion is an account that was deleted, and when the log took that in.
type Deletion struct {
	User domain.UserID
	At   time.Time
}

// forgetPage is how many dead letters are looked at at once.
const forgetPage = 100

// Forget removes the dead letters of an application that may be about deleted accounts, and rejects their commands: their bodies hold what
// was to become of the accounts. Those whose commands came after a deletion are of whoever has the user id now. It may be repeated.
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
				errs = append(errs, s.discard(ctx, d, whyForgotten))
			}
		}
		if len(letters) < forgetPage {
			return errors.Join(errs...)
		}
	}
}

const whyForgotten = "the account that it is about has been deleted and erased"

// Buried sees to a dead letter that has just been kept: one that may be about an account that was deleted after its command came, whose dead
// letters may have been forgotten already, is forgotten as well. Of a deletion that follows, Forget will be told. It may be repeated.
func (s *Service) Buried(ctx context.Context, d DeadLetter) error {
	if !d.App.Valid() {
		return nil
	}
	for user := range d.users() {
		deletions, err := s.deletions(ctx, d.App, user)
		if err != nil {
			return fmt.Errorf("look whether an account that dead letter %d names has been deleted: %w", d.ID, err)
		}
		if d.mayHold(deletions) {
			return s.discard(ctx, d, whyForgotten)
		}
	}
	return nil
}

// deletions returns the deletions of the accounts that have had a user id.
func (s *Service) deletions(ctx context.Context, app domain.AppID, user domain.UserID) (all []Deletion, err error) {
	id := eventstore.Account(string(app), string(user))
	revision, err := s.cfg.Log.Revision(ctx, id)
	if err != nil || revision == 0 {
		return nil, err
	}
	for e, err := range eventstore.LoadThrough(ctx, s.cfg.Log, id, revision) {
		if err != nil {
			return nil, err
		}
		if e.Type == codec.TypeAccountDeleted {
			all = append(all, Deletion{User: user, At: e.Recorded})
		}
	}
	return all, nil
}

// maxEscapedID is how long a user id can be in JSON, each of its bytes as \u00xx, and the quote behind it.
const maxEscapedID = 6*domain.MaxUserIDBytes + 1

// users yields what may be a user id in the letter, each once: what stands between two quotes, as it is and as JSON.
func (d DeadLetter) users() iter.Seq[domain.UserID] {
	return func(yield func(domain.UserID) bool) {
		seen := make(map[domain.UserID]bool)
		next := func(id domain.UserID) bool {
			if !id.Valid() || seen[id] {
				return true
			}
			seen[id] = true
			return yield(id)
		}
		for rest := d.Data; ; {
			_, behind, opened := bytes.Cut(rest, []byte(`"`))
			text, _, closed := bytes.Cut(behind, []byte(`"`))
			if !opened || !closed {
				return
			}
			var read string
			err := json.NewDecoder(io.MultiReader(strings.NewReader(`"`), bytes.NewReader(behind[:min(len(behind), maxEscapedID)]))).Decode(&read)
			if !next(domain.UserID(text)) || err == nil && !next(domain.UserID(read)) {
				return
			}
			rest = behind
		}
	}
}

// mayHold tells whether a dead letter may be about one of the deleted accounts. It could not be understood, so that what counts is whether the user
// id stands in it as a JSON string.
func (d DeadLetter) mayHold(deletions []Deletion) bool {
	for _, del := range deletions {
		id, err := json.Marshal(string(del.User))
		if !d.Stored.After(del.At) && (err != nil || bytes.Contains(d.Data, id) || bytes.Contains(d.Data, plainQuoted(del.User))) {
			return true
		}
	}
	return false
}

// plainQuoted is a user id in quotes as most write it: encoding/json escapes < > and & besides.
func plainQuoted(id domain.UserID) []byte { return []byte(`"` + string(id) + `"`) }
