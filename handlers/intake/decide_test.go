package intake_test

import (
	"errors"
	"slices"
	"testing"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/intake"
)

// accepted is the outcome of create("c1", "sora") at position 7.
func accepted() intake.Outcome {
	return intake.Outcome{
		App: app, CommandID: "c1", Verb: intake.Create, UserID: "sora", Status: intake.Accepted, Time: now, Actor: "orders/01P",
		Position: 7, Revision: 7, Changed: true,
	}
}

func TestAnAcceptedCommandHasItsPositionAndRevisionAsOutcome(t *testing.T) {
	w := given(t)
	w.when(t, create("c1", "sora")).then(t, accepted())
	w.thenCalled(t, "domain.CreateAccount c1 by orders/01P")
	if !slices.Equal(w.wrote, []uint64{7}) {
		t.Errorf("told of positions %v, want 7", w.wrote)
	}
}

func TestACommandThatIsGivenAgainIsDecidedOnce(t *testing.T) {
	w := given(t)
	for range 3 {
		w.when(t, create("c1", "sora")).then(t, accepted())
	}
	w.thenCalled(t, "domain.CreateAccount c1")
	if w.kept != 1 {
		t.Errorf("%d outcomes were kept, want 1", w.kept)
	}
}

func TestAnotherCommandUnderTheSameIDIsUnreadable(t *testing.T) {
	batched := intake.Outcome{
		App: app, CommandID: "c2", Verb: intake.Delete, Status: intake.Accepted, Time: now, Items: []intake.Item{{UserID: "a"}, {UserID: "b"}},
	}
	another := create("c1", "sora")
	another.Verb, another.Account = intake.Edit, domain.EditAccount{App: app, UserID: "sora"}
	for what, c := range map[string]intake.Command{
		"another verb":    another,
		"another account": create("c1", "haru"),
		"a longer batch":  batch("c2", "a", "b", "c"),
		"a shorter batch": batch("c2", "a"),
		"another batch":   batch("c2", "a", "c"),
	} {
		t.Run(what, func(t *testing.T) {
			w := given(t, accepted(), batched)
			w.when(t, c).thenUnreadable(t, command.CodeCommandIDReused)
			w.thenCalled(t)
		})
	}
	w := given(t, batched)
	w.when(t, batch("c2", "a", "b")).then(t, batched)
}

func TestTheSameIDInAnotherApplicationIsAnotherCommand(t *testing.T) {
	w := given(t, accepted())
	c := create("c1", "sora")
	c.App, c.Sender, c.Account = "other", stranger.TokenID, domain.CreateAccount{App: "other", UserID: "sora"}
	want := accepted()
	want.App, want.Actor = "other", stranger.Actor()
	w.when(t, c).then(t, want)
}

func TestACommandThatWasDeadIsDecidedWhenItIsGivenAgain(t *testing.T) {
	dead := accepted()
	dead.Status, dead.Position, dead.Code = intake.Dead, 0, intake.CodeFault
	w := given(t, dead)
	w.when(t, create("c1", "sora")).then(t, accepted())
}

func TestWhoSendsACommandMustBeKnownAndMayDoIt(t *testing.T) {
	from := func(sender string, c intake.Command) intake.Command {
		c.Sender = sender
		return c
	}
	for what, c := range map[string]struct {
		cmd  intake.Command
		code domain.Code
	}{
		"nobody":                             {from("", create("c1", "a")), intake.CodeUnknownSender},
		"a token that is not known":          {from("01X", create("c1", "a")), intake.CodeUnknownSender},
		"an exporter that creates":           {from(exporter.TokenID, create("c1", "a")), intake.CodeSenderForbidden},
		"a producer that exports":            {from(producer.TokenID, exporting("c1")), intake.CodeSenderForbidden},
		"an administrator of another app":    {from(stranger.TokenID, create("c1", "a")), intake.CodeSenderForbidden},
		"an exporter that deletes a batch":   {from(exporter.TokenID, batch("c1", "a")), intake.CodeSenderForbidden},
		"an administrator of another export": {from(stranger.TokenID, exporting("c1")), intake.CodeSenderForbidden},
	} {
		t.Run(what, func(t *testing.T) {
			w := given(t)
			w.when(t, c.cmd).thenUnreadable(t, c.code)
			w.thenCalled(t)
		})
	}
}

func TestNobodyLearnsByAnIDWhatAnotherMayNotDo(t *testing.T) {
	w := given(t, accepted())
	c := create("c1", "sora")
	c.Sender = stranger.TokenID
	w.when(t, c).thenUnreadable(t, intake.CodeSenderForbidden)
}

func TestARefusalIsAnOutcome(t *testing.T) {
	w := given(t)
	w.execute = func(command.Request, domain.Command) (command.Result, error) {
		return command.Result{Position: 3}, &domain.Rejection{
			Code: domain.CodeInvalid, Detail: "the account has fields that cannot be accepted",
			Fields: []domain.FieldError{{Field: "gender", Code: domain.CodeBadValue, Detail: "one of unknown, female, male"}},
		}
	}
	c := create("c1", "sora")
	c.CausationID, c.CorrelationID, c.TraceParent = "cause", "story", "trace"
	w.when(t, c).then(t, intake.Outcome{
		App: app, CommandID: "c1", Verb: intake.Create, UserID: "sora", Status: intake.Rejected, Time: now, Actor: "orders/01P",
		Code: domain.CodeInvalid, Detail: "the account has fields that cannot be accepted",
		Fields:      []domain.FieldError{{Field: "gender", Code: domain.CodeBadValue, Detail: "one of unknown, female, male"}},
		CausationID: "cause", CorrelationID: "story", TraceParent: "trace",
	})
}

func TestWhatIsNotKnownHasNoOutcomeAndIsGivenAgain(t *testing.T) {
	trouble := eventstore.ErrUnknownOutcome
	for _, c := range []intake.Command{create("c1", "sora"), batch("c1", "sora")} {
		w := given(t)
		decide := w.execute
		w.execute = func(command.Request, domain.Command) (command.Result, error) { return command.Result{}, trouble }
		w.when(t, c).thenAgain(t, trouble)

		w.execute = decide
		if again := w.when(t, c); again.err != nil || w.kept != 1 {
			t.Errorf("given again: %v, %d outcomes", again.err, w.kept)
		}
	}
	for _, method := range []string{"Load", "Principal", "Keep", "Order"} {
		w := given(t)
		w.faults[method] = trouble
		w.when(t, exporting("c1")).thenAgain(t, trouble)

		delete(w.faults, method)
		if again := w.when(t, exporting("c1")); again.err != nil || w.kept != 1 {
			t.Errorf("given again after a fault of %s: %v, %d outcomes", method, again.err, w.kept)
		}
	}
}

func TestATokenThatCannotBeLookedUpMakesNothingDead(t *testing.T) {
	w := given(t)
	w.faults["Principal"] = access.ErrUnavailable
	w.when(t, create("c1", "sora")).thenAgain(t, access.ErrUnavailable)
}

func TestAnOutcomeThatAnotherInstanceKeptFirstStands(t *testing.T) {
	w := given(t)
	first := accepted()
	first.Position, first.Revision = 5, 5
	w.execute = func(command.Request, domain.Command) (command.Result, error) {
		w.outcomes[key(app, "c1")] = first
		return command.Result{Position: 5, Changed: true, Replayed: true}, nil
	}
	w.when(t, create("c1", "sora")).then(t, first)
}

func TestABatchTellsOfEachAccountAndOneThatFailsStopsNoOther(t *testing.T) {
	w := given(t)
	w.execute = func(_ command.Request, cmd domain.Command) (command.Result, error) {
		switch cmd.(domain.DeleteAccount).UserID {
		case "a":
			return command.Result{Position: 9, Changed: true}, nil
		case "b":
			return command.Result{}, &domain.Rejection{Code: domain.CodeAccountNotFound, Detail: "there is no account b"}
		}
		return command.Result{Position: 8, Changed: true}, nil
	}
	w.when(t, batch("c1", "a", "b", "c")).then(t, intake.Outcome{
		App: app, CommandID: "c1", Verb: intake.Delete, Status: intake.Accepted, Time: now, Actor: "orders/01P", Position: 9, Changed: true,
		Items: []intake.Item{{UserID: "a", Position: 9}, {UserID: "b", Code: domain.CodeAccountNotFound, Detail: "there is no account b"}, {UserID: "c", Position: 8}},
	})
	w.thenCalled(t, "delete [a b c] c1 by orders/01P")
}

func TestABatchOfWhichOneIsNotKnownIsGivenAgainAsAWhole(t *testing.T) {
	w := given(t)
	w.execute = func(_ command.Request, cmd domain.Command) (command.Result, error) {
		if cmd.(domain.DeleteAccount).UserID == "b" {
			return command.Result{}, eventstore.ErrUnavailable
		}
		return command.Result{Position: 8, Changed: true}, nil
	}
	w.when(t, batch("c1", "a", "b")).thenAgain(t, eventstore.ErrUnavailable)
}

func TestABatchThatIsRefusedAsAWholeHasNoItems(t *testing.T) {
	w := given(t)
	w.faults["DeleteAccounts"] = &domain.Rejection{Code: domain.CodeInvalid, Detail: "the batch cannot be accepted"}
	w.when(t, batch("c1", "a")).then(t, intake.Outcome{
		App: app, CommandID: "c1", Verb: intake.Delete, Status: intake.Rejected, Time: now, Actor: "orders/01P",
		Code: domain.CodeInvalid, Detail: "the batch cannot be accepted",
	})
}

func TestACommandTellsTheAccountsThatItIsAbout(t *testing.T) {
	for _, c := range []struct {
		cmd  intake.Command
		want []domain.UserID
	}{
		{create("c1", "a"), []domain.UserID{"a"}},
		{intake.Command{Account: domain.EditAccount{UserID: "b"}}, []domain.UserID{"b"}},
		{intake.Command{Account: domain.DeleteAccount{UserID: "c"}}, []domain.UserID{"c"}},
		{batch("c1", "d", "e"), []domain.UserID{"d", "e"}},
		{exporting("c1"), nil},
	} {
		if got := c.cmd.Users(); !slices.Equal(got, c.want) {
			t.Errorf("%+v is about %v, want %v", c.cmd, got, c.want)
		}
	}
}

func TestAnExportIsOrderedUnderTheIDOfTheCommand(t *testing.T) {
	w := given(t)
	c := exporting("c1")
	c.CorrelationID, c.TraceParent = "story", "trace"
	w.when(t, c).then(t, intake.Outcome{
		App: app, CommandID: "c1", Verb: intake.Export, Status: intake.Accepted, Time: now, Actor: "reports/01E", Changed: true, ExportID: "JOB",
		CorrelationID: "story", TraceParent: "trace",
	})
	w.thenCalled(t, "export csv of chat under c1 by reports/01E, correlated to story, traced as trace")
}

func TestARefusedExportNamesNoJob(t *testing.T) {
	w := given(t)
	w.faults["Order"] = &domain.Rejection{Code: domain.CodeAppNotFound, Detail: "there is no such application"}
	w.when(t, exporting("c1")).then(t, intake.Outcome{
		App: app, CommandID: "c1", Verb: intake.Export, Status: intake.Rejected, Time: now, Actor: "reports/01E",
		Code: domain.CodeAppNotFound, Detail: "there is no such application",
	})
}

func TestAnOutcomeIsReadByIDAndAMissingOneIsARefusal(t *testing.T) {
	w := given(t, accepted())
	if o, err := w.Outcome(t.Context(), app, "c1"); err != nil || o.Position != 7 {
		t.Errorf("the outcome is %+v: %v", o, err)
	}
	for _, of := range []struct {
		app domain.AppID
		id  string
	}{{app, "c2"}, {"other", "c1"}} {
		if _, err := w.Outcome(t.Context(), of.app, of.id); !errors.Is(err, intake.CodeNoOutcome) {
			t.Errorf("the outcome of %s in %s: %v, want %s", of.id, of.app, err, intake.CodeNoOutcome)
		}
	}
	w.faults["Load"] = eventstore.ErrUnavailable
	if _, err := w.Outcome(t.Context(), app, "c1"); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("an outcome that cannot be read: %v", err)
	}
}

func TestAnIntakeNeedsAllThatItWorksWith(t *testing.T) {
	w := given(t)
	whole := intake.Config{Commands: w, Exports: orders{w}, Senders: senders{w}, Outcomes: w, DeadLetters: letters{w}, Log: history{w}}
	if _, err := intake.New(whole); err != nil {
		t.Errorf("all that is needed: %v", err)
	}
	for what, without := range map[string]func(*intake.Config){
		"Commands":    func(c *intake.Config) { c.Commands = nil },
		"Exports":     func(c *intake.Config) { c.Exports = nil },
		"Senders":     func(c *intake.Config) { c.Senders = nil },
		"Outcomes":    func(c *intake.Config) { c.Outcomes = nil },
		"DeadLetters": func(c *intake.Config) { c.DeadLetters = nil },
		"Log":         func(c *intake.Config) { c.Log = nil },
	} {
		cfg := whole
		without(&cfg)
		if _, err := intake.New(cfg); err == nil {
			t.Errorf("an intake without %s can be made", what)
		}
	}
}
