package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/httpapi"
	"rollcall/handlers/wire"
)

const accounts = "/v1/apps/demo/accounts"

func TestAnAccountIsCreatedShownEditedAndDeleted(t *testing.T) {
	r := newRig(t)
	made := r.create(t, `{"user_id":"mina","type":"normal","nickname":"미나","level":0,"birthday":20000229}`)
	var a wire.Account
	made.json(t, &a)
	if a.Nickname != "미나" || a.Level == nil || *a.Level != 0 || a.Role != nil || a.CreatedAt.Location().String() != "UTC" {
		t.Errorf("created %s", made.body)
	}
	revision := fmt.Sprint(a.Revision)
	if made.Header.Get("Location") != accounts+"/mina" || made.Header.Get("ETag") != `"`+revision+`"` || made.Header.Get("Rollcall-Position") != revision {
		t.Errorf("headers %v", made.Header)
	}
	if want := `{"app":"demo","user_id":"mina","type":"normal","nickname":"미나","birthday":20000229,"level":0,"created_at":"`; !strings.HasPrefix(string(made.body), want) {
		t.Errorf("fields are not in their order, or unset ones are there: %s", made.body)
	}
	shown := r.call(t, request{method: "GET", path: accounts + "/mina?min_position=" + revision}).status(t, 200)
	if string(shown.body) != string(made.body) {
		t.Errorf("shown %s, created %s", shown.body, made.body)
	}

	edited := r.call(t, request{method: "PATCH", path: accounts + "/mina", kind: "application/merge-patch+json",
		body: `{"nickname":null,"level":7}`, header: map[string]string{"If-Match": `"` + revision + `"`}}).status(t, 200)
	var b wire.Account
	edited.json(t, &b)
	if b.Nickname != "" || *b.Level != 7 || b.Birthday != 20000229 || b.Revision <= a.Revision {
		t.Errorf("edited %s", edited.body)
	}
	r.call(t, request{method: "PATCH", path: accounts + "/mina", body: `{"level":8}`, header: map[string]string{"If-Match": `"` + revision + `"`}}).
		problem(t, 412, domain.CodeRevisionMismatch)

	gone := r.call(t, request{method: "DELETE", path: accounts + "/mina"}).status(t, 204)
	if len(gone.body) != 0 || gone.Header.Get("Rollcall-Position") == "" {
		t.Errorf("deletion answered %q, %v", gone.body, gone.Header)
	}
	r.call(t, request{method: "GET", path: accounts + "/mina?min_position=" + gone.Header.Get("Rollcall-Position")}).
		problem(t, 404, domain.CodeAccountNotFound)
	r.call(t, request{method: "DELETE", path: accounts + "/mina"}).problem(t, 404, domain.CodeAccountNotFound)
}

func TestACommandUnderTheSameKeyIsAnsweredAsTheFirstTime(t *testing.T) {
	r := newRig(t)
	q := request{method: "POST", path: accounts, body: `{"user_id":"a","type":"normal"}`, header: map[string]string{"Idempotency-Key": "key-1"}}
	first := r.call(t, q).status(t, 201)
	r.call(t, request{method: "PATCH", path: accounts + "/a", body: `{"nickname":"later"}`}).status(t, 200)
	again := r.call(t, q).status(t, 201)
	if string(first.body) != string(again.body) || first.Header.Get("Rollcall-Position") != again.Header.Get("Rollcall-Position") {
		t.Errorf("first %s, again %s", first.body, again.body)
	}
	if first.Header.Get("Idempotency-Replayed") != "" || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("replayed: %q, then %q", first.Header.Get("Idempotency-Replayed"), again.Header.Get("Idempotency-Replayed"))
	}
	q.method, q.path, q.body = "DELETE", accounts+"/a", ""
	r.call(t, q).problem(t, 409, "command_id_reused")
}

func TestTheEntityTagSparesAnUnchangedAccount(t *testing.T) {
	r := newRig(t)
	tag := r.create(t, `{"user_id":"a","type":"normal"}`).Header.Get("ETag")
	for _, header := range []string{tag, "W/" + tag, `"1", ` + tag, "*"} {
		a := r.call(t, request{method: "GET", path: accounts + "/a", header: map[string]string{"If-None-Match": header}}).status(t, 304)
		if len(a.body) != 0 || a.Header.Get("ETag") != tag {
			t.Errorf("%s: %q %v", header, a.body, a.Header)
		}
	}
	for _, header := range []string{`"1"`, `nonsense`, `"x"`} {
		r.call(t, request{method: "GET", path: accounts + "/a", header: map[string]string{"If-None-Match": header}}).status(t, 200)
	}
}

func TestIfMatchIsReadStrictly(t *testing.T) {
	r := newRig(t)
	tag := r.create(t, `{"user_id":"a","type":"normal"}`).Header.Get("ETag")
	patch := func(header, body string) answer {
		return r.call(t, request{method: "PATCH", path: accounts + "/a", body: body, header: map[string]string{"If-Match": header}})
	}
	for _, malformed := range []string{"7", `"7`, `"1", "2"`, "", `"`} {
		patch(malformed, `{"level":1}`).problem(t, 400, "malformed_header")
	}
	for _, other := range []string{"W/" + tag, `"0"`, `"007"`, `"x"`, `"18446744073709551616"`, `""`} {
		patch(other, `{"level":1}`).problem(t, 412, "revision_mismatch")
	}
	patch("*", `{"level":1}`).status(t, 200)
	r.call(t, request{method: "DELETE", path: accounts + "/a", header: map[string]string{"If-Match": tag}}).problem(t, 422, "validation_failed")
}

func TestEveryUserIDCanBeNamedInAPath(t *testing.T) {
	r := newRig(t)
	ids := []string{"a/b", "a%b", "..", ".", "#", ":", "?", "@", "%2e%2e", "a;b", "~", "/", "//", "+", "&", "=", `"`, "\\", "*", ">", "accounts:delete", "%"}
	for _, id := range ids {
		made := r.create(t, fmt.Sprintf(`{"user_id":%q,"type":"normal"}`, id))
		location := made.Header.Get("Location")
		var a wire.Account
		r.call(t, request{method: "GET", path: location}).status(t, 200).json(t, &a)
		if string(a.UserID) != id {
			t.Errorf("%s shows %s, want %s", location, a.UserID, id)
		}
		// Every byte escaped is the same.
		var escaped strings.Builder
		for _, b := range []byte(id) {
			fmt.Fprintf(&escaped, "%%%02x", b)
		}
		r.call(t, request{method: "PATCH", path: accounts + "/" + escaped.String(), body: `{"nickname":"x"}`}).status(t, 200)
		r.call(t, request{method: "DELETE", path: location}).status(t, 204)
	}
}

func TestAPathThatCouldMeanTwoThingsIsNotGuessed(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{accounts + "//a", accounts + "/../accounts", accounts + "/.", "//v1/apps", "/v1/./apps"} {
		req := r.new(t, request{method: "GET", path: "/"}, nil)
		req.URL.Opaque = path // as it stands
		if strings.HasPrefix(path, "//") {
			req.URL.Opaque = "http:" + path
			req.URL = &url.URL{Scheme: "http", Host: req.URL.Host, Path: path}
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		must(t, err)
		res.Body.Close()
		if res.StatusCode != 404 {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

func TestAListIsPagedFilteredAndOrdered(t *testing.T) {
	r := newRig(t)
	var last string
	for i := range 7 {
		kind := "normal"
		if i%3 == 0 {
			kind = "admin"
		}
		last = r.create(t, fmt.Sprintf(`{"user_id":"u%d","type":%q,"nickname":"민수%d"}`, i, kind, i)).Header.Get("Rollcall-Position")
	}
	var seen []string
	query := "?sort=user_id&order=desc&limit=3&min_position=" + last
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		var page httpapi.AccountList
		r.call(t, request{method: "GET", path: accounts + query + cursor}).status(t, 200).json(t, &page)
		for _, a := range page.Accounts {
			seen = append(seen, string(a.UserID))
		}
		if cursor = ""; page.NextCursor != "" {
			cursor = "&cursor=" + page.NextCursor
		}
		if page.Total != 7 || fmt.Sprint(page.Position) < last {
			t.Errorf("page %+v", page)
		}
	}
	if got := strings.Join(seen, " "); got != "u6 u5 u4 u3 u2 u1 u0" {
		t.Errorf("listed %s", got)
	}
	var page httpapi.AccountList
	r.call(t, request{method: "GET", path: accounts + "?type=admin&q=" + url.QueryEscape("수3")}).status(t, 200).json(t, &page)
	if len(page.Accounts) != 1 || page.Accounts[0].UserID != "u3" {
		t.Errorf("found %+v", page)
	}
	empty := r.call(t, request{method: "GET", path: accounts + "?q=nobody"}).status(t, 200)
	if !strings.Contains(string(empty.body), `"accounts":[]`) {
		t.Errorf("an empty list is %s", empty.body)
	}
	r.call(t, request{method: "GET", path: accounts + "?cursor=" + "bm9uc2Vuc2U"}).problem(t, 400, "invalid_cursor")
}

func TestTheListAsItWasIsPagedWhateverHappensSince(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.create(t, fmt.Sprintf(`{"user_id":"u%d","type":"normal","nickname":"old %d"}`, i, i))
	}
	then := r.call(t, request{method: "GET", path: accounts + "/u4"}).status(t, 200).Header.Get("Rollcall-Position")
	r.call(t, request{method: "PATCH", path: accounts + "/u0", body: `{"nickname":"new"}`}).status(t, 200)
	r.create(t, `{"user_id":"u9","type":"normal"}`)
	last, err := r.store.Last(t.Context())
	must(t, err)
	between := ""
	for e, err := range r.store.Read(t.Context(), last, last) {
		must(t, err)
		between = e.Recorded.Format(time.RFC3339Nano)
	}
	r.call(t, request{method: "DELETE", path: accounts + "/u3"}).status(t, 204)
	auditor := r.token(t, access.Auditor, "demo")
	var page httpapi.AccountList
	var seen []string
	for cursor := ""; ; cursor = "&cursor=" + page.NextCursor {
		page = httpapi.AccountList{}
		a := r.call(t, request{method: "GET", path: accounts + "?sort=user_id&limit=2&as_of=" + then + cursor, token: auditor}).status(t, 200).json(t, &page)
		if page.Total != 5 || fmt.Sprint(page.Position) != then || a.Header.Get("Rollcall-Position") != then {
			t.Errorf("the page is %s", a.body)
		}
		for _, a := range page.Accounts {
			seen = append(seen, string(a.UserID))
		}
		if page.NextCursor == "" {
			break
		}
	}
	if got := strings.Join(seen, " "); got != "u0 u1 u2 u3 u4" {
		t.Errorf("then there were %s", got)
	}
	r.call(t, request{method: "GET", path: accounts + "?q=old+0&as_of=" + then}).status(t, 200).json(t, &page)
	if page.Total != 1 {
		t.Errorf("the old name is found %d times", page.Total)
	}
	var first httpapi.AccountList
	r.call(t, request{method: "GET", path: accounts + "?limit=2&as_of=" + url.QueryEscape(between), token: auditor}).status(t, 200).json(t, &first)
	if first.Total != 6 {
		t.Errorf("before the deletion there were %d accounts", first.Total)
	}
	for _, q := range []string{"?limit=2&as_of=" + then, "?limit=2"} {
		r.call(t, request{method: "GET", path: accounts + q + "&cursor=" + first.NextCursor}).problem(t, 400, "invalid_cursor")
	}
	r.call(t, request{method: "GET", path: fmt.Sprintf("%s?limit=2&as_of=%d&cursor=%s", accounts, first.Position, first.NextCursor)}).status(t, 200)

	r.call(t, request{method: "GET", path: accounts + "?as_of=" + then, token: r.token(t, access.Viewer, "demo")}).status(t, 200)
	r.call(t, request{method: "GET", path: accounts, token: auditor}).problem(t, 403, "forbidden")
	r.call(t, request{method: "GET", path: accounts + "?as_of=" + then, token: r.token(t, access.Exporter, "demo")}).problem(t, 403, "forbidden")
	r.call(t, request{method: "POST", path: "/v1/apps", body: `{"app":"later"}`}).status(t, 201)
	r.call(t, request{method: "GET", path: "/v1/apps/later/accounts?as_of=" + then}).problem(t, 404, "app_not_found")
}

func TestAReadWaitsForItsPosition(t *testing.T) {
	r := newRig(t)
	a := r.call(t, request{method: "GET", path: accounts + "?min_position=1000000"})
	a.problem(t, 503, "not_caught_up")
	if a.Header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
}

func TestABatchDeletionAnswersEachAccountInOrder(t *testing.T) {
	r := newRig(t)
	r.create(t, `{"user_id":"a","type":"normal"}`)
	r.create(t, `{"user_id":"c","type":"admin"}`)
	a := r.call(t, request{method: "POST", path: accounts + ":delete", body: `{"user_ids":["a","b","c","한"]}`}).status(t, 200)
	var out httpapi.Deletions
	a.json(t, &out)
	got := ""
	for _, d := range out.Results {
		got += fmt.Sprintf("%s=%s%s ", d.UserID, d.Status, d.Code)
		if (d.Position > 0) != (d.Status == "deleted") {
			t.Errorf("%+v", d)
		}
	}
	if got != "a=deleted b=failedaccount_not_found c=deleted 한=failedaccount_not_found " {
		t.Error(got)
	}
	if want := fmt.Sprint(max(out.Results[0].Position, out.Results[2].Position)); a.Header.Get("Rollcall-Position") != want {
		t.Errorf("position %s, want %s", a.Header.Get("Rollcall-Position"), want)
	}
}

func TestTheLimitOfAdministratorsIsAConflict(t *testing.T) {
	r := newRig(t)
	r.call(t, request{method: "PATCH", path: "/v1/apps/demo", body: `{"max_admins":1}`}).status(t, 200)
	r.create(t, `{"user_id":"a","type":"admin"}`)
	r.call(t, request{method: "POST", path: accounts, body: `{"user_id":"b","type":"admin"}`}).problem(t, 409, "admin_limit_reached")
	r.call(t, request{method: "PATCH", path: "/v1/apps/demo", body: `{"max_admins":0}`}).problem(t, 409, "admins_over_limit")
	r.call(t, request{method: "POST", path: accounts, body: `{"user_id":"a","type":"normal"}`}).problem(t, 409, "account_exists")
}

func TestApplicationsAreCreatedEditedAndListed(t *testing.T) {
	r := newRig(t)
	made := r.call(t, request{method: "POST", path: "/v1/apps", body: `{"app":"second","max_admins":3}`}).status(t, 201)
	var a httpapi.App
	made.json(t, &a)
	if a.MaxAdmins != 3 || made.Header.Get("Location") != "/v1/apps/second" {
		t.Errorf("created %s %v", made.body, made.Header)
	}
	r.call(t, request{method: "POST", path: "/v1/apps", body: `{"app":"second"}`}).problem(t, 409, "app_exists")
	r.call(t, request{method: "PATCH", path: "/v1/apps/second", body: `{"name":"Second","max_admins":null}`}).status(t, 200).json(t, &a)
	if a.Name != "Second" || a.MaxAdmins != domain.DefaultMaxAdmins {
		t.Errorf("edited %+v", a)
	}
	var list httpapi.AppList
	r.call(t, request{method: "GET", path: "/v1/apps"}).status(t, 200).json(t, &list)
	if len(list.Apps) != 2 || list.Apps[1].Name != "Second" || list.Position == 0 {
		t.Errorf("listed %+v", list)
	}
	r.call(t, request{method: "GET", path: "/v1/apps/none"}).problem(t, 404, "app_not_found")
	r.call(t, request{method: "GET", path: "/v1/apps/second"}).status(t, 200)
}
