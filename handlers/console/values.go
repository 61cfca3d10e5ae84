package console

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/audit"
	"rollcall/handlers/console/i18n"
)

// shownValue is the value of a field as templates show it. The zero value is none.
type shownValue struct {
	Set  bool
	Raw  string    // as the API writes it
	Word string    // the key of a message that says the same in words, empty where there is none
	Note string    // the key of a message that says more, empty where there is none
	Free bool      // somebody chose the text
	Time time.Time // of a time
}

// valueOf returns how a value is shown in a language.
func valueOf(l *i18n.Language, f domain.Field, v domain.Value) shownValue {
	if !v.Set {
		return shownValue{}
	}
	s := shownValue{Set: true, Raw: v.Text}
	switch f.Kind() {
	case domain.KindNumber:
		s.Raw = strconv.FormatUint(v.Number, 10)
	case domain.KindTime:
		s.Time = v.Time
	}
	switch f {
	case domain.FieldBirthday:
		s.Raw = isoDate(uint32(v.Number))
	case domain.FieldMsgSettings:
		if v.Number&1 == 1 {
			s.Note = "edit.no_messages"
		}
	case domain.FieldNickname, domain.FieldFaceURL, domain.FieldLocation, domain.FieldSelfSignature:
		s.Free = true
	}
	if key := "value." + f.String() + "." + s.Raw; !s.Free {
		if _, ok := l.Message(key); ok {
			s.Word = key
		}
	}
	return s
}

// fieldChange is what an event did to a field.
type fieldChange struct {
	Field         string
	Before, After shownValue
}

// happening is an event as templates show it.
type happening struct {
	Event   eventstore.Envelope
	Type    string // without its version
	Erased  bool   // what it held is gone
	Changes []fieldChange
	Fields  []string // that it is about, where changes are not told
	OfUser  bool     // it is of one user id
	Moment  bool     // an account was as the event left it
}

// eventTypes are what an event may be, without version. Each has a message, "event." and the type.
var eventTypes = []string{
	"account.created", "account.edited", "account.deleted", "account.erased", "admin_seat.taken", "admin_seat.released", "admin_limit.set", "app.created", "app.edited",
}

func happeningOf(e eventstore.Envelope) happening {
	name := e.Type
	if i := strings.LastIndex(name, ".v"); i > 0 {
		name = name[:i]
	}
	h := happening{
		Event: e, Type: name, OfUser: e.Aggregate.Kind == eventstore.KindAccount || e.Aggregate.Kind == eventstore.KindErased,
		Moment: e.Aggregate.Kind == eventstore.KindAccount,
	}
	for _, f := range e.Fields {
		if _, known := domain.FieldNamed(f); known {
			h.Fields = append(h.Fields, f)
		}
	}
	return h
}

// Known tells whether the console has a word for the event.
func (h happening) Known() bool { return slices.Contains(eventTypes, h.Type) }

// Kind returns what happened in one word, for its colour: "created" for account.created.
func (h happening) Kind() string { return kindOf(h.Event.Type) }

// ActorName returns who gave the command, without the id of the token.
func (h happening) ActorName() string {
	name, _, _ := strings.Cut(h.Event.Actor, "/")
	return name
}

func entryOf(l *i18n.Language, e audit.Entry) happening {
	h := happeningOf(e.Event)
	h.Erased = e.Erased
	for _, c := range e.Changes {
		h.Changes = append(h.Changes, fieldChange{Field: c.Field.String(), Before: valueOf(l, c.Field, c.Before), After: valueOf(l, c.Field, c.After)})
	}
	return h
}

func entriesOf(l *i18n.Language, entries []audit.Entry) []happening {
	all := make([]happening, len(entries))
	for i, e := range entries {
		all[i] = entryOf(l, e)
	}
	return all
}

// accountURL returns the address of an account's page. Ids that a browser takes for a part of the path itself go into the query.
func accountURL(app, id any) string {
	base := homePath + "apps/" + url.PathEscape(asStrings([]any{app})[0])
	user := asStrings([]any{id})[0]
	if user == "." || user == ".." || user == "/" {
		return base + "/account?" + url.Values{"user_id": {user}}.Encode()
	}
	return base + "/accounts/" + url.PathEscape(user)
}
