package intake_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/export"
	"rollcall/handlers/intake"
)

const app domain.AppID = "chat"

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// Who sends commands.
var (
	operator = access.Principal{TokenID: "operator", Name: "operator", Role: access.Operator}
	producer = access.Principal{TokenID: "01P", Name: "orders", Role: access.Producer, App: string(app)}
	exporter = access.Principal{TokenID: "01E", Name: "reports", Role: access.Exporter, App: string(app)}
	stranger = access.Principal{TokenID: "01S", Name: "other", Role: access.Admin, App: "other"}
)

// world is what an intake works with, in memory. Each small interface keeps its contract; that real streams do as well is tested
// with a server in package messaging.
type world struct {
	*intake.Service

	outcomes map[string]intake.Outcome
	kept     int // how often one was written
	dead     map[uint64]intake.DeadLetter
	requeued []uint64
	calls    []string         // of Commands and Exports, in order
	wrote    []uint64         // positions told
	faults   map[string]error // by the name of a method, until taken back
	deleted  map[eventstore.AggregateID]time.Time

	// execute answers for Commands.
	execute func(req command.Request, cmd domain.Command) (command.Result, error)
}

// given returns a world with outcomes of earlier commands.
func given(t *testing.T, had ...intake.Outcome) *world {
	t.Helper()
	w := &world{outcomes: make(map[string]intake.Outcome), dead: make(map[uint64]intake.DeadLetter), faults: make(map[string]error)}
	for _, o := range had {
		w.outcomes[key(o.App, o.CommandID)] = o
	}
	w.execute = func(command.Request, domain.Command) (command.Result, error) {
		return command.Result{Position: 7, Changed: true}, nil
	}
	var err error
	w.Service, err = intake.New(intake.Config{
		Commands: w, Exports: orders{w}, Senders: senders{w}, Outcomes: w, DeadLetters: letters{w}, Log: history{w},
		Now: func() time.Time { return now }, Wrote: func(position uint64) { w.wrote = append(w.wrote, position) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func key(app domain.AppID, commandID string) string { return string(app) + " " + commandID }

// Load, Keep: intake.Outcomes.
func (w *world) Load(_ context.Context, app domain.AppID, commandID string) (intake.Outcome, error) {
	if err := w.faults["Load"]; err != nil {
		return intake.Outcome{}, err
	}
	o, ok := w.outcomes[key(app, commandID)]
	if !ok {
		return intake.Outcome{}, intake.ErrNoOutcome
	}
	return o, nil
}

func (w *world) Keep(_ context.Context, o intake.Outcome) error {
	if err := w.faults["Keep"]; err != nil {
		return err
	}
	had, ok := w.outcomes[key(o.App, o.CommandID)]
	if ok && (had.Status.Final() || !o.Status.Final()) {
		return fmt.Errorf("%w: %s", intake.ErrDecided, had.Status)
	}
	w.outcomes[key(o.App, o.CommandID)] = o
	w.kept++
	return nil
}

// Execute, DeleteAccounts: intake.Commands.
func (w *world) Execute(_ context.Context, req command.Request, cmd domain.Command) (command.Result, error) {
	w.calls = append(w.calls, fmt.Sprintf("%T %s by %s", cmd, req.ID, req.Actor))
	return w.execute(req, cmd)
}

func (w *world) DeleteAccounts(_ context.Context, req command.Request, app domain.AppID, ids []domain.UserID) ([]command.ItemResult, error) {
	w.calls = append(w.calls, fmt.Sprintf("delete %v %s by %s", ids, req.ID, req.Actor))
	if err := w.faults["DeleteAccounts"]; err != nil {
		return nil, err
	}
	results := make([]command.ItemResult, len(ids))
	for i, id := range ids {
		res, err := w.execute(req, domain.DeleteAccount{App: app, UserID: id})
		results[i] = command.ItemResult{UserID: id, Position: res.Position, Err: err}
	}
	return results, nil
}

// orders are intake.Exports.
type orders struct{ *world }

func (o orders) Order(_ context.Context, req export.Request, spec export.Spec) (export.Job, error) {
	o.calls = append(o.calls, fmt.Sprintf("export %s of %s under %s by %s, correlated to %s, traced as %s", spec.Format, spec.App, req.ID, req.Actor, req.CorrelationID, req.TraceParent))
	return export.Job{ID: "JOB", App: spec.App}, o.faults["Order"]
}

// history is an intake.Log of accounts that have been created, and of some that have been deleted.
type history struct{ *world }

func (h history) Revision(_ context.Context, id eventstore.AggregateID) (eventstore.Revision, error) {
	if _, ok := h.deleted[id]; ok {
		return 2, h.faults["Revision"]
	}
	return 0, h.faults["Revision"]
}

func (h history) Load(_ context.Context, id eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		if yield(eventstore.Envelope{Position: 1, Type: codec.TypeAccountCreated, Recorded: now.Add(-time.Hour)}, nil) {
			yield(eventstore.Envelope{Position: 2, Type: codec.TypeAccountDeleted, Recorded: h.deleted[id]}, nil)
		}
	}
}

// senders are intake.Senders.
type senders struct{ *world }

func (s senders) Principal(_ context.Context, tokenID string) (access.Principal, error) {
	if err := s.faults["Principal"]; err != nil {
		return access.Principal{}, err
	}
	for _, p := range []access.Principal{operator, producer, exporter, stranger} {
		if p.TokenID == tokenID {
			return p, nil
		}
	}
	return access.Principal{}, fmt.Errorf("%w: %q", access.ErrUnauthenticated, tokenID)
}

// letters are intake.DeadLetters.
type letters struct{ *world }

func (l letters) List(_ context.Context, app domain.AppID, after uint64, limit int) (all []intake.DeadLetter, err error) {
	for _, id := range slices.Sorted(maps.Keys(l.dead)) {
		if d := l.dead[id]; id > after && len(all) < limit && (app == "" || d.App == app) {
			all = append(all, d)
		}
	}
	return all, l.faults["List"]
}

func (l letters) Get(_ context.Context, id uint64) (intake.DeadLetter, error) {
	d, ok := l.dead[id]
	if !ok {
		return d, fmt.Errorf("%w: %d", intake.ErrNoDeadLetter, id)
	}
	return d, l.faults["Get"]
}

func (l letters) Requeue(_ context.Context, id uint64) error {
	if err := l.faults["Requeue"]; err != nil {
		return err
	}
	if _, ok := l.dead[id]; !ok {
		return fmt.Errorf("%w: %d", intake.ErrNoDeadLetter, id)
	}
	l.requeued = append(l.requeued, id)
	return nil
}

func (l letters) Remove(_ context.Context, id uint64) error {
	if err := l.faults["Remove"]; err != nil {
		return err
	}
	delete(l.dead, id)
	return nil
}

// attempt is what a decision has led to.
type attempt struct {
	*world
	cmd intake.Command
	err error
}

func (w *world) when(t *testing.T, c intake.Command) attempt {
	t.Helper()
	return attempt{w, c, w.Decide(t.Context(), c)}
}

// then checks the outcome that is kept under the id of the command.
func (a attempt) then(t *testing.T, want intake.Outcome) {
	t.Helper()
	if a.err != nil {
		t.Fatalf("command %s: %v", a.cmd.ID, a.err)
	}
	if got := a.outcomes[key(a.cmd.App, a.cmd.ID)]; !reflect.DeepEqual(got, want) {
		t.Errorf("the outcome of %s is\n%+v, want\n%+v", a.cmd.ID, got, want)
	}
}

// thenUnreadable checks that the command is dead and has led to nothing.
func (a attempt) thenUnreadable(t *testing.T, code domain.Code) {
	t.Helper()
	u, ok := errors.AsType[*intake.Unreadable](a.err)
	if !ok || u.Code != code || u.Detail == "" {
		t.Errorf("command %s: %v, want an unreadable one with code %s", a.cmd.ID, a.err, code)
	}
	a.thenNothing(t)
}

// thenAgain checks that the command is to be given again and has no outcome.
func (a attempt) thenAgain(t *testing.T, because error) {
	t.Helper()
	if _, dead := errors.AsType[*intake.Unreadable](a.err); dead || !errors.Is(a.err, because) {
		t.Errorf("command %s: %v, want %v", a.cmd.ID, a.err, because)
	}
	a.thenNothing(t)
}

func (a attempt) thenNothing(t *testing.T) {
	t.Helper()
	if a.kept > 0 {
		t.Errorf("%d outcomes were kept: %v", a.kept, a.outcomes)
	}
}

// thenCalled checks what was asked of the use cases, each call by how it begins.
func (w *world) thenCalled(t *testing.T, want ...string) {
	t.Helper()
	if !slices.EqualFunc(w.calls, want, strings.HasPrefix) {
		t.Errorf("called\n%s\nwant\n%s", strings.Join(w.calls, "\n"), strings.Join(want, "\n"))
	}
}

// create, batch and exporting are commands, as the producer and the exporter send them.
func create(id string, user domain.UserID) intake.Command {
	return intake.Command{App: app, Verb: intake.Create, Sender: producer.TokenID, ID: id, Account: domain.CreateAccount{App: app, UserID: user}}
}

func batch(id string, users ...domain.UserID) intake.Command {
	return intake.Command{App: app, Verb: intake.Delete, Sender: producer.TokenID, ID: id, Batch: users}
}

func exporting(id string) intake.Command {
	return intake.Command{App: app, Verb: intake.Export, Sender: exporter.TokenID, ID: id, Export: &export.Spec{App: app, Format: export.CSV}}
}
