package eventstore_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"rollcall/eventstore"
)

// anyAggregate draws an id as the contract of names allows it.
func anyAggregate(t *rapid.T) eventstore.AggregateID {
	app := rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,31}`).Draw(t, "app")
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		return eventstore.App(app)
	case 1:
		return eventstore.Admins(app)
	case 2:
		return eventstore.Erased(app, rapid.StringMatching(`[!-~]{1,32}`).Draw(t, "user id"))
	}
	return eventstore.Account(app, rapid.StringMatching(`[!-~]{1,32}`).Draw(t, "user id"))
}

func TestASubjectNamesOneAggregate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyAggregate(t), anyAggregate(t)
		got, err := eventstore.ParseSubject(a.Subject())
		if err != nil || got != a {
			t.Fatalf("subject %q of %+v is read as %+v, %v", a.Subject(), a, got, err)
		}
		if a != b && a.Subject() == b.Subject() {
			t.Fatalf("%+v and %+v share the subject %q", a, b, a.Subject())
		}
		if strings.ContainsAny(a.Subject(), "*> \t\r\n") || strings.Contains(a.Subject(), "..") {
			t.Fatalf("%q is no exact subject", a.Subject())
		}
	})
}

func TestAnAggregateHasOneSubject(t *testing.T) {
	token := rapid.SampledFrom([]string{"accounts", "evt", "u", "admins", "erased", "app", "x", "", ".", "%", "%2E", "%2e", "%25", "%2", "*", ">", "a-1"})
	rapid.Check(t, func(t *rapid.T) {
		subject := "accounts.evt." + strings.Join(rapid.SliceOfN(token, 1, 6).Draw(t, "tokens"), rapid.SampledFrom([]string{"", "."}).Draw(t, "joint"))
		id, err := eventstore.ParseSubject(subject)
		if err != nil {
			if !errors.Is(err, eventstore.ErrSubject) || !id.IsZero() {
				t.Fatalf("%q: %+v, %v", subject, id, err)
			}
			return
		}
		if id.Subject() != subject {
			t.Fatalf("%q names %+v, whose subject is %q", subject, id, id.Subject())
		}
	})
}

func TestSubjectsThatNameNoAggregateAreRefused(t *testing.T) {
	for _, subject := range []string{
		"", "accounts", "accounts.evt.", "accounts.evt.a", "accounts.evt.a.", "accounts.evt..app", "accounts.evt.a.app.",
		"accounts.evt.a.app.x", "accounts.evt.a.admins.x", "accounts.evt.a.u", "accounts.evt.a.u.", "accounts.evt..u.x",
		"accounts.evt.a.u.b.c", "accounts.evt.a.u.%", "accounts.evt.a.u.%2", "accounts.evt.a.u.%41", "accounts.evt.a.u.%2e",
		"accounts.evt.a.u.*", "accounts.evt.a.u.>", "accounts.evt.a.v.x", "accounts.cmd.a.u.x", "xaccounts.evt.a.app",
	} {
		if id, err := eventstore.ParseSubject(subject); !errors.Is(err, eventstore.ErrSubject) {
			t.Errorf("%q names %+v, %v, want ErrSubject", subject, id, err)
		}
	}
}
