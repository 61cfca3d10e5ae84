package domain_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/domain"
)

// world is one application with all of its accounts, folded from events as a
// store would keep them: each aggregate for itself.
type world struct {
	app      domain.App
	roster   domain.Roster
	accounts map[domain.UserID]domain.Account
	position uint64
}

func (w *world) state(id domain.UserID) domain.State {
	return domain.State{App: w.app, Roster: w.roster, Account: w.accounts[id]}
}

func (w *world) apply(id domain.UserID, events []domain.Event) {
	s := w.state(id)
	for _, e := range events {
		w.position++
		s = domain.Evolve(s, e, w.position)
	}
	w.app, w.roster, w.accounts[id] = s.App, s.Roster, s.Account
}

// model is the same told in the simplest way: a map of what each account
// should look like.
type model map[domain.UserID]modelAccount

type modelAccount struct {
	typ    domain.AccountType
	fields map[string]domain.Value
}

func drawProfile(t *rapid.T) domain.Profile {
	number := rapid.Custom(func(t *rapid.T) domain.Number {
		return rapid.SampledFrom([]domain.Number{{}, domain.Num(0), domain.Num(7)}).Draw(t, "number")
	})
	text := rapid.SampledFrom([]string{"", "a", "하늘", "🙂"})
	return domain.Profile{
		Nickname: text.Draw(t, "nickname"), Location: text.Draw(t, "location"), SelfSignature: text.Draw(t, "signature"),
		FaceURL:   rapid.SampledFrom([]string{"", "https://e.com/1"}).Draw(t, "face"),
		Gender:    rapid.SampledFrom([]domain.Gender{"", domain.GenderMale}).Draw(t, "gender"),
		AllowType: rapid.SampledFrom([]domain.AllowType{"", domain.AllowAny}).Draw(t, "allow"),
		Birthday:  rapid.SampledFrom([]uint32{0, 20000101}).Draw(t, "birthday"),
		Language:  number.Draw(t, "language"), Level: number.Draw(t, "level"), Role: number.Draw(t, "role"),
		MsgSettings:     number.Draw(t, "settings"),
		AdminForbidType: rapid.SampledFrom([]domain.AdminForbidType{"", domain.ForbidSendOut}).Draw(t, "forbid"),
	}
}

func drawFields(t *rapid.T) domain.Fields {
	return domain.Fields(rapid.Uint32().Draw(t, "fields")) & domain.ProfileFields
}

func (m model) set(id domain.UserID, fields domain.Fields, p domain.Profile) {
	a := domain.Account{Profile: p}
	for f := range fields.All() {
		m[id].fields[f.String()] = a.Value(f)
	}
}

func TestAnySequenceOfCommandsKeepsTheInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{accounts: map[domain.UserID]domain.Account{}}
		m := model{}
		limit := rapid.IntRange(0, 3).Draw(t, "limit")
		events, err := domain.Decide(w.state(""), domain.CreateApp{App: "chat", MaxAdmins: &limit, At: t0})
		if err != nil {
			t.Fatal(err)
		}
		w.apply("", events)

		now := t0
		for range rapid.IntRange(0, 40).Draw(t, "commands") {
			now = now.Add(time.Minute)
			id := domain.UserID(fmt.Sprint("u", rapid.IntRange(0, 5).Draw(t, "user")))
			p := drawProfile(t)
			_, existed := m[id]
			var c domain.Command
			switch rapid.IntRange(0, 4).Draw(t, "command") {
			case 0:
				typ := rapid.SampledFrom([]domain.AccountType{domain.TypeNormal, domain.TypeAdmin}).Draw(t, "type")
				c = domain.CreateAccount{App: "chat", UserID: id, Type: typ, Profile: p, At: now}
			case 1:
				c = domain.EditAccount{App: "chat", UserID: id, Patch: domain.Patch{Fields: drawFields(t), Values: p}, At: now}
			case 2:
				c = domain.DeleteAccount{App: "chat", UserID: id, At: now}
			case 3:
				c = domain.UpsertAccount{App: "chat", UserID: id, Patch: domain.Patch{Fields: drawFields(t), Values: p}, At: now}
			case 4:
				n := rapid.IntRange(0, 3).Draw(t, "new limit")
				c = domain.EditApp{App: "chat", MaxAdmins: &n, At: now}
			}
			before := w.state(id)
			events, err := domain.Decide(before, c)
			if !reflect.DeepEqual(before, w.state(id)) {
				t.Fatal("deciding changed the state")
			}
			if err != nil {
				continue
			}
			w.apply(id, events)

			switch c := c.(type) {
			case domain.CreateAccount:
				m[id] = modelAccount{typ: c.Type, fields: map[string]domain.Value{}}
				m.set(id, domain.ProfileFields, c.Profile)
			case domain.EditAccount:
				m.set(id, c.Patch.Fields, c.Patch.Values)
			case domain.UpsertAccount:
				if !existed {
					m[id] = modelAccount{typ: domain.TypeNormal, fields: map[string]domain.Value{}}
					m.set(id, domain.ProfileFields, domain.Profile{})
				}
				m.set(id, c.Patch.Fields, c.Patch.Values)
			case domain.DeleteAccount:
				delete(m, id)
			}
			check(t, w, m)
		}
	})
}

func check(t *rapid.T, w *world, m model) {
	admins := 0
	for id, a := range w.accounts {
		if id == "" {
			continue
		}
		want, ok := m[id]
		if a.Exists() != ok {
			t.Fatalf("account %s exists: %v, model: %v", id, a.Exists(), ok)
		}
		if !ok {
			if a.Profile != (domain.Profile{}) {
				t.Fatalf("a deleted account keeps %+v", a.Profile)
			}
			continue
		}
		if a.Type != want.typ {
			t.Fatalf("account %s is %s, model: %s", id, a.Type, want.typ)
		}
		for f := range domain.ProfileFields.All() {
			if a.Value(f) != want.fields[f.String()] {
				t.Fatalf("%s of %s is %+v, model: %+v", f, id, a.Value(f), want.fields[f.String()])
			}
		}
		if a.Type == domain.TypeAdmin {
			admins++
			if !w.roster.Holds(id) {
				t.Fatalf("administrator %s has no seat", id)
			}
		}
		if a.Revision == 0 || a.Revision > w.position || a.UpdatedAt.Before(a.CreatedAt) {
			t.Fatalf("account %s: revision %d of %d, created %s, updated %s", id, a.Revision, w.position, a.CreatedAt, a.UpdatedAt)
		}
	}
	if len(w.roster.Seats) != admins || admins > w.roster.Limit || w.roster.Limit != w.app.MaxAdmins {
		t.Fatalf("%d administrators, %d seats, limit %d, the application says %d", admins, len(w.roster.Seats), w.roster.Limit, w.app.MaxAdmins)
	}
}

func TestRepeatingAnEditChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := given(append(appCreated(1), created("kim", domain.TypeNormal, drawProfile(t)))...).state
		c := domain.EditAccount{App: "chat", UserID: "kim", Patch: domain.Patch{Fields: drawFields(t), Values: drawProfile(t)}}
		events, err := domain.Decide(s, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			s = domain.Evolve(s, e, 9)
		}
		if again, err := domain.Decide(s, c); err != nil || len(again) != 0 {
			t.Fatalf("the second time: %+v, %v", again, err)
		}
	})
}
