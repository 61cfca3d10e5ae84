package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/eventstore"
	"rollcall/eventstore/storetest"
)

func TestAReplayLeavesAFileOfSomethingElseAsItIs(t *testing.T) {
	t.Parallel()
	line, err := eventstore.AppendLine(nil, eventstore.Envelope{
		Position: 7, ID: "01J00000000000000000000000", Type: "account.created.v1", Aggregate: eventstore.Account("demo", "ann"), Actor: "a", CommandID: "c", Time: time.Unix(1e9, 0), Data: []byte("{}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	event := string(line)
	for _, c := range []struct {
		what, text string
		kept       string // what a replay goes on behind, when it does
		last       uint64
	}{
		{"nothing", "", "", 0},
		{"an event", event + "\n", event + "\n", 7},
		{"an event and a half", event + "\n" + event[:60], event + "\n", 7},
		{"the beginning of an event", event[:5], "", 0},
		{"half a position", event[:12], "", 0},
		{"half an event", event[:60], "", 0},
		{what: "JSON in one line", text: `{"users":[1,2,3]}`},
		{what: "JSON with a position in one line", text: `{"position":{"x":1}}`},
		{what: "JSON in lines", text: "{\n  \"position\": 7\n}\n"},
		{what: "lines with positions that are no events", text: "{\"position\":7}\n"},
		{what: "a text", text: "to do"},
		{what: "lines of a text", text: "to do\nthis\n"},
		{what: "a text and an event", text: "to do\n" + event + "\n"},
		{what: "an event and a text", text: event + "\nto do"},
		{what: "an event and a line of text", text: event + "\nto do\n"},
		{what: "bytes", text: "\x00\x01"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(c.text), ownerOnly); err != nil {
			t.Fatal(err)
		}
		foreign := c.kept == "" && c.last == 0 && !strings.HasPrefix(event, c.text)
		if foreign {
			c.kept = c.text
		}
		target, err := openFileTarget(path, false)
		if errors.Is(err, errNoReplay) != foreign {
			t.Errorf("%s: %v", c.what, err)
		}
		if err == nil {
			if target.last() != c.last {
				t.Errorf("%s: the last event is at %d, want %d", c.what, target.last(), c.last)
			}
			err = target.close()
		}
		if b, rerr := os.ReadFile(path); rerr != nil || string(b) != c.kept {
			t.Errorf("%s: the file holds %q (%v, %v), want %q", c.what, b, rerr, err, c.kept)
		}
	}
}

// loggedEvents are lines of events as the service writes them.
func loggedEvents(n int) []client.LoggedEvent {
	all := make([]client.LoggedEvent, n)
	for i := range all {
		at := uint64(i + 1)
		all[i] = client.LoggedEvent{Position: at, Line: fmt.Appendf(nil, `{"position":%d,"id":"event-%d"}`, at, at)}
	}
	return all
}

// publish gives a target events until one fails, closes it and returns the first error.
func publish(ctx context.Context, t *subjectTarget, events []client.LoggedEvent, before func(i int)) error {
	for i, e := range events {
		if before != nil {
			before(i)
		}
		if err := t.write(ctx, e); err != nil {
			_ = t.close()
			return err
		}
	}
	return t.close()
}

func TestEventsThatAReplayPublishesHaveArrivedOrAreSaidNotToHave(t *testing.T) {
	t.Parallel()
	url := storetest.RunServer(t)
	nc := storetest.Connect(t, url)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	const many = 3 * publishAhead
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "COPIES", Subjects: []string{"copies.>"}})
	if err != nil {
		t.Fatal(err)
	}
	small, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SMALL", Subjects: []string{"small"}, MaxMsgs: 10, Discard: jetstream.DiscardNew})
	if err != nil {
		t.Fatal(err)
	}
	connect := func(t *testing.T, url, subject string) *subjectTarget {
		target, err := connectTarget(t.Context(), url, subject, false, "")
		if err != nil {
			t.Fatal(err)
		}
		return target
	}
	count := func(t *testing.T, s jetstream.Stream) uint64 {
		info, err := s.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Msgs
	}

	t.Run("a stream has each once though they are published twice", func(t *testing.T) {
		for range 2 {
			target := connect(t, url, "copies.a")
			if err := publish(t.Context(), target, loggedEvents(many), nil); err != nil || target.arrived != many {
				t.Fatalf("up to %d, %v", target.arrived, err)
			}
		}
		if n := count(t, stream); n != many {
			t.Errorf("the stream has %d, want %d", n, many)
		}
		m, err := stream.GetMsg(t.Context(), many)
		if err != nil || string(m.Data) != string(loggedEvents(many)[many-1].Line) || m.Header.Get("Content-Type") != "application/cloudevents+json" {
			t.Errorf("the last is %+v, %v", m, err)
		}
	})
	t.Run("a stream that takes no more", func(t *testing.T) {
		target := connect(t, url, "small")
		if err := publish(t.Context(), target, loggedEvents(30), nil); err == nil || target.arrived != count(t, small) || target.reached() == "" {
			t.Errorf("up to %d (%s), %v", target.arrived, target.reached(), err)
		}
	})
	t.Run("a connection that is cut on the way to a stream", func(t *testing.T) {
		proxy := storetest.RunProxy(t, url)
		target := connect(t, proxy.URL(), "copies.b")
		err := publish(t.Context(), target, loggedEvents(many), func(i int) {
			if i == 2*publishAhead {
				proxy.Cut()
			}
		})
		if have := count(t, stream) - many; err == nil || target.arrived == 0 || target.arrived > have {
			t.Errorf("up to %d of %d that it has, %v", target.arrived, have, err)
		}
	})
	t.Run("a connection that is cut on the way to nobody in particular", func(t *testing.T) {
		proxy := storetest.RunProxy(t, url)
		target := connect(t, proxy.URL(), "heard")
		heard, err := nc.SubscribeSync("heard")
		if err == nil {
			err = nc.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		err = publish(t.Context(), target, loggedEvents(many), func(i int) {
			if i == 2*publishAhead+1 {
				proxy.Cut()
			}
		})
		if err := nc.Flush(); err != nil { // what the server has taken is on its way to who hears it
			t.Fatal(err)
		}
		if have, _, _ := heard.Pending(); err == nil || target.arrived != 2*publishAhead || have < 2*publishAhead {
			t.Errorf("up to %d of %d that came, %v", target.arrived, have, err)
		}
	})
}

func TestAReplayToASubjectSaysWhereItHasCome(t *testing.T) {
	p, api := running(t)
	for _, id := range []string{"a", "b"} {
		if _, err := api.CreateAccount(t.Context(), "demo", map[string]any{"user_id": id}); err != nil {
			t.Fatal(err)
		}
	}
	url := storetest.RunServer(t)
	nc := storetest.Connect(t, url)
	sub, err := nc.SubscribeSync("copies")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	_, all, _ := rollcall(t, p.env(), "", "audit", "replay")
	code, _, errs := rollcall(t, p.env(), "", "audit", "replay", "--to", "nats:copies", "--nats", url)
	var last uint64
	for _, want := range lines(all) {
		m, err := sub.NextMsg(patience)
		if err != nil || string(m.Data) != want {
			t.Fatalf("published is %v (%v), want %s", m, err, want)
		}
		e, err := eventstore.ParseLine(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		last = uint64(e.Position)
	}
	if code != exitDone || !strings.Contains(errs, fmt.Sprintf("up to position %d ", last)) || !strings.Contains(errs, fmt.Sprintf("--from %d ", last+1)) {
		t.Errorf("status %d: %s", code, errs)
	}
}
