package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"rollcall/handlers/httpapi"
	"rollcall/handlers/wire"
)

const (
	ndjson = "application/x-ndjson"
	table  = "text/csv"
)

// imported is the answer of an import.
type imported struct {
	rows    map[int]httpapi.ImportResult // by line
	summary httpapi.ImportSummary
}

// line tells what became of the row at a line: its status, or its code and fields.
func (im imported) line(n int) string {
	r, ok := im.rows[n]
	if !ok {
		return "none"
	}
	s := r.Status
	if r.Status == "failed" {
		s = string(r.Code)
	}
	for _, e := range r.Errors {
		s += " " + e.Field
	}
	return s
}

func readImport(t testing.TB, body io.Reader) imported {
	t.Helper()
	im := imported{rows: map[int]httpapi.ImportResult{}}
	d := json.NewDecoder(body)
	for {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			t.Fatalf("the answer ends without a summary after %d rows: %v", len(im.rows), err)
		}
		if bytes.HasPrefix(raw, []byte(`{"done"`)) {
			must(t, json.Unmarshal(raw, &im.summary))
			return im
		}
		var r httpapi.ImportResult
		must(t, json.Unmarshal(raw, &r))
		if _, twice := im.rows[r.Line]; twice {
			t.Errorf("line %d has two results", r.Line)
		}
		im.rows[r.Line] = r
	}
}

func (r *rig) importBody(t testing.TB, query, kind, body string) imported {
	t.Helper()
	a := r.call(t, request{method: "POST", path: accounts + ":import" + query, kind: kind, body: body}).status(t, 200)
	return readImport(t, bytes.NewReader(a.body))
}

func TestAnNDJSONImportAnswersEachRow(t *testing.T) {
	r := newRig(t)
	body := strings.Join([]string{
		"\xef\xbb\xbf" + `{"user_id":"a","type":"normal","nickname":"가"}`,
		``,
		`{"user_id":"b","type":"normal","app":"elsewhere","revision":7,"created_at":"2001-01-01T00:00:00Z","updated_at":1}` + "\r",
		`{"user_id":"c","type":"normal"`,
		`{"user_id":"d","type":"normal","colour":"red","level":-1}`,
		`{"user_id":"e","type":"normal","nickname":"` + strings.Repeat("x", 70<<10) + `"}`,
		`{"user_id":"a","type":"normal"}`,
		"{\"user_id\":\"f\",\"nickname\":\"\xff\"}",
		`{"user_id":"` + strings.Repeat("g", 33) + `","type":"normal"}`,
		`{"user_id":"last","type":"normal"}`,
	}, "\n")
	im := r.importBody(t, "", ndjson, body)
	want := map[int]string{
		1: "created", 2: "none", 3: "created", 4: "malformed_row", 5: "validation_failed colour level", 6: "malformed_row",
		7: "account_exists", 8: "validation_failed nickname", 9: "validation_failed user_id", 10: "created",
	}
	for line, what := range want {
		if got := im.line(line); got != what {
			t.Errorf("line %d: %s, want %s", line, got, what)
		}
	}
	s := im.summary
	if !s.Done || s.Rows != 9 || s.Created != 3 || s.Failed != 6 || s.Position != max(im.rows[1].Position, im.rows[3].Position, im.rows[10].Position) {
		t.Errorf("summary %+v", s)
	}
	if im.rows[5].UserID != "d" {
		t.Errorf("the failed row is not named: %+v", im.rows[5])
	}
	var a wire.Account
	r.call(t, request{method: "GET", path: accounts + "/b"}).status(t, 200).json(t, &a)
	if a.App != "demo" || a.CreatedAt.Year() == 2001 {
		t.Errorf("a field that Rollcall gives was taken from the row: %+v", a)
	}
}

func TestAnUpsertEditsOnlyWhatARowSays(t *testing.T) {
	r := newRig(t)
	r.create(t, `{"user_id":"a","type":"normal","nickname":"old","location":"Seoul"}`)
	im := r.importBody(t, "?mode=upsert", ndjson, `{"user_id":"a","nickname":"new"}
{"user_id":"a","nickname":"new"}
{"user_id":"a","location":null}
{"user_id":"b","nickname":"made"}
{"user_id":"a","type":"admin"}
`)
	want := []string{"edited", "unchanged", "edited", "created", "immutable_field type"}
	for i, what := range want {
		if got := im.line(i + 1); got != what {
			t.Errorf("line %d: %s, want %s", i+1, got, what)
		}
	}
	a := string(r.call(t, request{method: "GET", path: accounts + "/a"}).status(t, 200).body)
	if !strings.Contains(a, `"nickname":"new"`) || strings.Contains(a, "location") {
		t.Errorf("the account is %s", a)
	}
}

func TestACSVImportAnswersEachRow(t *testing.T) {
	r := newRig(t)
	body := "\xef\xbb\xbfuser_id,nickname,level,type,revision,created_at\r\n" + // line 1
		"a,'=1+1,7,normal,9,2001-01-01T00:00:00Z\r\n" + // 2: the guard is taken off
		"b,\"two\nlines, \"\"quoted\"\"\",,normal,,\r\n" + // 3 and 4
		"\r\n" + // 5: empty
		"c,x\r\n" + // 6: too few cells
		"d,x,1.5,normal,,\r\n" + // 7
		"e,ab\"c,,normal,,\r\n" + // 8
		"f,\"ab\"c,,normal,,\r\n" + // 9
		"g,\"" + strings.Repeat("x\n", 40<<10) + "h,inner,,normal,,\n\",,normal,,\r\n" + // 10 to 40971: too long
		"i,,,,,\n" + // 40972
		"j,'',,normal,,\n" + // 40973: one of two quotes is the guard
		"k,never \"closed\n" + // 40974
		"l,\"never closed,,normal,,\nm,x,,normal,,\n" // 40975
	im := r.importBody(t, "", table, body)
	want := map[int]string{
		2: "created", 3: "created", 6: "malformed_row", 7: "validation_failed level", 8: "malformed_row", 9: "malformed_row",
		10: "malformed_row", 40972: "created", 40973: "created", 40974: "malformed_row", 40975: "malformed_row",
	}
	for line, what := range want {
		if got := im.line(line); got != what {
			t.Errorf("line %d: %s, want %s", line, got, what)
		}
	}
	if len(im.rows) != len(want) || !im.summary.Done {
		t.Errorf("%d results, summary %+v: %v", len(im.rows), im.summary, im.rows)
	}
	for id, nickname := range map[string]string{"a": "=1+1", "b": "two\nlines, \"quoted\"", "j": "'"} {
		var a wire.Account
		r.call(t, request{method: "GET", path: accounts + "/" + id}).status(t, 200).json(t, &a)
		if a.Nickname != nickname {
			t.Errorf("%s is named %q, want %q", id, a.Nickname, nickname)
		}
	}
}

func TestAnEmptyCellLeavesAFieldAsItIs(t *testing.T) {
	r := newRig(t)
	r.create(t, `{"user_id":"a","type":"normal","nickname":"kept"}`)
	im := r.importBody(t, "?mode=upsert", table, "user_id,nickname,level\na,,3\n")
	if im.line(2) != "edited" {
		t.Errorf("line 2: %s", im.line(2))
	}
	if a := string(r.call(t, request{method: "GET", path: accounts + "/a"}).body); !strings.Contains(a, `"nickname":"kept","level":3`) {
		t.Errorf("the account is %s", a)
	}
}

func TestAnImportUnderTheSameKeyRepeatsNothing(t *testing.T) {
	r := newRig(t)
	q := request{method: "POST", path: accounts + ":import", kind: ndjson, body: `{"user_id":"a","type":"normal"}` + "\n" + `{"user_id":"b","type":"normal"}`,
		header: map[string]string{"Idempotency-Key": strings.Repeat("k", 64)}}
	first := readImport(t, bytes.NewReader(r.call(t, q).status(t, 200).body))
	last, err := r.store.Last(t.Context())
	must(t, err)
	again := readImport(t, bytes.NewReader(r.call(t, q).status(t, 200).body))
	now, err := r.store.Last(t.Context())
	must(t, err)
	if first.summary != again.summary || last != now {
		t.Errorf("first %+v at %d, again %+v at %d", first.summary, last, again.summary, now)
	}
}

func TestAnEmptyImportIsDoneAtOnce(t *testing.T) {
	r := newRig(t)
	if im := r.importBody(t, "", ndjson, ""); !im.summary.Done || im.summary.Rows != 0 {
		t.Errorf("%+v", im.summary)
	}
}

// stream begins an import whose body the test writes by hand.
func (r *rig) stream(t *testing.T) (*io.PipeWriter, *http.Response) {
	t.Helper()
	body, w := io.Pipe()
	res, err := r.Client().Do(r.new(t, request{method: "POST", path: accounts + ":import", kind: ndjson}, body))
	must(t, err)
	t.Cleanup(func() { w.Close(); res.Body.Close() })
	return w, res
}

func row(i int) string { return fmt.Sprintf("{\"user_id\":\"u%d\",\"type\":\"normal\"}\n", i) }

func TestResultsArriveWhileTheBodyIsSent(t *testing.T) {
	r := newRig(t)
	w, res := r.stream(t)
	lines := bufio.NewScanner(res.Body)
	for i := range 5 {
		_, err := io.WriteString(w, row(i))
		must(t, err)
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf(`"user_id":"u%d","status":"created"`, i)) {
			t.Fatalf("after row %d: %q %v", i, lines.Text(), lines.Err())
		}
	}
	w.Close()
	if !lines.Scan() || !strings.Contains(lines.Text(), `"done":true,"rows":5`) || lines.Scan() {
		t.Errorf("the end is %q", lines.Text())
	}
}

func TestAClientThatSendsAllBeforeItReadsIsServed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	r := newRig(t)
	// Results of this many rows, each with many bad fields, do not fit into what
	// connections and memory hold.
	const rows = 8_000
	bad := []byte(manyNames(30) + "\n")
	reader, writer := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		defer writer.Close()
		for range rows {
			if _, err := writer.Write(bad); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	res, err := r.Client().Do(r.new(t, request{method: "POST", path: accounts + ":import", kind: ndjson}, reader))
	must(t, err)
	defer res.Body.Close()
	must(t, <-sent) // the client has read nothing of the answer but its beginning
	im := readImport(t, res.Body)
	if !im.summary.Done || im.summary.Failed != rows || len(im.rows) != rows {
		t.Errorf("%+v", im.summary)
	}
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("the import left %s behind", left[0].Name())
	}
}

func TestAnImportEndsPolitelyWhenTheServiceStops(t *testing.T) {
	r := newRig(t)
	w, res := r.stream(t)
	lines := bufio.NewScanner(res.Body)
	_, err := io.WriteString(w, row(0))
	must(t, err)
	lines.Scan()
	r.handler.Drain()
	if !lines.Scan() || !strings.Contains(lines.Text(), `"done":false,"rows":1`) || !strings.Contains(lines.Text(), `"code":"stopping"`) {
		t.Errorf("the end is %q %v", lines.Text(), lines.Err())
	}
	r.call(t, request{method: "GET", path: "/readyz", token: "-"}).problem(t, 503, "stopping")
	r.call(t, request{method: "GET", path: "/healthz", token: "-"}).status(t, 200)
}

func TestABodyThatStandsStillIsGivenUp(t *testing.T) {
	r := newRig(t, func(c *httpapi.Config) { c.BodyTimeout = 2 * time.Second })
	w, res := r.stream(t)
	_, err := io.WriteString(w, row(0)+`{"user_id":`)
	must(t, err)
	im := readImport(t, res.Body)
	if im.summary.Done || im.summary.Code != "request_timeout" || im.line(1) != "created" || len(im.rows) != 1 {
		t.Errorf("%+v %+v", im.summary, im.rows)
	}
}

func TestWhatAClientThatLeavesHasSentIsFinished(t *testing.T) {
	r := newRig(t)
	w, res := r.stream(t)
	lines := bufio.NewScanner(res.Body)
	for i := range 50 {
		_, err := io.WriteString(w, row(i))
		must(t, err)
	}
	lines.Scan()
	must(t, w.CloseWithError(io.ErrUnexpectedEOF))
	res.Body.Close()
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(r.logged.String(), "accounts:import") { // the request has ended
		if time.Now().After(deadline) {
			t.Fatal("the import did not end")
		}
	}
	if strings.Contains(r.logged.String(), "level=ERROR") {
		t.Errorf("logged %s", r.logged)
	}
}
