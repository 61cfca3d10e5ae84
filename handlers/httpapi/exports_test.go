package httpapi_test

import (
	"bufio"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"rollcall/handlers/export"
	"rollcall/handlers/httpapi"
)

const exports = "/v1/apps/demo/exports"

func (r *rig) order(t testing.TB, body string) httpapi.Export {
	t.Helper()
	a := r.call(t, request{method: "POST", path: exports, body: body}).status(t, 202)
	var e httpapi.Export
	a.json(t, &e)
	if a.Header.Get("Location") != exports+"/"+e.ID {
		t.Errorf("location %s", a.Header.Get("Location"))
	}
	return e
}

func TestAnExportIsOrderedShownAndCancelled(t *testing.T) {
	r := newRig(t)
	e := r.order(t, `{"format":"csv","fields":["user_id","nickname"],"filter":{"type":"admin","q":"a"},"compression":"none"}`)
	if e.Status != "queued" || e.Format != "csv" || strings.Join(e.Fields, " ") != "user_id nickname" || e.Filter.Type != "admin" || e.RequestedBy != "operator" || e.DownloadURL != "" {
		t.Errorf("ordered %+v", e)
	}
	r.call(t, request{method: "GET", path: exports + "/" + e.ID}).status(t, 200).json(t, &e)
	var list httpapi.ExportList
	r.call(t, request{method: "GET", path: exports}).status(t, 200).json(t, &list)
	if len(list.Exports) != 1 || list.Exports[0].ID != e.ID {
		t.Errorf("listed %+v", list)
	}
	r.call(t, request{method: "DELETE", path: exports + "/" + e.ID}).status(t, 200).json(t, &e)
	if e.Status != "cancelled" {
		t.Errorf("cancelled %+v", e)
	}
	r.call(t, request{method: "DELETE", path: exports + "/" + e.ID}).problem(t, 409, "export_finished")
}

func TestACompletedExportHasAFreshURL(t *testing.T) {
	r := newRig(t)
	e := r.order(t, `{"format":"ndjson","user_ids":["a","b"]}`)
	r.exports.happen(e.ID, export.StatusCompleted, export.Event{Type: export.Completed, Result: export.FileResult{SHA256: "ab", Rows: 0, Bytes: 0}})
	a := r.call(t, request{method: "GET", path: exports + "/" + e.ID}).status(t, 200)
	if body := string(a.body); !strings.Contains(body, `"rows":0,"bytes":0,"sha256":"ab","download_url":"http://files.example/`+e.ID+`","manifest_url":"http://files.example/`+e.ID+`.manifest.json"`) {
		t.Errorf("shown %s", body)
	}
}

func TestAFaultOfExportsIsNotTheClients(t *testing.T) {
	r := newRig(t)
	r.exports.fail(errors.New("the stream is not there: secret detail"))
	p := r.call(t, request{method: "POST", path: exports, body: `{"format":"csv"}`}).problem(t, 503, "outcome_unknown")
	if strings.Contains(p.Detail, "secret") {
		t.Errorf("the client is told %s", p.Detail)
	}
	r.call(t, request{method: "GET", path: exports}).problem(t, 503, "unavailable")
}

// follow begins to read the events of an export.
func (r *rig) follow(t *testing.T, id, after string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	q := request{method: "GET", path: exports + "/" + id + "/events"}
	if after != "" {
		q.header = map[string]string{"Last-Event-Id": after}
	}
	res, err := r.Client().Do(r.new(t, q, nil))
	must(t, err)
	t.Cleanup(func() { res.Body.Close() })
	return res, bufio.NewScanner(res.Body)
}

// event reads the next event, without its data; the comments before it are counted.
func event(t *testing.T, s *bufio.Scanner) (id, name string, comments int) {
	t.Helper()
	for s.Scan() {
		switch key, value, _ := strings.Cut(s.Text(), ": "); key {
		case "":
			if value != "" {
				comments++
			} else if name != "" {
				return id, name, comments
			}
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			if !strings.HasPrefix(value, `{"specversion":"1.0"`) {
				t.Errorf("data: %s", value)
			}
		default:
			t.Errorf("unexpected line %q", s.Text())
		}
	}
	return "", "", comments
}

func TestEventsOfAnExportAreFollowedToTheEnd(t *testing.T) {
	r := newRig(t, func(c *httpapi.Config) { c.Heartbeat = 20 * time.Millisecond })
	e := r.order(t, `{"format":"csv"}`)
	res, lines := r.follow(t, e.ID, "")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	if id, name, _ := event(t, lines); id != "1" || name != "requested" {
		t.Errorf("first %s %s", id, name)
	}
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), ": ") {
		t.Errorf("no heartbeat but %q", lines.Text())
	}
	lines.Scan()
	r.exports.happen(e.ID, export.StatusRunning, export.Event{Type: export.Started})
	r.exports.happen(e.ID, export.StatusCompleted, export.Event{Type: export.Completed})
	if id, name, _ := event(t, lines); id != "2" || name != "started" {
		t.Errorf("second %s %s", id, name)
	}
	if id, name, _ := event(t, lines); id != "3" || name != "completed" {
		t.Errorf("third %s %s", id, name)
	}
	if _, name, _ := event(t, lines); name != "" {
		t.Errorf("after the end came %s", name)
	}
}

func TestEventsGoOnBehindTheLastOneTheClientHas(t *testing.T) {
	r := newRig(t)
	e := r.order(t, `{"format":"csv"}`)
	r.exports.happen(e.ID, export.StatusRunning, export.Event{Type: export.Started})
	r.exports.happen(e.ID, export.StatusFailed, export.Event{Type: export.Failed, Reason: "no room"})
	_, lines := r.follow(t, e.ID, "2")
	if id, name, _ := event(t, lines); id != "3" || name != "failed" {
		t.Errorf("resumed with %s %s", id, name)
	}
	if res, _ := r.follow(t, e.ID, "3"); res.StatusCode != 204 {
		t.Errorf("a client that has the end is answered %s", res.Status)
	}
	q := request{method: "GET", path: exports + "/" + e.ID + "/events", header: map[string]string{"Last-Event-Id": "x"}}
	r.call(t, q).problem(t, 422, "validation_failed")
}

func TestAStreamOfEventsEndsWhenTheServiceStops(t *testing.T) {
	r := newRig(t)
	e := r.order(t, `{"format":"csv"}`)
	_, lines := r.follow(t, e.ID, "")
	event(t, lines)
	r.handler.Drain()
	if _, name, _ := event(t, lines); name != "" {
		t.Errorf("after the stop came %s", name)
	}
	// Behind an event that the client has, nothing can be told any more: that is not for good.
	r.exports.happen(e.ID, export.StatusFailed, export.Event{Type: export.Failed})
	if res, _ := r.follow(t, e.ID, "1"); res.StatusCode == 204 {
		t.Error("a client that lacks the end is told not to ask again")
	}
}

func TestAnAnswerAboutAnExportCarriesAPosition(t *testing.T) {
	r := newRig(t)
	made := r.create(t, `{"user_id":"a","type":"normal"}`).Header.Get("Rollcall-Position")
	order := r.call(t, request{method: "POST", path: exports, body: `{"format":"csv"}`}).status(t, 202)
	if got := order.Header.Get("Rollcall-Position"); got != made {
		t.Errorf("ordered at position %q, want %s", got, made)
	}
	cancel := r.call(t, request{method: "DELETE", path: order.Header.Get("Location")}).status(t, 200)
	if got := cancel.Header.Get("Rollcall-Position"); got != made {
		t.Errorf("cancelled at position %q, want %s", got, made)
	}
}

func TestAReadWithoutAPositionTakesMinPosition(t *testing.T) {
	r := newRig(t)
	e := r.order(t, `{"format":"csv"}`)
	r.exports.happen(e.ID, export.StatusFailed, export.Event{Type: export.Failed})
	for _, path := range []string{"/v1/tokens", "/v1/projections", exports + "/" + e.ID + "/events"} {
		r.call(t, request{method: "GET", path: path + "?min_position=1000000"}).status(t, 200)
	}
}

func TestAnEchoedIDIsBoundedAndAsItWasSent(t *testing.T) {
	r := newRig(t)
	for _, c := range []request{
		{method: "DELETE", path: "/v1/tokens/"}, {method: "GET", path: exports + "/"}, {method: "DELETE", path: exports + "/"},
	} {
		c := request{method: c.method, path: c.path + strings.Repeat("a", 30000)}
		if a := r.call(t, c).status(t, 404); len(a.body) > 500 {
			t.Errorf("%s %.30s answers %d bytes", c.method, c.path, len(a.body))
		}
		slash := request{method: c.method, path: strings.TrimRight(c.path, "a") + "%2F"}
		if a := r.call(t, slash).status(t, 404); !strings.Contains(string(a.body), `\"/\"`) {
			t.Errorf("%s %s answers %s", c.method, slash.path, a.body)
		}
	}
}

func TestTheCodesOfDownloadsAreExplained(t *testing.T) {
	r := newRig(t)
	description := string(r.call(t, request{method: "GET", path: "/openapi.json"}).status(t, 200).body)
	for _, code := range []string{"invalid_signature", "url_expired", "export_expired", "store_unavailable"} {
		if !strings.Contains(description, `"`+code+`"`) {
			t.Errorf("%s is not explained", code)
		}
	}
}
