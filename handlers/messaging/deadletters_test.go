package messaging_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/intake"
)

// letters waits until there are n dead letters and returns them.
func (p *plant) letters(t *testing.T, n int) (all []intake.DeadLetter) {
	t.Helper()
	eventually(t, fmt.Sprintf("there are %d dead letters", n), func() bool {
		var err error
		all, err = p.dead.List(t.Context(), "", 0, 100)
		must(t, err)
		return len(all) == n
	})
	return all
}

func TestAMessageThatIsNoCommandIsADeadLetterWholeWithTheReason(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	p.work(t)
	js, token := p.producer(t)
	for _, c := range []struct {
		what, verb, id, body string
		headers              []string
		code                 domain.Code
		noID                 bool // the id cannot be used
	}{
		{what: "no JSON", verb: "create", id: "c1", body: "\xff\x00{", code: "malformed_body"},
		{what: "an unknown field", verb: "create", id: "c2", body: `{"user_id": "a", "nick": 1}`, code: domain.CodeInvalid},
		{what: "a number for a text", verb: "edit", id: "c3", body: `{"user_id": "a", "nickname": 1}`, code: domain.CodeInvalid},
		{what: "a field that never changes", verb: "edit", id: "c4", body: `{"user_id": "a", "type": "admin"}`, code: domain.CodeImmutable},
		{what: "both forms of a deletion", verb: "delete", id: "c5", body: `{"user_id": "a", "user_ids": ["b"]}`, code: intake.CodeMalformedCommand},
		{what: "the same account twice", verb: "delete", id: "c6", body: `{"user_ids": ["b", "b"]}`, code: domain.CodeInvalid},
		{what: "a revision for a create", verb: "create", id: "c7", body: `{"user_id": "a"}`, headers: []string{"If-Match", "3"}, code: intake.CodeMalformedCommand},
		{what: "a revision that is none", verb: "edit", id: "c8", body: `{"user_id": "a"}`, headers: []string{"If-Match", "latest"}, code: intake.CodeMalformedCommand},
		{what: "a cause that cannot be one", verb: "create", id: "c9", body: `{"user_id": "a"}`, headers: []string{"ce-causationid", "a b"}, code: intake.CodeMalformedCommand},
		{what: "a CloudEvent of an old version", verb: "create", id: "c10", body: `{"specversion": "0.3", "id": "x"}`, code: intake.CodeMalformedCommand},
		{what: "a CloudEvent of another type", verb: "create", id: "c11", body: `{"user_id": "a"}`, headers: []string{"ce-type", "account.delete.v1"}, code: intake.CodeMalformedCommand},
		{what: "a CloudEvent that is no JSON", verb: "create", id: "c12", body: `<`, headers: []string{"Content-Type", "application/cloudevents+json"}, code: intake.CodeMalformedCommand},
		{what: "no command id", verb: "create", body: `{"user_id": "a"}`, code: intake.CodeMalformedCommand},
		{what: "a command id that is too long", verb: "create", id: strings.Repeat("x", 65), body: `{"user_id": "a"}`, code: intake.CodeMalformedCommand, noID: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			send(t, js, order(c.verb, c.id, c.body, append(c.headers, "X-Note", "note")...))
			d := p.letters(t, 1)[0]
			if d.Code != c.code || d.Reason == "" || string(d.Data) != c.body || d.App != "demo" || d.Verb != c.verb || d.Sender != token.ID {
				t.Errorf("the dead letter is %+v", d)
			}
			m := stored(t, p.js, "DEAD")[0]
			if m.Subject != "accounts.dead.demo" || m.Header.Get("X-Note") != "note" {
				t.Errorf("in the stream it is on %s with %v", m.Subject, m.Header)
			}
			if c.id != "" && !c.noID {
				if o := p.decided(t, c.id); o.Status != intake.Dead || o.Code != c.code || o.Actor != "guest/"+token.ID {
					t.Errorf("its outcome is %+v", o)
				}
			} else if d.CommandID != "" {
				t.Errorf("its command id is %q, want none", d.CommandID)
			}
			must(t, p.dead.Remove(t.Context(), d.ID))
		})
	}
	eventually(t, "nothing waits", func() bool { return len(p.waiting(t)) == 0 })
}

func TestADeadLetterThatIsBuriedBehindTheDeletionOfItsAccountIsInNoFile(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	js, _ := p.producer(t)
	execute := func(id string, cmd domain.Command) {
		t.Helper()
		_, err := p.commands.Execute(t.Context(), command.Request{ID: id, Actor: "test"}, cmd)
		must(t, err)
	}
	execute("create", domain.CreateAccount{App: "demo", UserID: "gone"})
	const private = "Alice Liddell"
	send(t, js, order("edit", "early", `{"user_id": "gone", "nick": "`+private+`"}`))
	execute("delete", domain.DeleteAccount{App: "demo", UserID: "gone"})
	execute("again", domain.CreateAccount{App: "demo", UserID: "gone"})
	send(t, js, order("edit", "late", `{"user_id": "gone", "nick": "of the next"}`))
	p.work(t)
	forgotten := func(id string) bool {
		o, err := p.outcomes.Load(t.Context(), "demo", id)
		return err == nil && o.Status == intake.Rejected && o.Code == intake.CodeDropped
	}
	eventually(t, "the command of before the deletion is forgotten", func() bool { return forgotten("early") })
	var left []intake.DeadLetter
	eventually(t, "the dead letter of the later command alone is left", func() bool { // the outcome is kept before a letter goes
		left = p.letters(t, 1)
		return left[0].CommandID == "late"
	})
	if !left[0].Stored.Before(left[0].Time) {
		t.Errorf("the dead letter that is left is %+v", left[0])
	}
	eventually(t, "what it held is in no file", func() bool { return filesWith(t, p.dir, private) == 0 })

	// Whoever had the id next is deleted while their dead letter is being retried.
	stored := left[0].Stored
	execute("delete-again", domain.DeleteAccount{App: "demo", UserID: "gone"})
	must(t, p.intake.Retry(t.Context(), operator, left[0].ID))
	eventually(t, "the command that was retried is forgotten", func() bool { return forgotten("late") })
	if left := p.letters(t, 0); len(left) > 0 {
		t.Errorf("left of what was stored at %s are %+v", stored, left)
	}
}

func TestAMessageOfNoApplicationOrVerbIsADeadLetterToo(t *testing.T) {
	p := newPlant(t, 0)
	p.work(t)
	for _, subject := range []string{"accounts.cmd.UPPER.create", "accounts.cmd.demo.rename"} {
		m := order("", "", `{}`, "Rollcall-Command-Id", "c1")
		m.Subject = subject
		send(t, p.js, m)
	}
	p.letters(t, 2)
	codes := make(map[string]domain.Code)
	for _, m := range stored(t, p.js, "DEAD") {
		codes[m.Subject] = domain.Code(m.Header.Get("Rollcall-Dead-Code"))
	}
	if len(codes) != 2 || codes["accounts.dead._"] != intake.CodeMalformedCommand || codes["accounts.dead.demo"] != intake.CodeUnknownVerb {
		t.Errorf("the dead letters are %v", codes)
	}
}

func TestOperatorsHearOfDeadLetters(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	p.work(t)
	nc, _ := p.guest(t, access.Operator, "")
	sub, err := nc.SubscribeSync("accounts.dead.>")
	must(t, err)
	must(t, nc.Flush())
	js, _ := p.producer(t)
	send(t, js, order("create", "c1", `broken`))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := sub.NextMsgWithContext(ctx)
	if err != nil || m.Subject != "accounts.dead.demo" || string(m.Data) != "broken" || m.Header.Get("Rollcall-Dead-Reason") == "" {
		t.Errorf("heard %+v: %v", m, err)
	}
}

func TestACommandThatTheServiceFailsOnIsDeadAndARetryDecidesIt(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	var repaired atomic.Bool
	p.workBy(t, func(ctx context.Context, c intake.Command) error {
		switch {
		case repaired.Load():
		case c.ID == "error":
			return errors.New("an error that nobody foresaw")
		case c.ID == "panic":
			panic("a fault of the program")
		}
		return p.intake.Decide(ctx, c)
	})
	js, _ := p.producer(t)
	for _, id := range []string{"error", "panic"} {
		send(t, js, order("create", id, fmt.Sprintf(`{"user_id": "%s"}`, id)))
		send(t, js, order("edit", "after-"+id, fmt.Sprintf(`{"user_id": "%s", "level": 1}`, id)))
	}
	for _, d := range p.letters(t, 2) {
		if d.Code != intake.CodeFault || d.Verb != "create" {
			t.Errorf("the dead letter is %+v", d)
		}
		if o := p.decided(t, d.CommandID); o.Status != intake.Dead || o.Code != intake.CodeFault {
			t.Errorf("the outcome of %s is %+v", d.CommandID, o)
		}
		if o := p.decided(t, "after-"+d.CommandID); o.Status != intake.Rejected {
			t.Errorf("what came behind %s is %+v", d.CommandID, o)
		}
	}
	repaired.Store(true)
	for _, d := range p.letters(t, 2) {
		must(t, p.intake.Retry(t.Context(), operator, d.ID))
		eventually(t, d.CommandID+" is accepted", func() bool { return p.decided(t, d.CommandID).Status == intake.Accepted })
	}
	p.letters(t, 0)
}

func TestTroubleThatPassesMakesNothingDead(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	var tries atomic.Int32
	p.workBy(t, func(ctx context.Context, c intake.Command) error {
		if tries.Add(1) < 20 {
			return fmt.Errorf("append: %w", eventstore.ErrUnavailable)
		}
		return p.intake.Decide(ctx, c)
	})
	js, _ := p.producer(t)
	send(t, js, order("create", "c1", `{"user_id": "sora"}`))
	if o := p.decided(t, "c1"); o.Status != intake.Accepted {
		t.Errorf("after trouble it is %+v", o)
	}
	p.letters(t, 0)
}

func TestARetryPutsTheMessageBackAsItWasSent(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	js, _ := p.producer(t)
	sent := order("create", "c1", "\xffbroken", "X-Note", "note", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	send(t, js, sent)
	before := p.waiting(t)[0]
	stop := p.work(t)
	d := p.letters(t, 1)[0]
	eventually(t, "nothing waits", func() bool { return len(p.waiting(t)) == 0 })
	stop()

	must(t, p.intake.Retry(t.Context(), operator, d.ID))
	p.letters(t, 0)
	all := p.waiting(t)
	if len(all) != 1 {
		t.Fatalf("%d commands wait, want the one that is tried again", len(all))
	}
	after := all[0]
	if after.Subject != before.Subject || !bytes.Equal(after.Data, before.Data) {
		t.Errorf("it was %s %q and is %s %q", before.Subject, before.Data, after.Subject, after.Data)
	}
	for name := range before.Header {
		if name != "Nats-Request-Info" && !slices.Equal(before.Header[name], after.Header[name]) {
			t.Errorf("the header %s was %v and is %v", name, before.Header[name], after.Header[name])
		}
	}
	for name := range after.Header {
		if before.Header[name] == nil && name != "Rollcall-Stored" { // which tells when it was sent
			t.Errorf("the header %s is new", name)
		}
	}
	p.work(t)
	if again := p.letters(t, 1)[0]; again.ID <= d.ID || again.CommandID != "c1" || !again.Stored.Equal(before.Time) {
		t.Errorf("dead again it is %+v", again)
	}
}

func TestARetryIntoAFullQueueLosesNothing(t *testing.T) {
	p := newPlant(t, 1)
	p.takeIn(t)
	js, _ := p.producer(t)
	send(t, js, order("create", "c1", "broken"))
	stop := p.work(t)
	d := p.letters(t, 1)[0]
	eventually(t, "nothing waits", func() bool { return len(p.waiting(t)) == 0 })
	stop()
	send(t, js, order("create", "c2", `{"user_id": "sora"}`))
	if err := p.intake.Retry(t.Context(), operator, d.ID); !errors.Is(err, intake.CodeQueueFull) {
		t.Errorf("a retry into a full queue: %v, want %s", err, intake.CodeQueueFull)
	}
	if got, err := p.dead.Get(t.Context(), d.ID); err != nil || got.CommandID != "c1" {
		t.Errorf("the dead letter is %+v: %v", got, err)
	}
}

func TestADroppedMessageIsInNoFileAnyMore(t *testing.T) {
	const secret, other = "쉿, 비밀입니다 🤫", "another that stays"
	p := newPlant(t, 0)
	p.takeIn(t)
	p.work(t)
	js, _ := p.producer(t)
	for id, nickname := range map[string]string{"dropped": secret, "retried": secret, "stays": other} {
		send(t, js, order("create", id, fmt.Sprintf(`{"user_id": "a", "nickname": "%s", "nick": 1}`, nickname)))
	}
	ids := make(map[string]uint64)
	for _, d := range p.letters(t, 3) {
		ids[d.CommandID] = d.ID
	}
	if n := filesWith(t, p.dir, secret); n == 0 {
		t.Fatal("the message was in no file: the search would prove nothing")
	}
	must(t, p.intake.Retry(t.Context(), operator, ids["retried"]))
	eventually(t, "it is dead again", func() bool {
		all := p.letters(t, 3)
		ids["retried"] = all[2].ID
		return all[2].CommandID == "retried"
	})
	must(t, p.intake.Drop(t.Context(), operator, ids["retried"]))
	must(t, p.intake.Drop(t.Context(), operator, ids["dropped"]))
	eventually(t, "the dropped messages are in no file", func() bool { return filesWith(t, p.dir, secret) == 0 })
	if d, err := p.dead.Get(t.Context(), ids["stays"]); err != nil || !strings.Contains(string(d.Data), other) {
		t.Errorf("the one that stays is %q: %v", d.Data, err)
	}
	if o := p.decided(t, "dropped"); o.Status != intake.Rejected || o.Code != intake.CodeDropped {
		t.Errorf("the outcome of the dropped one is %+v", o)
	}
}

func TestWhatADecidedCommandHeldIsInNoFileAnyMore(t *testing.T) {
	const secret = "쉿, 비밀입니다 🤫"
	p := newPlant(t, 0)
	p.takeIn(t)
	js, _ := p.producer(t)
	for i := range 20 {
		send(t, js, order("create", fmt.Sprintf("c%d", i), fmt.Sprintf(`{"user_id": "user-%d", "nickname": "%s"}`, i, secret)))
	}
	if n := filesWith(t, p.dir, secret); n == 0 {
		t.Fatal("the commands are in no file: the search would prove nothing")
	}
	p.work(t)
	for i := range 20 {
		p.decided(t, fmt.Sprintf("c%d", i))
	}
	eventually(t, "what they held is in no file", func() bool { return filesWith(t, p.dir, secret) == 0 })
}

// filesWith returns how many files below a folder hold a text.
func filesWith(t *testing.T, dir, text string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			n++
		}
		return ignoreGone(err)
	})
	must(t, err)
	return n
}

// ignoreGone forgives that a file is removed while a folder is searched.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func TestDeadLettersAreReadByIDAndListedInPages(t *testing.T) {
	p := newPlant(t, 0)
	_, err := p.commands.Execute(t.Context(), command.Request{ID: "other", Actor: "test"}, domain.CreateApp{App: "other"})
	must(t, err)
	p.work(t)
	for i := range 6 {
		m := order("create", fmt.Sprint(i), "broken", "Rollcall-Command-Id", fmt.Sprint(i))
		if i%2 == 1 {
			m.Subject = "accounts.cmd.other.create"
		}
		send(t, p.js, m)
		p.letters(t, i+1) // one after another, for their order
	}
	ids := func(app domain.AppID, after uint64, limit int) (ids string) {
		all, err := p.dead.List(t.Context(), app, after, limit)
		must(t, err)
		for _, d := range all {
			ids += d.CommandID
		}
		return ids
	}
	for want, got := range map[string]string{
		"012345": ids("", 0, 9), "01": ids("", 0, 2), "345": ids("", 3, 9), "024": ids("demo", 0, 9), "35": ids("other", 2, 9), "": ids("other", 6, 9),
	} {
		if got != want {
			t.Errorf("listed %q, want %q", got, want)
		}
	}
	must(t, p.dead.Remove(t.Context(), 3))
	must(t, p.dead.Remove(t.Context(), 3)) // again is no error
	for _, id := range []uint64{0, 3, 7} {
		if _, err := p.dead.Get(t.Context(), id); !errors.Is(err, intake.ErrNoDeadLetter) {
			t.Errorf("dead letter %d: %v, want %v", id, err, intake.ErrNoDeadLetter)
		}
		if err := p.dead.Requeue(t.Context(), id); !errors.Is(err, intake.ErrNoDeadLetter) {
			t.Errorf("dead letter %d again: %v, want %v", id, err, intake.ErrNoDeadLetter)
		}
	}
	if got := ids("", 0, 9); got != "01345" {
		t.Errorf("left are %q", got)
	}
}

func TestReadsOfOutcomesAndDeadLettersSayThatTheStreamsCannotBeReached(t *testing.T) {
	p := newPlant(t, 0)
	p.js.Conn().Close()
	_, outcome := p.outcomes.Load(t.Context(), "demo", "c1")
	_, list := p.dead.List(t.Context(), "", 0, 10)
	_, get := p.dead.Get(t.Context(), 1)
	for what, err := range map[string]error{"an outcome": outcome, "the list": list, "a dead letter": get} {
		if !errors.Is(err, eventstore.ErrUnavailable) {
			t.Errorf("%s: %v, want %v", what, err, eventstore.ErrUnavailable)
		}
	}
}
