package eventstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/eventstore"
)

// anyEnvelope draws an event as Marshal takes it.
func anyEnvelope(t *rapid.T) eventstore.Envelope {
	text := rapid.OneOf(
		rapid.StringMatching(`[ -~]{0,20}`),
		rapid.StringN(0, 12, -1),
		rapid.SampledFrom([]string{"", `"`, `\`, `","data":`, "\u2028", "\x00", "한국어", "😀", "<&>", "data"}),
	)
	needed := rapid.Custom(func(t *rapid.T) string { return "x" + text.Draw(t, "text") })
	data, err := json.Marshal(rapid.MapOf(text, text).Draw(t, "data"))
	if err != nil {
		t.Fatal(err)
	}
	return eventstore.Envelope{
		ID: needed.Draw(t, "id"), Type: needed.Draw(t, "type"), Aggregate: anyAggregate(t),
		Time:  time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC(),
		Actor: text.Draw(t, "actor"), CommandID: needed.Draw(t, "command id"),
		CausationID: text.Draw(t, "causation id"), CorrelationID: text.Draw(t, "correlation id"), TraceParent: text.Draw(t, "trace"),
		Fields: rapid.SliceOfN(rapid.StringMatching(`[a-z_]{1,12}`), 0, 4).Draw(t, "fields"),
		KeyID:  text.Draw(t, "key id"), Data: data,
	}
}

func TestAnEventIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyEnvelope(t)
		b, err := eventstore.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := eventstore.Unmarshal(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if len(want.Fields) == 0 {
			want.Fields = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\nis read as %+v\nwant %+v", b, got, want)
		}
	})
}

// TestAnEventIsReadTheSameInAnyForm writes the same JSON in another form, which the short way of
// Unmarshal does not take.
func TestAnEventIsReadTheSameInAnyForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, err := eventstore.Marshal(anyEnvelope(t))
		if err != nil {
			t.Fatal(err)
		}
		want, err := eventstore.Unmarshal(b)
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(b, &members); err != nil {
			t.Fatal(err)
		}
		sorted, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		var spaced bytes.Buffer
		if err := json.Indent(&spaced, b, "", " "); err != nil {
			t.Fatal(err)
		}
		for _, form := range [][]byte{sorted, spaced.Bytes(), append([]byte("\n "), b...)} {
			got, err := eventstore.Unmarshal(form)
			if err != nil {
				t.Fatalf("%s: %v", form, err)
			}
			// Space within the data is kept as it is.
			var compact bytes.Buffer
			if err := json.Compact(&compact, got.Data); err != nil {
				t.Fatal(err)
			}
			got.Data = compact.Bytes()
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s\nis read as %+v\nwant %+v", form, got, want)
			}
		}
	})
}

// TestAChangedByteIsReadAsJSONSays changes one byte of an event: Unmarshal must not take what is no
// JSON or read anything else than encoding/json does.
func TestAChangedByteIsReadAsJSONSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, err := eventstore.Marshal(anyEnvelope(t))
		if err != nil {
			t.Fatal(err)
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.SampledFrom([]byte("\"\\{}[],: \n\x00\xffdx0")).Draw(t, "byte")
		got, err := eventstore.Unmarshal(b)
		if err != nil {
			return
		}
		var members struct {
			ID, Type, Actor, CommandID string
			Subject                    string
			Time                       time.Time
			Data                       json.RawMessage
		}
		if err := json.Unmarshal(b, &members); err != nil {
			t.Fatalf("%s is taken for an event: %v", b, err)
		}
		if members.ID != got.ID || members.Type != got.Type || members.Actor != got.Actor || members.CommandID != got.CommandID ||
			members.Subject != got.Aggregate.Subject() || !members.Time.Equal(got.Time) || !bytes.Equal(members.Data, got.Data) {
			t.Fatalf("%s\nis read as %+v\nwant %+v", b, got, members)
		}
	})
}

func TestAnIncompleteEventIsInvalid(t *testing.T) {
	whole := eventstore.Envelope{
		ID: "1", Type: "t", Aggregate: eventstore.App("a"), CommandID: "c", Time: time.Unix(1, 0), Data: []byte("{}"),
	}
	if _, err := eventstore.Marshal(whole); err != nil {
		t.Fatal(err)
	}
	for name, remove := range map[string]func(*eventstore.Envelope){
		"no id":         func(e *eventstore.Envelope) { e.ID = "" },
		"no type":       func(e *eventstore.Envelope) { e.Type = "" },
		"no aggregate":  func(e *eventstore.Envelope) { e.Aggregate = eventstore.AggregateID{} },
		"no command id": func(e *eventstore.Envelope) { e.CommandID = "" },
		"no time":       func(e *eventstore.Envelope) { e.Time = time.Time{} },
		"no data":       func(e *eventstore.Envelope) { e.Data = nil },
		"broken data":   func(e *eventstore.Envelope) { e.Data = []byte("{") },
	} {
		e := whole
		remove(&e)
		if _, err := eventstore.Marshal(e); !errors.Is(err, eventstore.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	b, err := eventstore.Marshal(eventstore.Envelope{
		ID: "1", Type: "t", Aggregate: eventstore.App("a"), CommandID: "c", Time: time.Unix(1, 0), Data: []byte("{}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "{}", "null", "[]", `{"specversion":"1.0"}`,
		strings.Replace(string(b), "1.0", "2.0", 1),
		strings.Replace(string(b), "accounts.evt", "accounts.cmd", 1),
		string(b) + "x", string(b[:len(b)-1]),
	} {
		if e, err := eventstore.Unmarshal([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v", text, e)
		}
	}
}
