package messaging_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/handlers/access"
	"rollcall/handlers/intake"
)

// wantRefusal checks that a publication was refused, as JetStream refuses, with a status, and that it says why.
func wantRefusal(t *testing.T, what string, err error, status int) {
	t.Helper()
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok || api.Code != status || api.Description == "" {
		t.Errorf("%s: %v, want a refusal with status %d", what, err, status)
	}
}

func TestATakenInCommandIsInTheStreamWithItsSenderAsItWasSent(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	js, token := p.producer(t)
	n := send(t, js, order("create", "c1", `{"user_id": "sora"}`, "X-Note", "한글", "Nats-Request-Info", `{"acc": "GUEST_operator"}`))
	all := p.waiting(t)
	if len(all) != 1 || all[0].Sequence != n {
		t.Fatalf("the stream has %d commands, want the one that was acknowledged at %d", len(all), n)
	}
	m := all[0]
	if m.Subject != "accounts.cmd.demo.create" || string(m.Data) != `{"user_id": "sora"}` || m.Header.Get("X-Note") != "한글" {
		t.Errorf("in the stream it is %s %q %v", m.Subject, m.Data, m.Header)
	}
	if m.Header.Get("Rollcall-Sender") != token.ID || m.Header.Get("Rollcall-Command-Id") != "c1" || m.Header.Get("Nats-Msg-Id") != "" {
		t.Errorf("its headers are %v", m.Header)
	}
}

func TestAFullQueueRefusesAndWhatItAcknowledgedIsDecided(t *testing.T) {
	const room, sent = 100, 400
	p := newPlant(t, room)
	p.takeIn(t)
	js, _ := p.producer(t)
	futures := make(map[string]jetstream.PubAckFuture)
	for i := range sent {
		id := fmt.Sprintf("c-%03d", i)
		f, err := js.PublishMsgAsync(order("create", id, fmt.Sprintf(`{"user_id": "user-%03d"}`, i)))
		must(t, err)
		futures[id] = f
	}
	acked, refused := make(map[uint64]string), []string{}
	for id, f := range futures {
		select {
		case ack := <-f.Ok():
			acked[ack.Sequence] = id
		case err := <-f.Err():
			wantRefusal(t, id, err, http.StatusServiceUnavailable)
			refused = append(refused, id)
		}
	}
	if len(acked) != room || len(refused) != sent-room {
		t.Errorf("%d commands were acknowledged and %d refused, want %d and %d", len(acked), len(refused), room, sent-room)
	}
	inStream := make(map[uint64]string)
	for _, m := range p.waiting(t) {
		inStream[m.Sequence] = m.Header.Get("Rollcall-Command-Id")
	}
	if !maps.Equal(inStream, acked) {
		t.Errorf("the stream has %v, acknowledged were %v", inStream, acked)
	}
	other := order("edit", "e1", `{"user_id": "x"}`)
	send(t, js, other) // each verb has room of its own

	p.work(t)
	for _, id := range acked {
		if o := p.decided(t, id); o.Status != intake.Accepted {
			t.Errorf("%s is %s", id, o.Status)
		}
	}
	if _, err := p.outcomes.Load(t.Context(), "demo", refused[0]); !errors.Is(err, intake.ErrNoOutcome) {
		t.Errorf("what was refused has an outcome: %v", err)
	}
	eventually(t, "there is room again", func() bool {
		_, err := js.PublishMsg(t.Context(), order("create", refused[0], `{"user_id": "late"}`))
		return err == nil
	})
	if o := p.decided(t, refused[0]); o.Status != intake.Accepted {
		t.Errorf("published again, it is %s", o.Status)
	}
}

func TestCommandsOfOneConnectionKeepTheirOrder(t *testing.T) {
	const n = 1500
	p := newPlant(t, 0)
	p.takeIn(t)
	js, _ := p.producer(t)
	futures := make([]jetstream.PubAckFuture, n)
	for i := range futures {
		var err error
		futures[i], err = js.PublishMsgAsync(order("edit", fmt.Sprint(i), `{"user_id": "sora"}`))
		must(t, err)
	}
	for i, f := range futures {
		select {
		case ack := <-f.Ok():
			if ack.Sequence != uint64(i+1) {
				t.Fatalf("number %d is at %d", i, ack.Sequence)
			}
		case err := <-f.Err():
			t.Fatal(err)
		}
	}
	for i, m := range p.waiting(t) {
		if m.Header.Get("Rollcall-Command-Id") != fmt.Sprint(i) {
			t.Fatalf("command %s is at %d", m.Header.Get("Rollcall-Command-Id"), m.Sequence)
		}
	}
}

func TestHeadersThatMeanSomethingToTheServerOrTheServiceAreRefused(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	js, _ := p.producer(t)
	for _, h := range [][2]string{
		{"Nats-Rollup", "all"}, {"Nats-Rollup", "sub"}, {"nats-rollup", "all"}, {"Nats-Expected-Last-Sequence", "0"},
		{"Nats-Expected-Last-Subject-Sequence", "0"}, {"Nats-Expected-Last-Msg-Id", "x"}, {"Nats-TTL", "1s"}, {"Nats-Marker-Reason", "Purge"},
		{"Nats-Batch-Id", "b"}, {"Nats-Schedule", "@every 1s"}, {"Nats-Incr", "1"}, {"Nats-Expected-Stream", "ACCOUNTS"}, {"nats-expected-stream", "COMMANDS"},
		{"Rollcall-Sender", "operator"}, {"rollcall-sender", "operator"}, {"Rollcall-Command-Id", "c2"}, {"Rollcall-Dead-Subject", "accounts.evt.demo.u.x"},
	} {
		_, err := js.PublishMsg(t.Context(), order("create", "c1", `{"user_id": "sora"}`, h[0], h[1]))
		wantRefusal(t, h[0]+": "+h[1], err, http.StatusBadRequest)
	}
	if all := p.waiting(t); len(all) != 0 {
		t.Errorf("%d of them are in the stream", len(all))
	}
	if _, err := js.PublishMsg(t.Context(), order("create", "c1", `{}`), jetstream.WithExpectStream("COMMANDS")); err != nil {
		t.Errorf("the stream that they are in, expected: %v", err)
	}
}

func TestWhatIsTooLargeIsRefused(t *testing.T) {
	const body, exportBody, header = 64 << 10, 960 << 10, 16 << 10
	p := newPlant(t, 0)
	p.takeIn(t)
	nc, _ := p.guest(t, access.Admin, "demo")
	js, err := jetstream.New(nc)
	must(t, err)
	of := func(n int) string { return strings.Repeat("x", n) }
	for what, m := range map[string]*nats.Msg{
		"a body":            order("create", "1", of(body+1)),
		"a body of an edit": order("edit", "2", of(body+1)),
		"a deletion":        order("delete", "3", of(body+1)),
		"an export":         order("export", "4", of(exportBody+1)),
		"headers":           order("create", "5", "{}", "X-Note", of(header)),
		"headers of many":   order("export", "6", of(exportBody), "X-Note", of(header)),
	} {
		_, err := js.PublishMsg(t.Context(), m)
		wantRefusal(t, what, err, http.StatusRequestEntityTooLarge)
	}
	if all := p.waiting(t); len(all) != 0 {
		t.Errorf("%d of them are in the stream", len(all))
	}
	for _, m := range []*nats.Msg{
		order("create", "7", of(body)), order("export", "8", `"`+of(exportBody-2)+`"`), order("create", "9", "{}", "X-Note", of(header-1000)),
	} {
		send(t, js, m)
	}
}

func TestACommandThatIsPublishedAgainIsADuplicateWithTheSameSequence(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	js, _ := p.producer(t)
	const body = `{"user_id": "sora"}`
	first := send(t, js, order("create", "c1", body))
	again, err := js.PublishMsg(t.Context(), order("create", "c1", body))
	must(t, err)
	if !again.Duplicate || again.Sequence != first || again.Stream != "COMMANDS" {
		t.Errorf("published again it is %+v, want a duplicate at %d", again, first)
	}
	for what, m := range map[string]*nats.Msg{
		"another body": order("create", "c1", `{"user_id": "haru"}`), "another verb": order("delete", "c1", body), "no id": order("create", "", body),
	} {
		ack, err := js.PublishMsg(t.Context(), m)
		if err != nil || ack.Duplicate || ack.Sequence == first {
			t.Errorf("%s under the same id: %+v, %v; want a command of its own", what, ack, err)
		}
	}
	other, _ := p.producer(t)
	if ack, err := other.PublishMsg(t.Context(), order("create", "c1", body)); err != nil || ack.Duplicate {
		t.Errorf("the same from another sender: %+v, %v; want a command of its own", ack, err)
	}
	if ack, err := js.PublishMsg(t.Context(), order("create", "", body)); err != nil || ack.Duplicate {
		t.Errorf("the same without an id: %+v, %v; want a command of its own", ack, err)
	}
	if n := len(p.waiting(t)); n != 6 {
		t.Errorf("the stream has %d commands, want 6", n)
	}
}

func TestWhatIsNotSentWithAGoodTokenIsRefused(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	m := order("create", "c1", `{"user_id": "sora"}`)
	m.Subject = "accounts.ingress.demo.create"
	_, err := p.js.PublishMsg(t.Context(), m) // from inside, where nobody is a guest
	wantRefusal(t, "of no guest", err, http.StatusUnauthorized)

	js, token := p.producer(t)
	send(t, js, order("create", "c2", `{"user_id": "sora"}`))
	_, err = p.tokens.Revoke(t.Context(), operator, token.ID)
	must(t, err)
	_, err = js.PublishMsg(t.Context(), order("create", "c3", `{"user_id": "sora"}`))
	wantRefusal(t, "of a revoked token", err, http.StatusUnauthorized)
	if n := len(p.waiting(t)); n != 1 {
		t.Errorf("the stream has %d commands, want the one before the revocation", n)
	}
}

func TestATokenMayNotPublishByTheIngressWhatItsRoleMayNot(t *testing.T) {
	p := newPlant(t, 0)
	p.takeIn(t)
	_, token := p.guest(t, access.Exporter, "demo")
	// As the server would let it in if the rights of roles were wrong: the ingress looks for itself.
	as := func(subject string) error {
		m := order("", "c1", `{"user_id": "sora"}`, "Nats-Request-Info", fmt.Sprintf(`{"acc": "GUEST_%s"}`, token.ID))
		m.Subject = subject
		_, err := p.js.PublishMsg(t.Context(), m)
		return err
	}
	wantRefusal(t, "a create of an exporter", as("accounts.ingress.demo.create"), http.StatusForbidden)
	wantRefusal(t, "an export of another application", as("accounts.ingress.other.export"), http.StatusForbidden)
	if err := as("accounts.ingress.demo.export"); err != nil {
		t.Errorf("an export: %v", err)
	}
}

func TestAStopOfTheIngressFinishesWhatHasArrived(t *testing.T) {
	p := newPlant(t, 0)
	stop := p.takeIn(t)
	js, _ := p.producer(t)
	send(t, js, order("create", "first", `{}`))
	futures := make([]jetstream.PubAckFuture, 1000)
	for i := range futures {
		var err error
		futures[i], err = js.PublishMsgAsync(order("edit", fmt.Sprintf("c-%04d", i), `{}`))
		must(t, err)
	}
	<-futures[0].Ok()
	stop()
	var acked []uint64
	for _, f := range futures[1:] {
		select {
		case ack := <-f.Ok():
			acked = append(acked, ack.Sequence)
		case <-f.Err(): // it came too late
		}
	}
	var inStream []uint64
	for _, m := range p.waiting(t)[2:] {
		inStream = append(inStream, m.Sequence)
	}
	if slices.Sort(acked); !slices.Equal(acked, inStream) {
		t.Errorf("%d commands were acknowledged, %d are in the stream", len(acked), len(inStream))
	}
}
