package messaging_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/messaging"
	"rollcall/handlers/wire"
)

// stuck is a log that answers nothing before a request has to.
type stuck struct{}

func (stuck) Execute(ctx context.Context, _ command.Request, _ domain.Command) (command.Result, error) {
	return command.Result{}, stuckUntil(ctx)
}

func (stuck) DeleteAccounts(ctx context.Context, _ command.Request, _ domain.AppID, ids []domain.UserID) ([]command.ItemResult, error) {
	return []command.ItemResult{{UserID: ids[0], Err: stuckUntil(ctx)}}, nil
}

func (stuck) Account(ctx context.Context, _ uint64, _ domain.AppID, _ domain.UserID) (domain.Account, uint64, error) {
	return domain.Account{}, 0, stuckUntil(ctx)
}

func (stuck) Wrote(uint64) {}

func stuckUntil(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("%w: %w", eventstore.ErrUnavailable, ctx.Err())
}

func TestARequestThatTheServiceGivesUpIsAnsweredAsUnavailable(t *testing.T) {
	js := newNode(t).connect(t)
	rpc, err := messaging.NewRPC(js.Conn(), messaging.RPCConfig{
		Commands: stuck{}, Queries: stuck{}, Consumers: messaging.NewLogConsumers(js, "ACCOUNTS"), NewID: func() string { return "id" }, Timeout: time.Millisecond,
		Identify: func(nats.Header) (access.Principal, error) {
			return access.Principal{TokenID: "t", Name: "orders", Role: access.Operator}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- rpc.Run(ctx) }()
	for verb, body := range map[string]string{"create": `{"user_id": "a"}`, "get": `{"user_id": "a"}`} {
		m := ask(t, js.Conn(), "accounts.rpc.demo."+verb, body)
		if code := m.Header.Get("Rollcall-Error-Code"); code != string(wire.CodeUnavailable) || m.Header.Get("Nats-Service-Error-Code") != "503" {
			t.Errorf("%s is answered with code %s: %s", verb, code, m.Data)
		}
	}
	var batch struct{ Results []wire.OutcomeItem }
	m := ask(t, js.Conn(), "accounts.rpc.demo.delete", `{"user_ids": ["a"]}`)
	if err := json.Unmarshal(m.Data, &batch); err != nil || len(batch.Results) != 1 || batch.Results[0].Code != wire.CodeUnavailable {
		t.Errorf("a batch is answered with %s", m.Data)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// ask makes a request, again until somebody is there to answer.
func ask(t *testing.T, nc *nats.Conn, subject, body string) *nats.Msg {
	t.Helper()
	var m *nats.Msg
	eventually(t, "an answer on "+subject, func() bool {
		var err error
		m, err = nc.Request(subject, []byte(body), patience)
		return err == nil
	})
	return m
}
