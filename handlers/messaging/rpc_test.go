package messaging_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/oklog/ulid/v2"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/intake"
	"rollcall/handlers/messaging"
	"rollcall/handlers/wire"
)

// answer runs what answers requests, with commands executed by those given.
func (p *plant) answer(t *testing.T, commands intake.Commands) (stop func()) {
	t.Helper()
	rpc, err := messaging.NewRPC(p.js.Conn(), messaging.RPCConfig{
		Commands: commands, Queries: fromLog{p}, Consumers: messaging.NewLogConsumers(p.js, "ACCOUNTS"), Identify: p.identify, Version: "v1.2.3", NewID: func() string { return ulid.Make().String() },
	})
	must(t, err)
	stop = run(t, rpc.Run)
	eventually(t, "requests are answered", func() bool {
		_, err := p.js.Conn().Request("$SRV.INFO.rollcall", nil, patience)
		if err != nil && !errors.Is(err, nats.ErrNoResponders) {
			t.Fatal(err)
		}
		return err == nil
	})
	return stop
}

// fromLog are queries of a plant, which has no list: what the log says of an account.
type fromLog struct{ *plant }

func (q fromLog) Account(ctx context.Context, _ uint64, app domain.AppID, id domain.UserID) (domain.Account, uint64, error) {
	revision, err := q.store.Revision(ctx, eventstore.Account(string(app), string(id)))
	if err == nil && revision == 0 {
		err = &domain.Rejection{Code: domain.CodeAccountNotFound, Detail: fmt.Sprintf("there is no account %s", id)}
	}
	return domain.Account{App: app, UserID: id, Revision: uint64(revision)}, uint64(revision), err
}

func (fromLog) Wrote(uint64) {}

// request sends a request and returns the answer.
func request(t *testing.T, nc *nats.Conn, verb, id, body string, headers ...string) *nats.Msg {
	t.Helper()
	m := order(verb, id, body, headers...)
	m.Subject = "accounts.rpc.demo." + verb
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reply, err := nc.RequestMsgWithContext(ctx, m)
	must(t, err)
	return reply
}

// wantProblem checks that an answer is a problem, told in its headers and in its body.
func wantProblem(t *testing.T, what string, m *nats.Msg, status int, code domain.Code, fields ...string) {
	t.Helper()
	if m.Header.Get(micro.ErrorCodeHeader) != strconv.Itoa(status) || m.Header.Get(micro.ErrorHeader) == "" || m.Header.Get("Rollcall-Error-Code") != string(code) {
		t.Errorf("%s: the headers are %v, want %d %s", what, m.Header, status, code)
	}
	var p wire.Problem
	if err := json.Unmarshal(m.Data, &p); err != nil || p.Status != status || p.Code != code || p.Detail == "" || m.Header.Get("Content-Type") != wire.ProblemType {
		t.Errorf("%s: the body is %s: %v", what, m.Data, err)
	}
	var named []string
	for _, f := range p.Errors {
		named = append(named, f.Field)
	}
	if !slices.Equal(named, fields) {
		t.Errorf("%s: names the fields %v, want %v", what, named, fields)
	}
}

func TestARequestIsAnsweredWithTheAccountItsPositionAndRevision(t *testing.T) {
	p := newPlant(t, 0)
	p.answer(t, p.commands)
	nc, token := p.guest(t, access.Admin, "demo")
	created := request(t, nc, "create", "c1", `{"user_id": "sora", "nickname": "소라"}`, "ce-traceparent", trace, "ce-causationid", "cause")
	var a struct {
		UserID   string `json:"user_id"`
		Nickname string `json:"nickname"`
		Revision uint64 `json:"revision"`
	}
	if err := json.Unmarshal(created.Data, &a); err != nil || a.UserID != "sora" || a.Nickname != "소라" || a.Revision == 0 {
		t.Errorf("created is %s: %v", created.Data, err)
	}
	if at := strconv.FormatUint(a.Revision, 10); created.Header.Get("Rollcall-Position") != at || created.Header.Get("Rollcall-Revision") != at {
		t.Errorf("its headers are %v, want position and revision %s", created.Header, at)
	}
	if again := request(t, nc, "create", "c1", `{"user_id": "sora", "nickname": "소라"}`); again.Header.Get("Rollcall-Replayed") != "true" || string(again.Data) != string(created.Data) {
		t.Errorf("the same again is %v %s", again.Header, again.Data)
	}
	if edited := request(t, nc, "edit", "", `{"user_id": "sora", "level": 3}`, "If-Match", strconv.Quote(created.Header.Get("Rollcall-Revision"))); !strings.Contains(string(edited.Data), `"level":3`) {
		t.Errorf("edited is %v %s", edited.Header, edited.Data)
	}
	if got := request(t, nc, "get", "", `{"user_id": "sora"}`); !strings.Contains(string(got.Data), `"user_id":"sora"`) || got.Header.Get("Rollcall-Position") == "0" {
		t.Errorf("got %v %s", got.Header, got.Data)
	}
	deleted := request(t, nc, "delete", "", `{"user_ids": ["sora", "nobody"]}`)
	if want := `"user_id":"nobody","status":"failed","code":"account_not_found"`; !strings.Contains(string(deleted.Data), want) || !strings.Contains(string(deleted.Data), `"sora","status":"deleted"`) {
		t.Errorf("deleted is %s", deleted.Data)
	}
	events := p.events(t, "sora")
	if len(events) != 3 {
		t.Fatalf("the log has %d events, want 3", len(events))
	}
	if e := events[0]; e.CommandID != "c1" || e.Actor != "guest/"+token.ID || e.TraceParent != trace || e.CausationID != "cause" {
		t.Errorf("the event is %+v", e)
	}
}

func TestARefusedRequestIsAnsweredWithATypedError(t *testing.T) {
	p := newPlant(t, 0)
	p.answer(t, p.commands)
	nc, _ := p.guest(t, access.Admin, "demo")
	request(t, nc, "create", "c1", `{"user_id": "sora"}`)
	for _, c := range []struct {
		what, verb, id, body string
		headers              []string
		status               int
		code                 domain.Code
		fields               []string
	}{
		{"an account that exists", "create", "", `{"user_id": "sora"}`, nil, 409, domain.CodeAccountExists, nil},
		{"an account that does not", "edit", "", `{"user_id": "haru"}`, nil, 404, domain.CodeAccountNotFound, nil},
		{"one to see that does not", "get", "", `{"user_id": "haru"}`, nil, 404, domain.CodeAccountNotFound, nil},
		{"a revision that has passed", "edit", "", `{"user_id": "sora", "level": 1}`, []string{"If-Match", "1"}, 412, domain.CodeRevisionMismatch, nil},
		{"a value that cannot be", "edit", "", `{"user_id": "sora", "gender": "none"}`, nil, 422, domain.CodeInvalid, []string{"gender"}},
		{"a field that there is not", "create", "", `{"user_id": "haru", "nick": 1}`, nil, 422, domain.CodeInvalid, []string{"nick"}},
		{"a body that is none", "create", "", `{`, nil, 400, wire.CodeMalformedBody, nil},
		{"an id of another command", "create", "c1", `{"user_id": "sora", "nickname": "x"}`, nil, 409, command.CodeCommandIDReused, nil},
		{"an id that cannot be one", "create", strings.Repeat("x", 65), `{"user_id": "haru"}`, nil, 422, domain.CodeInvalid, []string{"Nats-Msg-Id"}},
		{"neither form of a deletion", "delete", "", `{}`, nil, 422, domain.CodeInvalid, nil},
		{"a minimum that is none", "get", "", `{"user_id": "sora", "min_position": -1}`, nil, 422, domain.CodeInvalid, []string{"min_position"}},
		{"a body that is too large", "create", "", strings.Repeat(" ", 64<<10) + "{}", nil, 413, wire.CodeTooLarge, nil},
	} {
		wantProblem(t, c.what, request(t, nc, c.verb, c.id, c.body, c.headers...), c.status, c.code, c.fields...)
	}
	if n := len(p.events(t, "sora")); n != 1 {
		t.Errorf("refused requests left %d events", n-1)
	}
}

func TestARequestOfOneWhoMayNotIsRefused(t *testing.T) {
	p := newPlant(t, 0)
	p.answer(t, p.commands)
	_, viewer := p.guest(t, access.Viewer, "demo")
	// As the server would let it in if the rights of roles were wrong: the service looks for itself.
	as := []string{"Nats-Request-Info", fmt.Sprintf(`{"acc": "GUEST_%s"}`, viewer.ID)}
	inside := p.js.Conn()
	wantProblem(t, "a viewer that creates", request(t, inside, "create", "", `{"user_id": "sora"}`, as...), 403, wire.CodeForbidden)
	wantProblem(t, "nobody", request(t, inside, "get", "", `{"user_id": "sora"}`), 401, wire.CodeUnauthenticated)

	nc, token := p.guest(t, access.Producer, "demo")
	_, err := p.tokens.Revoke(t.Context(), operator, token.ID)
	must(t, err)
	wantProblem(t, "a token that was revoked", request(t, nc, "create", "", `{"user_id": "sora"}`), 401, wire.CodeUnauthenticated)
	if n := len(p.events(t, "sora")); n != 0 {
		t.Errorf("they left %d events", n)
	}
}

// together executes commands only when several are being executed at once.
type together struct {
	intake.Commands
	meet *sync.WaitGroup
}

func (c together) Execute(ctx context.Context, req command.Request, cmd domain.Command) (command.Result, error) {
	c.meet.Done()
	met := make(chan struct{})
	go func() { c.meet.Wait(); close(met) }()
	select {
	case <-met:
		return c.Commands.Execute(ctx, req, cmd)
	case <-ctx.Done():
		return command.Result{}, ctx.Err()
	}
}

func TestRequestsThatWaitForEachOtherAreAllAnswered(t *testing.T) {
	const n = 20
	p := newPlant(t, 0)
	var meet, asking sync.WaitGroup
	meet.Add(n)
	p.answer(t, together{p.commands, &meet})
	nc, _ := p.guest(t, access.Producer, "demo")
	for i := range n {
		asking.Go(func() {
			m := order("create", "", fmt.Sprintf(`{"user_id": "user-%d"}`, i))
			m.Subject = "accounts.rpc.demo.create" // all of one endpoint
			reply, err := nc.RequestMsgWithContext(t.Context(), m)
			if err != nil || reply.Header.Get(micro.ErrorHeader) != "" {
				t.Errorf("number %d: %v %+v", i, err, reply)
			}
		})
	}
	asking.Wait()
}

func TestAStopAnswersTheRequestsThatHaveArrived(t *testing.T) {
	p := newPlant(t, 0)
	var meet sync.WaitGroup
	meet.Add(2)
	stop := p.answer(t, together{p.commands, &meet})
	nc, _ := p.guest(t, access.Producer, "demo")
	m := order("create", "c1", `{"user_id": "sora"}`)
	m.Subject, m.Reply = "accounts.rpc.demo.create", nats.NewInbox()
	sub, err := nc.SubscribeSync(m.Reply)
	must(t, err)
	must(t, nc.PublishMsg(m))
	must(t, nc.Flush())
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	eventually(t, "no further request is taken", func() bool {
		_, err := p.js.Conn().Request("$SRV.PING.rollcall", nil, patience)
		return errors.Is(err, nats.ErrNoResponders)
	})
	select {
	case <-stopped:
		t.Error("it stopped with a request in flight")
	default:
	}
	meet.Done()
	<-stopped
	reply, err := sub.NextMsg(patience)
	if err != nil || reply.Header.Get("Rollcall-Position") == "" {
		t.Errorf("the request in flight is answered %+v: %v", reply, err)
	}
}

func TestAStopWaitsForRequestsThatHaveNotBegun(t *testing.T) {
	const n = 300
	p := newPlant(t, 0)
	stop := p.answer(t, p.commands)
	nc, _ := p.guest(t, access.Producer, "demo")
	before, err := p.store.Last(t.Context())
	must(t, err)
	for i := range n {
		m := order("create", "", fmt.Sprintf(`{"user_id": "user-%d"}`, i))
		m.Subject, m.Reply = "accounts.rpc.demo.create", "_INBOX.nobody"
		must(t, nc.PublishMsg(m))
	}
	must(t, nc.Flush())
	stop()
	after, err := p.store.Last(t.Context())
	if err != nil || after-before != n {
		t.Errorf("after the stop %d of %d requests have been executed: %v", after-before, n, err)
	}
}

func TestTheServiceIsSeenAsRollcallWithItsEndpoints(t *testing.T) {
	p := newPlant(t, 0)
	p.answer(t, p.commands)
	nc, _ := p.guest(t, access.Operator, "")
	request(t, nc, "create", "", `{"user_id": "sora"}`)
	request(t, nc, "create", "", `{"user_id": "sora"}`) // refused
	ask := func(what string, answer any) {
		t.Helper()
		reply, err := nc.Request("$SRV."+what+".rollcall", nil, patience)
		must(t, err)
		must(t, json.Unmarshal(reply.Data, answer))
	}
	var info micro.Info
	ask("INFO", &info)
	subjects := make(map[string]string)
	for _, e := range info.Endpoints {
		subjects[e.Name] = e.Subject
	}
	if info.Name != "rollcall" || info.Version != "1.2.3" || len(subjects) != 5 {
		t.Errorf("the service is %+v", info)
	}
	for _, verb := range []string{"create", "edit", "delete", "get", "consume"} {
		if subjects[verb] != "accounts.rpc.*."+verb {
			t.Errorf("the endpoint %s is at %q", verb, subjects[verb])
		}
	}
	var stats micro.Stats
	ask("STATS", &stats)
	for _, e := range stats.Endpoints {
		if e.Name == "create" && (e.NumRequests != 2 || !strings.Contains(string(e.Data), `"errors":1`)) {
			t.Errorf("the figures of create are %+v %s", e, e.Data)
		}
	}
}
