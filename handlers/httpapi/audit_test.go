package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rollcall/eventstore"
	"rollcall/eventstore/codec"
	"rollcall/handlers/access"
	"rollcall/handlers/audit"
	"rollcall/handlers/erasure"
	"rollcall/handlers/httpapi"
)

func TestAHistoryIsPagedAndShowsBeforeAndAfterAsAnAccountHasThem(t *testing.T) {
	r := newRig(t)
	r.create(t, `{"user_id":"ann","type":"normal","nickname":"앤","level":0}`)
	r.call(t, request{method: "PATCH", path: "/v1/apps/demo/accounts/ann", body: `{"nickname":null,"level":7}`}).status(t, 200)
	token := r.token(t, access.Auditor, "demo")
	type page struct {
		Events []struct {
			Position uint64
			Type     string
			Changes  []struct {
				Field         string
				Before, After any
			}
		}
		NextCursor string `json:"next_cursor"`
	}
	var first, second page
	r.call(t, request{method: "GET", path: "/v1/apps/demo/accounts/ann/history?limit=1&order=desc", token: token}).status(t, 200).json(t, &first)
	r.call(t, request{method: "GET", path: "/v1/apps/demo/accounts/ann/history?limit=1&order=desc&cursor=" + first.NextCursor, token: token}).status(t, 200).json(t, &second)
	if len(first.Events) != 1 || len(second.Events) != 1 || second.NextCursor != "" || first.Events[0].Type != "account.edited.v1" || second.Events[0].Type != "account.created.v1" {
		t.Fatalf("the pages are %+v and %+v", first, second)
	}
	changes := first.Events[0].Changes
	if len(changes) != 2 || changes[0].Before != "앤" || changes[0].After != nil || changes[1].Before != 0.0 || changes[1].After != 7.0 {
		t.Errorf("the edit changed %+v", changes)
	}
	var then struct {
		Nickname string
		Level    *int
	}
	at := second.Events[0].Position
	r.call(t, request{method: "GET", path: "/v1/apps/demo/accounts/ann?as_of=" + strconv.FormatUint(at, 10), token: token}).status(t, 200).json(t, &then)
	if then.Nickname != "앤" || then.Level == nil || *then.Level != 0 {
		t.Errorf("it was %+v", then)
	}
	r.call(t, request{method: "GET", path: "/v1/apps/demo/accounts/ann", token: token}).problem(t, 403, "forbidden")
}

func TestFollowedEventsComeAsTheyHappen(t *testing.T) {
	r := newRig(t)
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.URL+"/v1/apps/demo/events?follow=true&type=account.created", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+operatorToken)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, id := range []string{"a", "b"} {
		r.create(t, `{"user_id":"`+id+`","type":"normal"}`)
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		var e struct{ Subject string }
		must(t, json.Unmarshal(lines.Bytes(), &e))
		if e.Subject != "accounts.evt.demo.u."+id {
			t.Errorf("the event is %s", lines.Text())
		}
	}
	r.handler.Drain()
	if lines.Scan() {
		t.Errorf("after the end of the service came %s", lines.Text())
	}
}

// heldAudit is an Audit whose events do not end by themselves.
type heldAudit struct {
	httpapi.Audit
	behind func(ctx context.Context) error // the last event that there is
}

func (h heldAudit) Events(ctx context.Context, q audit.Query) (iter.Seq2[eventstore.Envelope, error], error) {
	events, err := h.Audit.Events(ctx, q)
	return func(yield func(eventstore.Envelope, error) bool) {
		for e, err := range events {
			if !yield(e, err) {
				return
			}
		}
		if err := h.behind(ctx); err != nil {
			yield(eventstore.Envelope{}, err)
		}
	}, err
}

func TestAStopBreaksAStreamOfEventsOffWhereItIsNotComplete(t *testing.T) {
	r := newRig(t, func(c *httpapi.Config) {
		c.Audit = heldAudit{c.Audit, func(ctx context.Context) error { <-ctx.Done(); return nil }}
	})
	r.create(t, `{"user_id":"ann","type":"normal"}`)
	tls := httptest.NewUnstartedServer(r.handler)
	tls.EnableHTTP2 = true
	tls.StartTLS()
	t.Cleanup(tls.Close)
	type stream struct {
		*http.Response
		lines *bufio.Reader
	}
	var open []stream
	for _, server := range []*httptest.Server{r.Server, tls} {
		for _, query := range []string{"/v1/apps/demo/events", "/v1/events", "/v1/apps/demo/events?follow=true", "/v1/apps/demo/events?user_id=ann"} {
			req := r.new(t, request{method: "GET", path: query}, nil)
			u, err := url.Parse(server.URL + query)
			must(t, err)
			req.URL = u
			resp, err := server.Client().Do(req)
			must(t, err)
			defer resp.Body.Close()
			s := stream{resp, bufio.NewReader(resp.Body)}
			if line, err := s.lines.ReadString('\n'); err != nil || resp.StatusCode != 200 {
				t.Fatalf("%s over %s: %s, %q, %v", query, resp.Proto, resp.Status, line, err)
			}
			open = append(open, s)
		}
	}
	r.handler.Drain()
	for _, s := range open {
		if rest, err := io.ReadAll(s.lines); err == nil {
			t.Errorf("%s over %s ended as if there were no more, with %d bytes", s.Request.URL.RequestURI(), s.Proto, len(rest))
		}
	}
	if open[0].ProtoMajor != 1 || open[len(open)-1].ProtoMajor != 2 {
		t.Errorf("the streams went over %s and %s", open[0].Proto, open[len(open)-1].Proto)
	}
	r.call(t, request{method: "GET", path: "/v1/apps/demo/events?type=none"}).problem(t, 503, "stopping")
}

func TestAPanicOfWhatReadsEventsEndsTheirRequestAlone(t *testing.T) {
	r := newRig(t, func(c *httpapi.Config) {
		c.Audit = heldAudit{c.Audit, func(context.Context) error { panic("a fault") }}
	})
	resp, err := http.DefaultClient.Do(r.new(t, request{method: "GET", path: "/v1/apps/demo/events"}, nil))
	must(t, err)
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the stream ended as if there were no more, with %d bytes", len(body))
	}
	r.call(t, request{method: "GET", path: "/v1/apps/demo/events?type=none"}).problem(t, 500, "internal")
	if !strings.Contains(r.logged.String(), "a fault") {
		t.Errorf("the log is silent about it: %s", r.logged)
	}
}

func TestEventsOfNoApplicationAreRefusedWhenTheyAreToBeFollowedToo(t *testing.T) {
	r := newRig(t)
	r.call(t, request{method: "GET", path: "/v1/apps/nowhere/events?follow=true"}).problem(t, 404, "app_not_found")
}

func (r *rig) standings(context.Context) ([]audit.Standing, error) {
	return []audit.Standing{{Place: audit.Copies, Through: r.erased}, {Place: "list", Waits: "a vacuum"}}, nil
}

// eraseDeletion records that the account whose deletion stands at a position is erased.
func (r *rig) eraseDeletion(t *testing.T, id string, deletion eventstore.Position) {
	t.Helper()
	erased := erasure.Erased{App: "demo", UserID: id}
	for e, err := range r.store.Read(t.Context(), deletion, deletion) {
		must(t, err)
		erased.KeyID, erased.Deletion = e.KeyID, e
	}
	must(t, erasure.NewLog(r.store, codec.New(nil)).Record(t.Context(), []erasure.Erased{erased}))
}

func TestWhatIsErasedBetweenTwoPagesIsOnOneOfThem(t *testing.T) {
	r := newRig(t)
	ids := []string{"a", "b", "c", "d", "e"}
	deletions := make(map[string]eventstore.Position)
	for _, id := range ids {
		r.create(t, `{"user_id":"`+id+`","type":"normal"}`)
		r.call(t, request{method: "DELETE", path: "/v1/apps/demo/accounts/" + id}).status(t, 204)
		var err error
		deletions[id], err = r.store.Last(t.Context())
		must(t, err)
	}
	r.eraseDeletion(t, "a", deletions["a"])
	var got []string
	cursor := ""
	for page := 0; ; page++ {
		var p httpapi.ErasureList
		r.call(t, request{method: "GET", path: "/v1/apps/demo/erasures?limit=1" + cursor}).status(t, 200).json(t, &p)
		for _, e := range p.Erasures {
			got = append(got, e.UserID+" "+e.State)
			if e.DeletedAt.After(e.ErasedAt) && e.State == "erased" {
				t.Errorf("it was erased before it was deleted: %+v", e)
			}
		}
		switch page {
		case 1: // b has been told to be pending
			for _, id := range []string{"d", "b", "c"} {
				r.eraseDeletion(t, id, deletions[id])
			}
		case 5:
			t.Fatalf("the pages do not end: %q", got)
		}
		if p.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + p.NextCursor
	}
	if want := []string{"a erased", "b pending", "d erased", "c erased", "e pending"}; !slices.Equal(got, want) {
		t.Errorf("the erasures are %q, want %q", got, want)
	}
	for _, wrong := range []string{"p1", "1-", "1-x", "-1", "9223372036854775808"} {
		r.call(t, request{method: "GET", path: "/v1/apps/demo/erasures?cursor=" + wrong}).problem(t, 400, "invalid_cursor")
	}
}

func TestErasuresArePagedThroughThoseThatAreDoneToThoseThatArePending(t *testing.T) {
	r := newRig(t)
	for i, id := range []string{"a", "b", "c", "d"} {
		r.create(t, `{"user_id":"`+id+`","type":"normal"}`)
		r.call(t, request{method: "DELETE", path: "/v1/apps/demo/accounts/" + id}).status(t, 204)
		deletion, err := r.store.Last(t.Context())
		must(t, err)
		if i > 1 {
			continue
		}
		r.eraseDeletion(t, id, deletion)
		if i == 0 {
			r.erased = deletion // the checkpoint has not moved since
		}
	}
	token := r.token(t, access.Auditor, "demo")
	var got []string
	path := "/v1/apps/demo/erasures?limit=1"
	for cursor := ""; ; {
		var page httpapi.ErasureList
		r.call(t, request{method: "GET", path: path + cursor, token: token}).status(t, 200).json(t, &page)
		if len(page.Erasures) != 1 || len(page.Places) != 2 || page.Places[1].Waits == "" || page.Position == 0 {
			t.Fatalf("a page is %+v", page)
		}
		e := page.Erasures[0]
		if (e.State == "erased") != (e.Position > e.Deletion && !e.ErasedAt.IsZero()) || e.Deletion == 0 || e.DeletedAt.IsZero() {
			t.Errorf("an erasure is %+v", e)
		}
		got = append(got, e.UserID+" "+e.State+" "+strings.Join(e.Remains, "+"))
		if page.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + page.NextCursor
	}
	if want := []string{"a erased list", "b erased copies+list", "c pending copies+list", "d pending copies+list"}; !slices.Equal(got, want) {
		t.Errorf("the erasures are %q, want %q", got, want)
	}
	r.call(t, request{method: "GET", path: path + "&cursor=q1", token: token}).problem(t, 400, "invalid_cursor")
	r.call(t, request{method: "GET", path: "/v1/apps/nowhere/erasures"}).problem(t, 404, "app_not_found")
}

// impatientAudit is an Audit that does not wait for a position that the log has not reached.
type impatientAudit struct {
	httpapi.Audit
	last eventstore.Position
}

func (a impatientAudit) Reach(_ context.Context, minimum eventstore.Position) error {
	if minimum > a.last {
		return audit.ErrNotReached
	}
	return nil
}

func TestReadsOfTheLogShowThePositionAskedForOrSayThatItIsNotReached(t *testing.T) {
	r := newRig(t, func(c *httpapi.Config) { c.Audit = impatientAudit{c.Audit, 3} })
	r.create(t, `{"user_id":"ann","type":"normal"}`) // behind two events of the application
	for _, path := range []string{
		accounts + "/ann/history?", "/v1/apps/demo/events?", "/v1/events?", "/v1/apps/demo/erasures?", accounts + "/ann?as_of=3&", accounts + "?as_of=3&",
	} {
		r.call(t, request{method: "GET", path: path + "min_position=3"}).status(t, 200)
		r.call(t, request{method: "GET", path: path + "min_position=4"}).problem(t, 503, "not_caught_up")
	}
}
