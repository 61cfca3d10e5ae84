package wire_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/intake"
	"rollcall/handlers/query"
	"rollcall/handlers/wire"
)

func TestAnErrorOfAUseCaseIsAProblem(t *testing.T) {
	codes := wire.NewCodes("command_id")
	over, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	for _, c := range []struct {
		ctx    context.Context
		err    error
		code   domain.Code
		status int
		fault  bool
	}{
		{nil, codes.Problem(wire.CodeStopping, "soon"), wire.CodeStopping, 503, false},
		{nil, &domain.Rejection{Code: domain.CodeAccountExists, Detail: "there is one"}, domain.CodeAccountExists, 409, false},
		{nil, &domain.Rejection{Code: "thing_not_found", Detail: "none"}, "thing_not_found", 404, false},
		{nil, &domain.Rejection{Code: "no_such_code", Detail: "none"}, "no_such_code", 409, false},
		{nil, &domain.Rejection{Code: intake.CodeQueueFull, Detail: "later"}, intake.CodeQueueFull, 503, false},
		{nil, access.ErrForbidden, wire.CodeForbidden, 403, false},
		{nil, access.ErrUnavailable, wire.CodeUnavailable, 503, true},
		{nil, eventstore.ErrUnknownOutcome, wire.CodeOutcomeUnknown, 503, false},
		{nil, query.ErrNotCaughtUp, wire.CodeNotCaughtUp, 503, false},
		{nil, &query.UnreadyError{Err: errors.New("it is being built")}, wire.CodeNotCaughtUp, 503, false},
		{nil, eventstore.ErrConflict, wire.CodeUnavailable, 503, false},
		{over, context.Canceled, wire.CodeClientGone, wire.StatusClientGone, false},
		{late, context.DeadlineExceeded, wire.CodeClientGone, wire.StatusClientGone, false},
		{nil, context.DeadlineExceeded, wire.CodeUnavailable, 503, true},
		{nil, eventstore.ErrUnavailable, wire.CodeUnavailable, 503, true},
		{nil, eventstore.ErrDamaged, wire.CodeInternal, 500, true},
		{nil, errors.New("secret"), wire.CodeInternal, 500, true},
	} {
		if c.ctx == nil {
			c.ctx = context.Background()
		}
		p, fault := codes.Of(c.ctx, fmt.Errorf("somewhere: %w", c.err))
		if p.Code != c.code || p.Status != c.status || fault != c.fault || p.Type != "/docs#"+string(c.code) || p.Title == "" || p.Detail == "" {
			t.Errorf("%v is %+v, a fault: %t; want %s %d %t", c.err, p, fault, c.code, c.status, c.fault)
		}
		if u, ok := errors.AsType[*query.UnreadyError](c.err); ok && p.Detail != u.Error() {
			t.Errorf("the client is told %q, want %q", p.Detail, u)
		}
		if c.status == 500 && p.Detail != "the service failed; its log tells why" {
			t.Errorf("the client is told %q", p.Detail)
		}
	}
}

func TestATransportNamesTheIDOfACommand(t *testing.T) {
	r := &domain.Rejection{Code: domain.CodeInvalid, Detail: "no", Fields: []domain.FieldError{
		{Field: "command_id", Code: domain.CodeBadValue, Detail: "x"}, {Field: "nickname", Code: domain.CodeTooLong, Detail: "y"},
	}}
	for _, name := range []string{"command_id", "Idempotency-Key"} {
		codes := wire.NewCodes(name)
		p := codes.Rejected(r)
		want := []wire.FieldError{{Field: name, Code: domain.CodeBadValue, Detail: "x"}, {Field: "nickname", Code: domain.CodeTooLong, Detail: "y"}}
		if !slices.Equal(p.Errors, want) {
			t.Errorf("%s: %+v", name, p.Errors)
		}
		if title := codes.MeaningOf("command_id_reused").Title; title != "The "+name+" belongs to another command" {
			t.Errorf("%s: %q", name, title)
		}
		p, _ = codes.Of(t.Context(), eventstore.ErrUnknownOutcome)
		if want := "the log did not answer, so the command may or may not have been executed; repeat it with the same " + name + " to find out"; p.Detail != want {
			t.Errorf("%s: %q", name, p.Detail)
		}
	}
	if r.Fields[0].Field != "command_id" {
		t.Error("the refusal itself was changed")
	}
}

func TestEveryCodeHasOneMeaning(t *testing.T) {
	codes := wire.NewCodes("command_id")
	all := codes.Meanings()
	if len(all) < 30 || !slices.IsSortedFunc(all, func(a, b wire.Meaning) int {
		if a.Code < b.Code {
			return -1
		}
		return 1
	}) {
		t.Errorf("%d codes: %+v", len(all), all)
	}
	for _, m := range all {
		if m.Status < 400 || m.Title == "" || codes.MeaningOf(m.Code) != m {
			t.Errorf("%+v", m)
		}
	}
}
