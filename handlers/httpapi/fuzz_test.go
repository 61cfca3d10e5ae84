package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/httpapi"
	"rollcall/handlers/wire"
)

// decided are commands that are decided as in an application that has one
// account, named kept, and kept nowhere.
type decided struct{}

func (decided) Execute(_ context.Context, _ command.Request, c domain.Command) (command.Result, error) {
	s := domain.State{App: domain.App{ID: "demo", MaxAdmins: 10, Revision: 1}, Roster: domain.Roster{Limit: 10}}
	kept := domain.Account{App: "demo", UserID: "kept", Type: domain.TypeNormal, Revision: 2}
	switch c := c.(type) {
	case domain.EditAccount:
		if c.UserID == kept.UserID {
			s.Account = kept
		}
	case domain.UpsertAccount:
		if c.UserID == kept.UserID {
			s.Account = kept
		}
	}
	events, err := domain.Decide(s, c)
	for i, e := range events {
		s = domain.Evolve(s, e, uint64(10+i))
	}
	return command.Result{Position: 10, Changed: len(events) > 0, App: s.App, Account: s.Account}, err
}

func (d decided) DeleteAccounts(_ context.Context, _ command.Request, _ domain.AppID, ids []domain.UserID) ([]command.ItemResult, error) {
	return make([]command.ItemResult, len(ids)), nil
}

func (d decided) Import(ctx context.Context, req command.Request, app domain.AppID, _ command.ImportMode, rows iter.Seq[command.Row], emit func(command.RowResult) error) error {
	for row := range rows {
		r := command.RowResult{Line: row.Line, UserID: row.UserID, Err: row.Err}
		if r.Err == nil {
			r.Result, r.Err = d.Execute(ctx, req, domain.UpsertAccount{App: app, UserID: row.UserID, Type: row.Type, Patch: row.Patch})
		}
		if err := emit(r); err != nil {
			return err
		}
	}
	return nil
}

// nothingRead are reads of an empty list.
type nothingRead struct{}

func (nothingRead) List(_ context.Context, _ uint64, l domain.Listing) (domain.Page, error) {
	_, err := l.Normalize()
	return domain.Page{}, err
}

func (nothingRead) Account(context.Context, uint64, domain.AppID, domain.UserID) (domain.Account, uint64, error) {
	return domain.Account{}, 0, &domain.Rejection{Code: domain.CodeAccountNotFound, Detail: "none"}
}

func (nothingRead) App(context.Context, uint64, domain.AppID) (domain.App, uint64, error) {
	return domain.App{}, 0, nil
}
func (nothingRead) Apps(context.Context, uint64) ([]domain.App, uint64, error) { return nil, 0, nil }
func (nothingRead) Wrote(uint64)                                               {}

// light returns the API over use cases that cost nothing.
func light(t testing.TB) *httpapi.Handler {
	h, err := httpapi.New(httpapi.Config{
		Commands: decided{}, Queries: nothingRead{}, Exports: newPlayedExports(),
		Tokens: access.New(nil, operatorToken, access.Options{}),
		NewID:  func() string { return ulid.Make().String() },
	})
	must(t, err)
	return h
}

// serve answers a request without a network.
func serve(h *httpapi.Handler, method, path, kind string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, bytes.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+operatorToken)
	req.Header.Set("Content-Type", kind)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

// checkAnswer checks that an answer is a success or a problem with a code that
// is the client's to mend.
func checkAnswer(t *testing.T, rec *httptest.ResponseRecorder) {
	t.Helper()
	if rec.Code < 300 {
		return
	}
	var p wire.Problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || rec.Code >= 500 || p.Code == "" || p.Status != rec.Code {
		t.Errorf("answered %d %s", rec.Code, rec.Body)
	}
	for _, e := range p.Errors {
		if e.Code == "" || e.Detail == "" {
			t.Errorf("answered %s", rec.Body)
		}
	}
}

func addBodies(f *testing.F) {
	for _, m := range malformedBodies() {
		if len(m.body) < 1000 {
			f.Add([]byte(m.body))
		}
	}
	f.Add([]byte(`{"user_id":"a","type":"admin","nickname":"\ud83d\ude00","level":0,"birthday":20000229}`))
	f.Add([]byte(`{"nickname":null,"gender":"female","allow_type":"deny_any"}`))
	f.Add([]byte("{\"user_id\"\t:\n\"\\u0061\" , \"type\":\"normal\"}\r\n"))
}

func FuzzCreateBody(f *testing.F) {
	addBodies(f)
	h := light(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		rec := serve(h, "POST", accounts, "application/json", body)
		checkAnswer(t, rec)
		if rec.Code == 201 {
			checkSame(t, body, rec.Body.Bytes())
		}
	})
}

// checkSame checks that an account which was accepted is what encoding/json
// reads from the body.
func checkSame(t *testing.T, body, answer []byte) {
	t.Helper()
	var sent, got map[string]any
	if err := json.Unmarshal(body, &sent); err != nil {
		t.Fatalf("accepted what is not JSON: %q: %v", body, err)
	}
	must(t, json.Unmarshal(answer, &got))
	for name, value := range sent {
		if value == nil || value == "" {
			value = nil
		}
		if name == "type" && value == nil {
			value = "normal"
		}
		if got[name] != value {
			t.Errorf("%s was sent as %#v and taken as %#v", name, value, got[name])
		}
	}
}

func FuzzPatch(f *testing.F) {
	addBodies(f)
	h := light(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		checkAnswer(t, serve(h, "PATCH", accounts+"/kept", "application/merge-patch+json", body))
		for _, path := range []string{"/v1/apps", accounts + ":delete", "/v1/apps/demo/exports"} {
			checkAnswer(t, serve(h, "POST", path, "application/json", body))
		}
	})
}

func FuzzImport(f *testing.F) {
	for _, m := range malformedBodies() {
		if len(m.body) < 1000 {
			f.Add([]byte(m.body+"\n"+m.body), false)
			f.Add([]byte("user_id,nickname,level\n"+m.body+"\n"), true)
		}
	}
	f.Add([]byte("user_id,type\r\n\"a\nb\",normal\r\n'=x,\n"), true)
	f.Add([]byte("\xef\xbb\xbfuser_id\na\n\n\"\"\n\"a\"\"\"\nb\r\n\r"), true)
	h := light(f)
	f.Fuzz(func(t *testing.T, body []byte, csv bool) {
		kind := ndjson
		if csv {
			kind = table
		}
		rec := serve(h, "POST", accounts+":import?mode=upsert", kind, body)
		checkAnswer(t, rec)
		if rec.Code != 200 {
			return
		}
		im := readImport(t, rec.Body)
		if !im.summary.Done || im.summary.Rows != len(im.rows) {
			t.Errorf("summary %+v of %d rows", im.summary, len(im.rows))
		}
		for line, r := range im.rows {
			if line < 1 || line > 1+bytes.Count(body, []byte("\n")) || (r.Status == "failed") != (r.Code != "") {
				t.Errorf("%+v", r)
			}
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/v1/apps", "/v1/apps/demo/accounts/%2e%2e", "/v1/apps/demo/accounts?limit=0&q=%ff", "/v1/apps/%2F/accounts/%2f", "/v1/apps/demo/accounts/a%00", "/docs/", "/v1/../x", "//", "/v1/apps/demo/exports?cursor=1"} {
		f.Add(s)
	}
	h := light(f)
	f.Fuzz(func(t *testing.T, target string) {
		if !strings.HasPrefix(target, "/") {
			return
		}
		for _, method := range []string{"GET", "DELETE"} {
			req := httptest.NewRequest(method, "/", nil)
			u, err := req.URL.Parse(target)
			if err != nil || u.Host != "" {
				return // it would not reach a server
			}
			req.URL = u
			req.Header.Set("Authorization", "Bearer "+operatorToken)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			if rec.Code >= 300 && rec.Code < 400 {
				t.Errorf("%q is redirected to %s", target, rec.Header().Get("Location"))
				continue
			}
			checkAnswer(t, rec)
		}
	})
}
