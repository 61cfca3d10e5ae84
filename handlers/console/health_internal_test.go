package console

import (
	"bytes"
	"strings"
	"testing"

	"rollcall/handlers/export"
)

func TestTheHealthOfTheServiceIsToldInTheWordsOfThePage(t *testing.T) {
	all := languages(t)
	a, err := loadAssets(all)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := loadPages(a, all)
	if err != nil {
		t.Fatal(err)
	}
	running := export.Job{ID: "1", App: "demo", Status: export.StatusRunning, RequestedBy: "<b>", Progress: export.Progress{Done: 250, Total: 1000, PerSec: 90}}
	body := healthBody{
		Condition: Condition{
			Unready:     Notice{Code: "log_silent", Text: "dial tcp: refused"},
			Warnings:    []Notice{{Code: "few_copies", Text: "the log has 1 copies"}, {Code: "unheard_of", Text: "something else"}},
			Projections: []Follower{{Name: "account_list", Halted: Notice{Code: "halted", Text: "at position 7"}}, {Name: "ledger", Retrying: Notice{Code: "retrying", Text: "timed out"}}},
		},
		Jobs: []jobView{{running}, {export.Job{ID: "2", App: "other", Status: export.StatusQueued}}}, JobsAll: 9,
	}
	for _, l := range all {
		var b bytes.Buffer
		if err := pages[l]["health"].ExecuteTemplate(&b, "health", view{Body: body}); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		for _, want := range []string{
			l.Text("health.notice.log_silent"), "dial tcp: refused", l.Text("health.notice.few_copies"), "the log has 1 copies", "something else",
			l.Text("health.notice.halted"), "at position 7", l.Text("health.notice.retrying"), "timed out",
			`max="1000" value="250"`, l.Text("exports.rows_of", "done", 250, "total", 1000), l.Text("exports.queued"), l.Text("health.jobs_more", "n", 9), "&lt;b&gt;",
		} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the page lacks %q", l.Name, want)
			}
		}
	}
}
