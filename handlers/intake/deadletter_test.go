package intake_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/intake"
)

// broken is a dead letter of the producer.
func broken(id uint64, commandID string) intake.DeadLetter {
	return intake.DeadLetter{
		ID: id, Time: now, App: app, Verb: "create", CommandID: commandID, Sender: producer.TokenID, Code: domain.CodeInvalid, Reason: "nick: an account has no such field",
		Fields: []domain.FieldError{{Field: "nick", Code: domain.CodeUnknownField, Detail: "an account has no such field"}}, Data: []byte(`{"nick": 1}`),
	}
}

// withDead returns a world with dead letters.
func withDead(t *testing.T, all ...intake.DeadLetter) *world {
	t.Helper()
	w := given(t)
	for _, d := range all {
		w.dead[d.ID] = d
	}
	return w
}

func TestABuriedCommandHasADeadOutcome(t *testing.T) {
	w := given(t)
	if err := w.Bury(t.Context(), broken(1, "c1")); err != nil {
		t.Fatal(err)
	}
	want := intake.Outcome{
		App: app, CommandID: "c1", Verb: intake.Create, Status: intake.Dead, Time: now, Actor: "orders/01P",
		Code: domain.CodeInvalid, Detail: "nick: an account has no such field", Fields: broken(1, "c1").Fields,
	}
	if got := w.outcomes[key(app, "c1")]; !reflect.DeepEqual(got, want) {
		t.Errorf("the outcome is\n%+v, want\n%+v", got, want)
	}
}

func TestABurialReplacesNoOutcome(t *testing.T) {
	for _, status := range []intake.Status{intake.Accepted, intake.Rejected, intake.Dead} {
		had := accepted()
		had.Status = status
		w := given(t, had)
		if err := w.Bury(t.Context(), broken(1, "c1")); err != nil {
			t.Fatal(err)
		}
		if got := w.outcomes[key(app, "c1")]; !reflect.DeepEqual(got, had) {
			t.Errorf("a burial makes of the outcome %s\n%+v", status, got)
		}
	}
}

func TestABurialOfWhatNamesNoCommandKeepsNothing(t *testing.T) {
	nameless, homeless := broken(1, ""), broken(2, "c1")
	homeless.App = ""
	w := given(t)
	for _, d := range []intake.DeadLetter{nameless, homeless} {
		if err := w.Bury(t.Context(), d); err != nil || w.kept > 0 {
			t.Errorf("%+v: %v, kept %v", d, err, w.outcomes)
		}
	}
}

func TestABurialNamesWhoSentItWhereThatIsKnownAndWaitsToKnow(t *testing.T) {
	w := given(t)
	d := broken(1, "c1")
	d.Sender = "01X"
	if err := w.Bury(t.Context(), d); err != nil || w.outcomes[key(app, "c1")].Actor != "" {
		t.Errorf("of an unknown sender: %v, %+v", err, w.outcomes)
	}
	for _, method := range []string{"Principal", "Keep"} {
		w := given(t)
		w.faults[method] = eventstore.ErrUnavailable
		if err := w.Bury(t.Context(), broken(1, "c1")); !errors.Is(err, eventstore.ErrUnavailable) || w.kept > 0 {
			t.Errorf("with a fault of %s: %v, kept %v", method, err, w.outcomes)
		}
	}
}

func TestARetryRequeuesAndThenRemoves(t *testing.T) {
	w := withDead(t, broken(1, "c1"), broken(2, "c2"))
	if err := w.Retry(t.Context(), operator, 1); err != nil {
		t.Fatal(err)
	}
	if _, left := w.dead[1]; left || len(w.dead) != 1 || !slices.Equal(w.requeued, []uint64{1}) {
		t.Errorf("dead letters %v are left, %v were requeued", w.dead, w.requeued)
	}
}

func TestARetryThatFailsLosesNothing(t *testing.T) {
	w := withDead(t, broken(1, "c1"))
	w.faults["Requeue"] = eventstore.ErrUnavailable
	if err := w.Retry(t.Context(), operator, 1); !errors.Is(err, eventstore.ErrUnavailable) || len(w.dead) != 1 {
		t.Errorf("requeuing fails: %v, left %v", err, w.dead)
	}
	delete(w.faults, "Requeue")
	w.faults["Remove"] = eventstore.ErrUnavailable
	if err := w.Retry(t.Context(), operator, 1); !errors.Is(err, eventstore.ErrUnavailable) || len(w.requeued) != 1 {
		t.Errorf("removing fails: %v, requeued %v", err, w.requeued)
	}
}

func TestADroppedCommandIsRejected(t *testing.T) {
	w := withDead(t, broken(1, "c1"))
	if err := w.Bury(t.Context(), broken(1, "c1")); err != nil {
		t.Fatal(err)
	}
	if err := w.Drop(t.Context(), operator, 1); err != nil {
		t.Fatal(err)
	}
	o := w.outcomes[key(app, "c1")]
	if o.Status != intake.Rejected || o.Code != intake.CodeDropped || o.Actor != "operator" || o.Detail == "" || len(w.dead) > 0 {
		t.Errorf("the outcome is %+v, left are %v", o, w.dead)
	}
}

func TestADropOfAnIDThatHasAnOutcomeLeavesIt(t *testing.T) {
	w := withDead(t, broken(1, "c1"))
	w.outcomes[key(app, "c1")] = accepted()
	if err := w.Drop(t.Context(), operator, 1); err != nil {
		t.Fatal(err)
	}
	if o := w.outcomes[key(app, "c1")]; !reflect.DeepEqual(o, accepted()) || len(w.dead) > 0 {
		t.Errorf("the outcome is %+v, left are %v", o, w.dead)
	}
}

func TestADropOfWhatNamesNoCommandOnlyRemoves(t *testing.T) {
	nameless, homeless := broken(1, ""), broken(2, "c1")
	homeless.App = ""
	w := withDead(t, nameless, homeless)
	for id := range uint64(2) {
		if err := w.Drop(t.Context(), operator, id+1); err != nil {
			t.Error(err)
		}
	}
	if w.kept > 0 || len(w.dead) > 0 {
		t.Errorf("kept %v, left %v", w.outcomes, w.dead)
	}
}

func TestADropWhoseOutcomeCannotBeKeptLosesNothing(t *testing.T) {
	w := withDead(t, broken(1, "c1"))
	w.faults["Keep"] = eventstore.ErrUnavailable
	if err := w.Drop(t.Context(), operator, 1); !errors.Is(err, eventstore.ErrUnavailable) || len(w.dead) != 1 {
		t.Errorf("%v, left %v", err, w.dead)
	}
}

func TestADeadLetterThatIsNotThereIsARefusal(t *testing.T) {
	w := withDead(t, broken(1, "c1"))
	for what, do := range map[string]error{"retry": w.Retry(t.Context(), operator, 2), "drop": w.Drop(t.Context(), operator, 2)} {
		if !errors.Is(do, intake.CodeNoDeadLetter) {
			t.Errorf("%s: %v, want %s", what, do, intake.CodeNoDeadLetter)
		}
	}
	w.faults["Get"] = eventstore.ErrUnavailable
	if err := w.Drop(t.Context(), operator, 1); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Errorf("one that cannot be read: %v", err)
	}
}

func TestDeadLettersAreListedOfOneApplicationOrOfAll(t *testing.T) {
	of := broken(2, "c2")
	of.App = "other"
	w := withDead(t, broken(1, "c1"), of, broken(3, "c3"), broken(4, "c4"))
	for _, c := range []struct {
		app   domain.AppID
		after uint64
		limit int
		want  []uint64
	}{{"", 0, 9, []uint64{1, 2, 3, 4}}, {app, 0, 9, []uint64{1, 3, 4}}, {app, 1, 1, []uint64{3}}, {"other", 2, 9, nil}} {
		all, err := w.DeadLetters(t.Context(), operator, c.app, c.after, c.limit)
		var ids []uint64
		for _, d := range all {
			ids = append(ids, d.ID)
		}
		if err != nil || !slices.Equal(ids, c.want) {
			t.Errorf("of %q after %d at most %d: %v, %v, want %v", c.app, c.after, c.limit, ids, err, c.want)
		}
	}
}

// adminOf is an administrator of an application.
func adminOf(app domain.AppID) access.Principal {
	return access.Principal{TokenID: "01A", Name: "admin", Role: access.Admin, App: string(app)}
}

func TestAnAdministratorSeesToTheDeadLettersOfTheirApplicationAlone(t *testing.T) {
	of := broken(2, "c2")
	of.App = "other"
	nameless := broken(3, "")
	nameless.App = ""
	w := withDead(t, broken(1, "c1"), of, nameless, broken(4, "c4"))
	admin := adminOf(app)
	if all, err := w.DeadLetters(t.Context(), admin, "", 0, 9); err != nil || len(all) != 2 || all[0].ID != 1 || all[1].ID != 4 {
		t.Errorf("they see %+v, %v", all, err)
	}
	if _, err := w.DeadLetters(t.Context(), admin, "other", 0, 9); !errors.Is(err, access.ErrForbidden) {
		t.Errorf("of another application: %v", err)
	}
	for _, id := range []uint64{2, 3} {
		for what, err := range map[string]error{"retry": w.Retry(t.Context(), admin, id), "drop": w.Drop(t.Context(), admin, id)} {
			if !errors.Is(err, intake.CodeNoDeadLetter) {
				t.Errorf("%s of %d, which is not theirs: %v", what, id, err)
			}
		}
	}
	if err := errors.Join(w.Retry(t.Context(), admin, 1), w.Drop(t.Context(), admin, 4)); err != nil {
		t.Fatal(err)
	}
	if len(w.dead) != 2 || !slices.Equal(w.requeued, []uint64{1}) || w.kept != 1 {
		t.Errorf("left %v, requeued %v, kept %v", w.dead, w.requeued, w.outcomes)
	}
}

func TestDeadLettersAreForWhoManagesThem(t *testing.T) {
	for _, who := range []access.Principal{{}, producer, exporter} {
		w := withDead(t, broken(1, "c1"))
		_, err := w.DeadLetters(t.Context(), who, app, 0, 1)
		for what, err := range map[string]error{"list": err, "retry": w.Retry(t.Context(), who, 1), "drop": w.Drop(t.Context(), who, 1)} {
			if !errors.Is(err, access.ErrForbidden) {
				t.Errorf("%s by a %q: %v, want %v", what, who.Role, err, access.ErrForbidden)
			}
		}
		if len(w.dead) != 1 || len(w.requeued) > 0 || w.kept > 0 {
			t.Errorf("a %q did something: left %v, requeued %v, kept %v", who.Role, w.dead, w.requeued, w.outcomes)
		}
	}
}

func TestDeadLettersOfADeletedAccountAreForgottenAndTheirCommandsRejected(t *testing.T) {
	letter := func(id uint64, body string, at time.Time) intake.DeadLetter {
		d := broken(id, fmt.Sprint("c", id))
		d.Data, d.Stored, d.Time = []byte(body), at, now.Add(time.Minute) // it was kept behind the deletion
		return d
	}
	w := withDead(t,
		letter(1, `{"user_id": "ann", "nick": "secret"}`, now),
		letter(2, `{"user_id": "anna", "nick": "ann"`, now), // names it in another place
		letter(3, `{"user_id": "bob", "nick": "ann is here"}`, now),
		letter(4, `{"user_id": "ann", "nick": "of the next"}`, now.Add(time.Second)),
		letter(5, `{"user_id": "a<b", "nick": 1}`, now),
	)
	for range 2 { // the second time there is nothing to do
		if err := w.Forget(t.Context(), app, intake.Deletion{User: "ann", At: now}, intake.Deletion{User: "a<b", At: now}); err != nil {
			t.Fatal(err)
		}
	}
	if left := slices.Sorted(maps.Keys(w.dead)); !slices.Equal(left, []uint64{3, 4}) {
		t.Errorf("the dead letters %v are left", left)
	}
	if o := w.outcomes[key(app, "c1")]; o.Status != intake.Rejected || o.Code != intake.CodeDropped || o.Actor == "" {
		t.Errorf("the command of a letter that is forgotten is %+v", o)
	}
	if o, there := w.outcomes[key(app, "c3")]; there {
		t.Errorf("the command of a letter that is left is %+v", o)
	}
}

func TestADeadLetterOfAnAccountThatWasDeletedBeforeItDiedIsForgottenAtOnce(t *testing.T) {
	for _, c := range []struct {
		what, body string
		stored     time.Time
		kept       bool
	}{
		{"of the account", `{"user_id": "gone", "nick": "Alice"}`, now.Add(-time.Second), false},
		{"of the account, stored with the deletion", `{"user_id": "gone", "nick": "Alice"}`, now, false},
		{"of whoever has the id now", `{"user_id": "gone", "nick": "Bob"}`, now.Add(time.Second), true},
		{"of another", `{"user_id": "ann", "nick": "gone fishing"}`, now.Add(-time.Second), true},
		{"of several", `{"user_ids": ["ann", "bob", "gone"]}`, now.Add(-time.Second), false},
		{"that is no JSON", `{"user_id": "ann, "nick" "gone` + "\xff" + `" "gone"`, now.Add(-time.Second), false},
		{"whose id is escaped", `{"user_id": "a\u003cb"}`, now.Add(-time.Second), false},
		{"whose id has a quote", `{"user_id": "a\"b"}`, now.Add(-time.Second), false},
		{"without anything", ``, now.Add(-time.Second), true},
	} {
		d := broken(1, "c1")
		d.Data, d.Stored, d.Time = []byte(c.body), c.stored, now.Add(time.Minute)
		w := withDead(t, d)
		w.deleted = map[eventstore.AggregateID]time.Time{}
		for _, user := range []string{"gone", "a<b", `a"b`} {
			w.deleted[eventstore.Account(string(app), user)] = now
		}
		for range 2 {
			if err := w.Buried(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		if kept := len(w.dead) == 1; kept != c.kept {
			t.Errorf("%s: it is kept: %t, want %t", c.what, kept, c.kept)
		}
		if o := w.outcomes[key(app, "c1")]; (o.Status == intake.Rejected) == c.kept {
			t.Errorf("%s: the outcome of its command is %+v", c.what, o)
		}
		w.faults["Revision"] = eventstore.ErrUnavailable
		if err := w.Buried(t.Context(), d); c.body != "" && !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%s: while the log is away: %v", c.what, err)
		}
	}
}
