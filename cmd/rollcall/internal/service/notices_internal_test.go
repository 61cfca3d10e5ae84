package service

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"rollcall/eventstore"
	"rollcall/handlers/console"
	"rollcall/handlers/console/i18n"
	"rollcall/projections"
)

func TestTheConsoleHasWordsForEveryCodeThatItIsGiven(t *testing.T) {
	languages, err := i18n.Languages()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	given := regexp.MustCompile(`\b(?:warn|because)\("([a-z_]+)",|n\.Code = "([a-z_]+)"`)
	codes := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range given.FindAllStringSubmatch(string(b), -1) {
			codes++
			for _, l := range languages {
				if _, ok := l.Message("health.notice." + m[1] + m[2]); !ok {
					t.Errorf("%s has no words for %s, which %s gives", l.Name, m[1]+m[2], name)
				}
			}
		}
	}
	if codes < 15 {
		t.Errorf("only %d codes were found", codes)
	}
}

func TestANoticeNamesWhatKeepsAnInstanceFromItsWork(t *testing.T) {
	plain := errors.New("no route to host")
	damaged := fmt.Errorf("a hole: %w", eventstore.ErrDamaged)
	for _, c := range []struct {
		err  error
		want console.Notice
	}{
		{nil, console.Notice{}},
		{because("starting", nil), console.Notice{}},
		{plain, console.Notice{Text: "no route to host"}},
		{fmt.Errorf("ask: %w", because("log_silent", plain)), console.Notice{Code: "log_silent", Text: "ask: no route to host"}},
		{&projections.HaltError{Projection: "ledger", Position: 7, Err: plain}, console.Notice{Code: "halted", Text: "projection ledger has halted at position 7: no route to host"}},
		{&projections.HaltError{Projection: "ledger", Position: 7, Err: damaged}, console.Notice{Code: "log_damaged", Text: "projection ledger has halted at position 7: " + damaged.Error()}},
	} {
		if got := noticeOf(c.err); got != c.want {
			t.Errorf("%v is told as %+v, want %+v", c.err, got, c.want)
		}
	}
	if !errors.Is(because("log_silent", plain), plain) {
		t.Error("an error with a code hides its cause")
	}
}
