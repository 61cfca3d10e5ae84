package query_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/domain"
	"rollcall/handlers/query"
)

// list is a read model that reaches a position when told to.
type list struct {
	reached  chan struct{} // closed when it has caught up
	position uint64
	asked    []uint64
	listing  domain.Listing
}

func (l *list) waitFor(ctx context.Context, position uint64) error {
	l.asked = append(l.asked, position)
	if position <= l.position {
		return nil
	}
	select {
	case <-l.reached:
		l.position = position
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *list) Page(_ context.Context, q domain.Listing) (domain.Page, error) {
	l.listing = q
	return domain.Page{Position: l.position}, nil
}

func (l *list) Account(context.Context, domain.AppID, domain.UserID) (domain.Account, uint64, error) {
	return domain.Account{}, l.position, nil
}

func (l *list) App(context.Context, domain.AppID) (domain.App, uint64, error) {
	return domain.App{}, l.position, nil
}

func (l *list) Apps(context.Context) ([]domain.App, uint64, error) { return nil, l.position, nil }

func TestAReadWaitsForThePositionItAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &list{position: 3, reached: make(chan struct{})}
		s := query.New(l, l.waitFor, query.Options{})
		time.AfterFunc(2*time.Second, func() { close(l.reached) })
		start := time.Now()
		page, err := s.List(t.Context(), 9, domain.Listing{App: "chat"})
		if err != nil || page.Position != 9 || time.Since(start) != 2*time.Second {
			t.Errorf("position %d after %s, %v", page.Position, time.Since(start), err)
		}
	})
}

func TestAReadThatWaitsTooLongSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &list{position: 3, reached: make(chan struct{})}
		s := query.New(l, l.waitFor, query.Options{Wait: time.Second})
		for name, read := range map[string]func() error{
			"list":    func() error { _, err := s.List(t.Context(), 9, domain.Listing{}); return err },
			"account": func() error { _, _, err := s.Account(t.Context(), 9, "chat", "kim"); return err },
			"app":     func() error { _, _, err := s.App(t.Context(), 9, "chat"); return err },
			"apps":    func() error { _, _, err := s.Apps(t.Context(), 9); return err },
		} {
			if err := read(); !errors.Is(err, query.ErrNotCaughtUp) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestAReadOfNoPositionSeesWhatThisInstanceWrote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &list{position: 3, reached: make(chan struct{})}
		s := query.New(l, l.waitFor, query.Options{OwnWrites: time.Second})
		s.Wrote(7)
		s.Wrote(5)
		time.AfterFunc(500*time.Millisecond, func() { close(l.reached) })
		if _, position, err := s.Account(t.Context(), 0, "chat", "kim"); err != nil || position != 7 {
			t.Errorf("position %d, %v", position, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		l := &list{position: 3, reached: make(chan struct{})}
		s := query.New(l, l.waitFor, query.Options{OwnWrites: time.Second})
		s.Wrote(7)
		if _, position, err := s.Account(t.Context(), 0, "chat", "kim"); err != nil || position != 3 {
			t.Errorf("a list that is late answers with what there is: position %d, %v", position, err)
		}
	})
}

func TestAListingIsCheckedBeforeItIsRead(t *testing.T) {
	l := &list{}
	s := query.New(l, l.waitFor, query.Options{})
	if _, err := s.List(t.Context(), 0, domain.Listing{Limit: -1}); !errors.Is(err, domain.CodeInvalid) || l.asked != nil {
		t.Errorf("%v, asked for %v", err, l.asked)
	}
	if _, err := s.List(t.Context(), 0, domain.Listing{}); err != nil || l.listing.Limit != domain.DefaultListLimit {
		t.Errorf("%v, %+v", err, l.listing)
	}
}

// past are lists that are not there until they have been asked for.
type past struct{ asked []domain.Listing }

var errBuilding = errors.New("it is being built")

func (p *past) Page(_ context.Context, l domain.Listing) (domain.Page, error) {
	if p.asked = append(p.asked, l); len(p.asked) == 1 {
		return domain.Page{}, errBuilding
	}
	return domain.Page{Position: l.AsOf}, nil
}

func TestAListAsItWasIsReadWithoutWaitingForTheListOfNow(t *testing.T) {
	l, p := &list{}, &past{}
	s := query.New(l, l.waitFor, query.Options{Past: p, Unready: func(err error) bool { return errors.Is(err, errBuilding) }})
	asOf := domain.Listing{App: "chat", AsOf: 7}
	_, err := s.List(t.Context(), 9, asOf)
	if unready, ok := errors.AsType[*query.UnreadyError](err); !ok || unready.Error() != errBuilding.Error() || !errors.Is(err, query.ErrNotCaughtUp) {
		t.Errorf("while it is being built: %v", err)
	}
	if page, err := s.List(t.Context(), 9, asOf); err != nil || page.Position != 7 || l.asked != nil || p.asked[1].Limit != domain.DefaultListLimit {
		t.Errorf("position %d of %+v, %v; waited for %v", page.Position, p.asked, err, l.asked)
	}
	if _, err := query.New(l, l.waitFor, query.Options{}).List(t.Context(), 0, asOf); !errors.Is(err, domain.CodeInvalid) {
		t.Errorf("where there are no such lists: %v", err)
	}
}
