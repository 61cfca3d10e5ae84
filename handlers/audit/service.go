package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
)

// Log is what is read, see eventstore.Store.
type Log interface {
	Load(ctx context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error]
	Revision(ctx context.Context, id eventstore.AggregateID) (eventstore.Revision, error)
	Read(ctx context.Context, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error]
	ReadApp(ctx context.Context, app string, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error]
	Subscribe(ctx context.Context, from eventstore.Position) (eventstore.Subscription, error)
	SubscribeApp(ctx context.Context, app string, from eventstore.Position) (eventstore.Subscription, error)
	Last(ctx context.Context) (eventstore.Position, error)
	PositionAt(ctx context.Context, t time.Time) (eventstore.Position, error)
}

// Decoder understands events, see codec.Codec.
type Decoder interface {
	Decode(ctx context.Context, env eventstore.Envelope) (event domain.Event, erased bool, err error)
}

// Service answers auditors. It is safe for concurrent use.
type Service struct {
	log     Log
	decoder Decoder
	now     func() time.Time
}

// ErrNotReached means that the log did not reach the position that a read asked for in time. The same read may succeed a little later.
var ErrNotReached = errors.New("the log has not reached the position asked for")

// How long a read waits for the log to reach its position, and how often it looks.
const (
	reachWithin = 5 * time.Second
	reachLook   = 50 * time.Millisecond
)

// New returns a service.
func New(log Log, decoder Decoder) *Service {
	return &Service{log: log, decoder: decoder, now: time.Now}
}

// Codes of rejections.
const (
	CodeErased  domain.Code = "account_erased"  // what an account held then has been erased since
	CodeFuture  domain.Code = "position_ahead"  // a position that the log has not reached, or a time that has not come
	CodeNoEvent domain.Code = "account_unknown" // no event is about such an account
)

// Moment is a place in the log, named by a position or a time. The zero value is none.
type Moment struct {
	Position eventstore.Position
	Time     time.Time // when Position is zero
}

// IsZero tells whether it names nothing.
func (m Moment) IsZero() bool { return m.Position == 0 && m.Time.IsZero() }

// Resolve returns the position of a moment: of a time, that of the last event recorded at or before it. A moment that is yet to come is a
// *domain.Rejection with CodeFuture: what is true of it may change.
func (s *Service) Resolve(ctx context.Context, m Moment) (eventstore.Position, error) {
	if m.Position == 0 {
		return s.at(ctx, m.Time, m.Time)
	}
	last, err := s.log.Last(ctx)
	if err != nil {
		return 0, fmt.Errorf("look at the end of the log: %w", err)
	}
	if m.Position > last {
		return 0, ahead(last, m.Position)
	}
	return m.Position, nil
}

// Reach waits until the log has reached a position, 5 s at most. What was acknowledged is in the log, so this waits only while
// a position is ahead of what the caller may know. Errors: ErrNotReached, and those of the log.
func (s *Service) Reach(ctx context.Context, minimum eventstore.Position) error {
	if minimum == 0 {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	tick := time.NewTicker(reachLook)
	defer tick.Stop()
	for {
		last, err := s.log.Last(within)
		switch {
		case err == nil && last >= minimum:
			return nil
		case err != nil && within.Err() == nil:
			return fmt.Errorf("look at the end of the log: %w", err)
		}
		select {
		case <-tick.C:
		case <-within.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: position %d", ErrNotReached, minimum)
		}
	}
}

// at returns the position of the last event recorded at or before a time, which must be near one that has come.
func (s *Service) at(ctx context.Context, t, near time.Time) (eventstore.Position, error) {
	if near.After(s.now()) {
		return 0, &domain.Rejection{Code: CodeFuture, Detail: near.UTC().Format(time.RFC3339Nano) + " is yet to come"}
	}
	at, err := s.log.PositionAt(ctx, t)
	if err != nil {
		return 0, fmt.Errorf("turn %s into a position: %w", near.UTC().Format(time.RFC3339Nano), err)
	}
	return at, nil
}

func ahead(last, position eventstore.Position) error {
	return &domain.Rejection{Code: CodeFuture, Detail: fmt.Sprintf("the log ends at position %d; %d is yet to come", last, position)}
}

// Account returns an account as it was at a moment, and the position that this is.
//
// Rejections: domain.CodeAccountNotFound when there was none; CodeErased when what it held is gone; CodeFuture.
func (s *Service) Account(ctx context.Context, app domain.AppID, id domain.UserID, at Moment) (domain.Account, eventstore.Position, error) {
	position, err := s.Resolve(ctx, at)
	if err != nil {
		return domain.Account{}, 0, err
	}
	var past essence
	for env, err := range s.load(ctx, eventstore.Account(string(app), string(id))) {
		if err != nil {
			return domain.Account{}, position, err
		}
		if env.Position > position {
			break
		}
		past.add(env)
	}
	was, err := past.fold(ctx, s.decoder)
	switch {
	case err != nil:
		return domain.Account{}, position, err
	case !was.state.Account.Exists():
		return domain.Account{}, position, &domain.Rejection{Code: domain.CodeAccountNotFound, Detail: fmt.Sprintf("there was no account %q in application %s at position %d", id, app, position)}
	case was.gone:
		return domain.Account{}, position, &domain.Rejection{Code: CodeErased, Detail: fmt.Sprintf("account %q of application %s has been deleted since position %d and what it held is erased; its history tells what happened", id, app, position)}
	}
	return was.state.Account, position, nil
}

// load yields all events of an aggregate, as the leader of the log knows them.
func (s *Service) load(ctx context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		revision, err := s.log.Revision(ctx, id)
		if err != nil {
			yield(eventstore.Envelope{}, fmt.Errorf("read the events of %s: %w", id, err))
			return
		}
		for e, err := range eventstore.LoadThrough(ctx, s.log, id, revision) {
			if err != nil {
				err = fmt.Errorf("read the events of %s: %w", id, err)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Query tells which events of an application, or of all, are read.
type Query struct {
	App domain.AppID
	All bool // those of all applications, the whole log; App and UserID must be empty
	// From and Until are the first and the last position, from the beginning and to the present end when zero. A time for Until may be yet to come.
	From, Until Moment
	UserID      domain.UserID // only those of one account
	Types       []string      // only those, with their version or without
	Actor       string        // only of commands that somebody gave whose name and id hold this text
	Follow      bool          // and those to come, until ctx ends; Until must be zero
}

// Events returns the events of an application, or of all, in order, as they are in the log, sealed. What is refused is refused before the first
// is read. An error ends them: they are complete only when there was none. Rejections: domain.CodeInvalid; domain.CodeAppNotFound; CodeFuture.
func (s *Service) Events(ctx context.Context, q Query) (iter.Seq2[eventstore.Envelope, error], error) {
	from, until, err := s.bounds(ctx, q)
	if err != nil {
		return nil, err
	}
	return func(yield func(eventstore.Envelope, error) bool) {
		hand := func(e eventstore.Envelope) error {
			if q.takes(e) && !yield(e, nil) {
				return errEnough
			}
			return nil
		}
		err := s.hand(ctx, q, from, until, hand)
		if err == nil && q.Follow {
			err = s.follow(ctx, q, max(from, until+1), hand)
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(eventstore.Envelope{}, err)
		}
	}, nil
}

// errEnough ends the reading of events that nobody wants any more.
var errEnough = errors.New("no more events are wanted")

// hand hands on the events that have been written until hand returns an error.
func (s *Service) hand(ctx context.Context, q Query, from, until eventstore.Position, hand func(eventstore.Envelope) error) error {
	for e, err := range s.past(ctx, q, from, until) {
		if err == nil {
			err = hand(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkApp returns a *domain.Rejection when there is no such application.
func checkApp(ctx context.Context, log revisions, app domain.AppID) error {
	revision, err := log.Revision(ctx, eventstore.App(string(app)))
	if err != nil {
		return fmt.Errorf("look for application %s: %w", app, err)
	}
	if revision == 0 {
		return &domain.Rejection{Code: domain.CodeAppNotFound, Detail: fmt.Sprintf("there is no application %q", app)}
	}
	return nil
}

// revisions tells the revisions of aggregates, see eventstore.Store.
type revisions interface {
	Revision(ctx context.Context, id eventstore.AggregateID) (eventstore.Revision, error)
}

// bounds returns the positions of the first and the last event of a query that have been written, once the query is found to be one that can be
// answered.
func (s *Service) bounds(ctx context.Context, q Query) (from, until eventstore.Position, err error) {
	if !q.All {
		if err := checkApp(ctx, s.log, q.App); err != nil {
			return 0, 0, err
		}
	}
	if q.Follow && !q.Until.IsZero() {
		return 0, 0, &domain.Rejection{Code: domain.CodeInvalid, Detail: "the query cannot be accepted", Fields: []domain.FieldError{
			{Field: "until", Code: domain.CodeBadValue, Detail: "leave it out to follow the events to come"},
		}}
	}
	if until, err = s.log.Last(ctx); err != nil {
		return 0, 0, fmt.Errorf("look at the end of the log: %w", err)
	}
	switch {
	case q.From.IsZero():
		from = 1
	case q.From.Position > until+1: // the one behind the end is where a reader of all goes on
		return 0, 0, ahead(until, q.From.Position)
	case q.From.Position > 0:
		from = q.From.Position
	default: // the first at or after the time
		before, err := s.at(ctx, q.From.Time.Add(-time.Nanosecond), q.From.Time)
		if err != nil {
			return 0, 0, err
		}
		from = before + 1
	}
	if q.Until.Position > 0 || !q.Until.Time.IsZero() && !q.Until.Time.After(s.now()) {
		until, err = s.Resolve(ctx, q.Until)
	}
	return from, until, err
}

// past yields the events that have been written.
func (s *Service) past(ctx context.Context, q Query, from, until eventstore.Position) iter.Seq2[eventstore.Envelope, error] {
	switch {
	case q.All:
		return s.log.Read(ctx, from, until)
	case q.UserID == "":
		return s.log.ReadApp(ctx, string(q.App), from, until)
	}
	return func(yield func(eventstore.Envelope, error) bool) {
		for e, err := range s.trail(ctx, q.App, q.UserID) {
			switch {
			case err == nil && e.Position < from:
				continue
			case err == nil && e.Position > until, !yield(e, err):
				return
			}
		}
	}
}

// follow hands on the events to come until ctx ends or hand returns an error.
func (s *Service) follow(ctx context.Context, q Query, from eventstore.Position, hand func(eventstore.Envelope) error) error {
	sub, err := s.subscribe(ctx, q, from)
	if err != nil {
		return fmt.Errorf("follow the events: %w", err)
	}
	defer sub.Close()
	const atOnce = 256
	for {
		events, err := sub.Next(ctx, atOnce)
		if err != nil {
			return fmt.Errorf("follow the events: %w", err)
		}
		for _, e := range events {
			if err := hand(e); err != nil {
				return err
			}
		}
	}
}

func (s *Service) subscribe(ctx context.Context, q Query, from eventstore.Position) (eventstore.Subscription, error) {
	if q.All {
		return s.log.Subscribe(ctx, from)
	}
	return s.log.SubscribeApp(ctx, string(q.App), from)
}

// takes tells whether the query asks for an event.
func (q Query) takes(e eventstore.Envelope) bool {
	if q.UserID != "" && e.Aggregate.Name != string(q.UserID) || !strings.Contains(e.Actor, q.Actor) {
		return false
	}
	return len(q.Types) == 0 || slices.ContainsFunc(q.Types, func(t string) bool {
		version, ok := strings.CutPrefix(e.Type, t)
		return ok && (version == "" || strings.HasPrefix(version, ".v"))
	})
}
