package wire_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/handlers/wire"
)

func rejection(t *testing.T, err error) *domain.Rejection {
	t.Helper()
	r, ok := errors.AsType[*domain.Rejection](err)
	if !ok {
		t.Fatalf("%v is no refusal", err)
	}
	return r
}

func fieldsOf(r *domain.Rejection) []string {
	var names []string
	for _, f := range r.Fields {
		names = append(names, f.Field)
	}
	return names
}

func TestAnAccountBodyTellsWhatIsNamed(t *testing.T) {
	body, err := wire.DecodeAccount([]byte(`{"user_id":"mina","nickname":"미나","level":0,"gender":null,"revision":7}`))
	if err != nil {
		t.Fatal(err)
	}
	named := domain.FieldsOf(domain.FieldUserID, domain.FieldNickname, domain.FieldLevel, domain.FieldGender, domain.FieldRevision)
	patched := domain.FieldsOf(domain.FieldNickname, domain.FieldLevel, domain.FieldGender)
	if body.UserID != "mina" || body.Type != "" || body.Named != named || body.Patch.Fields != patched ||
		body.Patch.Values.Nickname != "미나" || body.Patch.Values.Level != domain.Num(0) {
		t.Errorf("%+v", body)
	}
	if r := rejection(t, body.RefuseReadOnly()); !slices.Equal(fieldsOf(r), []string{"revision"}) || r.Fields[0].Code != wire.CodeReadOnly {
		t.Errorf("%+v", r)
	}
}

func TestAnEditMayNameTheAccountThatItIsAbout(t *testing.T) {
	body, err := wire.DecodeAccount([]byte(`{"user_id":"mina","nickname":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	if r := rejection(t, body.RefuseImmutable()); r.Code != domain.CodeImmutable || !slices.Equal(fieldsOf(r), []string{"user_id"}) {
		t.Errorf("%+v", r)
	}
	if err := body.RefuseImmutable(domain.FieldUserID); err != nil {
		t.Error(err)
	}
	body, err = wire.DecodeAccount([]byte(`{"user_id":"mina","type":"admin"}`))
	if err != nil {
		t.Fatal(err)
	}
	if r := rejection(t, body.RefuseImmutable(domain.FieldUserID)); !slices.Equal(fieldsOf(r), []string{"type"}) {
		t.Errorf("%+v", r)
	}
}

func TestABodyThatIsMalformedIsRefusedByName(t *testing.T) {
	app := func(b []byte) error { _, err := wire.DecodeExport("demo", b); return err }
	batch := func(b []byte) error { _, err := wire.DecodeUserIDs(b); return err }
	account := func(b []byte) error { _, err := wire.DecodeAccount(b); return err }
	for _, c := range []struct {
		decode func([]byte) error
		body   string
		code   domain.Code
		field  string
		of     domain.Code
	}{
		{account, ``, wire.CodeMalformedBody, "", ""},
		{account, `[]`, wire.CodeMalformedBody, "", ""},
		{account, `{}x`, wire.CodeMalformedBody, "", ""},
		{account, `{"nickname":"\ud800"}`, domain.CodeInvalid, "nickname", domain.CodeBadValue},
		{account, `{"nickname":"a","nickname":"b"}`, domain.CodeInvalid, "nickname", wire.CodeDuplicate},
		{account, `{"level":1.5}`, domain.CodeInvalid, "level", domain.CodeBadValue},
		{account, `{"` + strings.Repeat("x", 100) + `":1}`, domain.CodeInvalid, strings.Repeat("x", 64) + "…", domain.CodeUnknownField},
		{batch, `{}`, domain.CodeInvalid, "user_ids", domain.CodeRequired},
		{batch, `{"user_ids":["a","b","a"]}`, domain.CodeInvalid, "user_ids[2]", wire.CodeDuplicate},
		{batch, `{"user_ids":["a",7]}`, domain.CodeInvalid, "user_ids[1]", domain.CodeBadValue},
		{app, `{"format":"csv","filter":{"typ":"admin"}}`, domain.CodeInvalid, "filter.typ", domain.CodeUnknownField},
		{app, `{"format":"csv","filter":7}`, domain.CodeInvalid, "filter", domain.CodeBadValue},
		{app, `{"format":"csv","fields":["nickname","nick"]}`, domain.CodeInvalid, "fields[1]", domain.CodeUnknownField},
	} {
		r := rejection(t, c.decode([]byte(c.body)))
		if r.Code != c.code || r.Detail == "" {
			t.Errorf("%s: %+v, want %s", c.body, r, c.code)
		}
		if c.field != "" && (len(r.Fields) != 1 || r.Fields[0].Field != c.field || r.Fields[0].Code != c.of) {
			t.Errorf("%s: %+v, want %s of %s", c.body, r.Fields, c.of, c.field)
		}
	}
}

func TestAnExportIsRead(t *testing.T) {
	spec, err := wire.DecodeExport("demo", []byte(`{"format":"csv","filter":{"type":"admin","q":"a"},"fields":["user_id","level"],"user_ids":null}`))
	if err != nil {
		t.Fatal(err)
	}
	if spec.App != "demo" || spec.Format != "csv" || spec.Filter != (domain.Filter{Type: domain.TypeAdmin, Text: "a"}) ||
		!slices.Equal(spec.Fields, []domain.Field{domain.FieldUserID, domain.FieldLevel}) || spec.UserIDs != nil {
		t.Errorf("%+v", spec)
	}
}

func TestAnAccountShowsWhatIsSet(t *testing.T) {
	at := time.Date(2024, 2, 29, 9, 0, 0, 0, time.FixedZone("KST", 9*60*60))
	b, err := json.Marshal(wire.AccountOf(domain.Account{
		App: "demo", UserID: "mina", Type: domain.TypeNormal, CreatedAt: at, UpdatedAt: at, Revision: 7,
		Profile: domain.Profile{Level: domain.Num(0)},
	}))
	const want = `{"app":"demo","user_id":"mina","type":"normal","level":0,"created_at":"2024-02-29T00:00:00Z","updated_at":"2024-02-29T00:00:00Z","revision":7}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
}

func TestATraceParentIsValidated(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if !wire.ValidTraceParent(trace) {
		t.Errorf("%s is refused", trace)
	}
	for _, v := range []string{
		"", "x", strings.ToUpper(trace), "01" + trace[2:], trace + "-x", trace[:len(trace)-1],
		strings.Replace(trace, "4bf92f3577b34da6a3ce929d0e0e4736", strings.Repeat("0", 32), 1),
		strings.Replace(trace, "00f067aa0ba902b7", strings.Repeat("0", 16), 1),
		strings.Replace(trace, "f", "-", 1), strings.Replace(trace, "f", "g", 1),
	} {
		if wire.ValidTraceParent(v) {
			t.Errorf("%q is accepted", v)
		}
	}
}

// FuzzDecodeAccount checks that what is read of a body is what encoding/json reads.
func FuzzDecodeAccount(f *testing.F) {
	f.Add([]byte(`{"user_id":"a","type":"admin","nickname":"\ud83d\ude00","level":0,"birthday":20000229}`))
	f.Add([]byte(`{"nickname":null,"gender":"female","allow_type":"deny_any","revision":{"a":["}"]}}`))
	f.Add([]byte("{\"user_id\"\t:\n\"\\u0061\" , \"type\":\"normal\"}\r\n"))
	f.Add([]byte(`{"nickname":"\ud800"}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := wire.DecodeAccount(b)
		if err != nil {
			if r := rejection(t, err); r.Code != wire.CodeMalformedBody && (r.Code != domain.CodeInvalid || len(r.Fields) == 0) {
				t.Errorf("%+v", r)
			}
			return
		}
		var members map[string]any
		if err := json.Unmarshal(b, &members); err != nil {
			t.Fatalf("accepted what is not JSON: %q: %v", b, err)
		}
		var named domain.Fields
		for name := range members {
			f, ok := domain.FieldNamed(name)
			if !ok {
				t.Errorf("accepted a field %q", name)
			}
			named = named.With(f)
		}
		if body.Named != named {
			t.Errorf("named %v, want %v", body.Named.Names(), named.Names())
		}
		for name, got := range map[string]string{
			"user_id": string(body.UserID), "type": string(body.Type), "nickname": body.Patch.Values.Nickname, "location": body.Patch.Values.Location,
		} {
			if want, _ := members[name].(string); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if got, want := body.Patch.Values.Level, members["level"]; got.Set != (want != nil) || got.Set && float64(got.Value) != want {
			t.Errorf("level is %+v, want %v", got, want)
		}
	})
}

func TestANameThatIsGivenOftenIsOneErrorEachTimeAndNoMore(t *testing.T) {
	body := `{` + strings.Repeat(`"a":1,`, 99) + `"a":1}`
	_, err := wire.DecodeAccount([]byte(body))
	var refused *domain.Rejection
	if !errors.As(err, &refused) || len(refused.Fields) > 200 || len(refused.Fields) < 99 {
		t.Errorf("%d names that are one: %v", 100, err)
	}
}
