package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/cmd/rollcall/internal/client"
	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/storetest"
	"rollcall/eventstore/storetest/freeport"
	"rollcall/handlers/intake"
	"rollcall/handlers/messaging"
	"rollcall/handlers/wire"
)

// order is one command of the test: what is published, and what must become of it.
type order struct {
	id, verb, user string
	body           string
	want           intake.Status
	code           domain.Code
	changes        bool // an event must be in the log
	// erased tells that a command deletes the account: a dead letter that names it and was sent before that is then gone.
	erased bool
}

// ordersOf returns the commands on one account, in the order in which they are sent. A tenth is
// invalid. What must become of each follows from those before it.
func ordersOf(rng *rand.Rand, account, n int) []order {
	user := fmt.Sprintf("user-%04d", account)
	exists := false
	all := make([]order, n)
	for i := range all {
		o := order{id: fmt.Sprintf("c-%04d-%02d", account, i), user: user, want: intake.Accepted, changes: true}
		switch dice := rng.IntN(20); {
		case dice == 0: // no command at all
			o.verb, o.body, o.want, o.code, o.changes = "create", `{"user_id": "`+user+`", "nick": 1}`, intake.Dead, domain.CodeInvalid, false
		case dice == 1: // refused whatever the account is
			o.verb, o.body, o.want, o.code, o.changes = "edit", `{"user_id": "`+user+`", "gender": "none"}`, intake.Rejected, domain.CodeInvalid, false
		case dice == 2 && exists:
			o.verb, o.body = "delete", `{"user_id": "`+user+`"}`
			exists = false
		case dice == 3 && exists: // a batch of one
			o.verb, o.user, o.body = "delete", "", `{"user_ids": ["`+user+`"]}`
			exists = false
		case !exists && dice < 6:
			o.verb, o.body, o.want, o.code, o.changes = "edit", `{"user_id": "`+user+`", "level": 1}`, intake.Rejected, domain.CodeAccountNotFound, false
		case !exists:
			o.verb, o.body = "create", fmt.Sprintf(`{"user_id": "%s", "nickname": "이름 %d", "level": %d}`, user, i, i)
			exists = true
		case dice < 6:
			o.verb, o.body, o.want, o.code, o.changes = "create", `{"user_id": "`+user+`"}`, intake.Rejected, domain.CodeAccountExists, false
		default:
			o.verb, o.body = "edit", fmt.Sprintf(`{"user_id": "%s", "level": %d}`, user, 1000+i)
		}
		all[i] = o
	}
	if slices.ContainsFunc(all, func(o order) bool { return o.verb == "delete" }) {
		for i := range all {
			all[i].erased = true
		}
	}
	return all
}

// became tells whether an outcome is one that the order must have.
func (o order) became(got wire.Outcome) bool {
	if o.want == intake.Dead && o.erased && got.Status == intake.Rejected && got.Code == intake.CodeDropped {
		return true
	}
	return got.Status == o.want && got.Code == o.code
}

// publishUntilAcknowledged publishes a command under its id until the stream has it.
func publishUntilAcknowledged(ctx context.Context, js natsjs.JetStream, o order) error {
	const wait, between = 3 * time.Second, 20 * time.Millisecond
	for {
		attempt, cancel := context.WithTimeout(ctx, wait)
		_, err := js.PublishMsg(attempt, &nats.Msg{Subject: "accounts.cmd.demo." + o.verb, Data: []byte(o.body)}, natsjs.WithMsgID(o.id))
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case <-time.After(between):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// freeAddress returns an address of loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	return freeport.Address(storetest.FreePorts(t, 1)[0])
}

func TestCommandsSurviveKillsEachDecidedOnceInOrderWithOneOutcome(t *testing.T) {
	t.Parallel()
	const accounts, kills, publishers = 2000, 5, 200
	each := 10
	if *soak > 0 {
		each = 25
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	rng := rand.New(rand.NewPCG(3, seed))
	orders := make([][]order, accounts)
	for a := range orders {
		orders[a] = ordersOf(rng, a, each)
	}
	data, listen := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	program := built(t)
	p := serveBuilt(t, program, data, "--nats-listen", listen)
	api := p.client(t)
	if _, err := api.CreateApp(t.Context(), client.AppChange{App: "demo"}); err != nil {
		t.Fatal(err)
	}
	token, err := api.CreateToken(t.Context(), "orders", "producer", "demo")
	if err != nil {
		t.Fatal(err)
	}

	var published atomic.Int64
	publishing := make(chan error, 1)
	go func() {
		publishing <- publishAll(t.Context(), "nats://"+listen, token.Secret, orders, publishers, nil, &published)
	}()
	for k := range kills {
		target := int64(accounts*each*(k+1)/(kills+1)) + rng.Int64N(int64(accounts*each/(kills+2))) // some time in this part of them
		eventually(t, "enough is published", func() error {
			if n := published.Load(); n < target {
				return fmt.Errorf("%d of %d", n, target)
			}
			return nil
		})
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.wait(t)
		p = serveBuilt(t, program, data, "--nats-listen", listen)
	}
	if err := <-publishing; err != nil {
		t.Fatal(err)
	}
	operator, err := os.ReadFile(filepath.Join(data, "operator.token"))
	if err != nil {
		t.Fatal(err)
	}
	awaitOutcomes(t, p.url, strings.TrimSpace(string(operator)), orders)
	p.stop(t)
	t.Run("each has the outcome that it must have, once, and its event", func(t *testing.T) {
		store, _, js := offline(t, data)
		checkDecided(t, store, js, orders)
	})
	t.Run("the list equals a replay of the log", func(t *testing.T) { compareWithReplay(t, data) })
}

// publishAll publishes the commands of each account one after another, of many accounts side by side, and some
// of them again at some later time. It begins with another account as soon as it can, but not before each tick when there are ticks.
func publishAll(ctx context.Context, addresses, secret string, orders [][]order, publishers int, ticks <-chan time.Time, published *atomic.Int64) error {
	nc, err := nats.Connect(addresses, nats.Token(secret), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ReconnectBufSize(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := natsjs.New(nc)
	if err != nil {
		return err
	}
	next := make(chan []order)
	errs := make(chan error, publishers)
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for all := range next {
				for i, o := range all {
					again := order{}
					if rand.IntN(10) == 0 {
						again = all[rand.IntN(i+1)]
					}
					err := publishUntilAcknowledged(ctx, js, o)
					if err == nil && again.id != "" {
						err = publishUntilAcknowledged(ctx, js, again)
					}
					if err != nil {
						errs <- err
						return
					}
					published.Add(1)
				}
			}
		})
	}
	for _, all := range orders {
		if ticks != nil {
			<-ticks
		}
		select {
		case next <- all:
		case err := <-errs:
			close(next)
			return err
		}
	}
	close(next)
	wg.Wait()
	close(errs)
	return <-errs
}

// awaitOutcomes waits until the last command of each account is decided, and with it all before it.
func awaitOutcomes(t *testing.T, url, token string, orders [][]order) {
	t.Helper()
	for _, all := range orders {
		eventually(t, "the last command is decided", func() error {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/apps/demo/commands/"+all[len(all)-1].id, nil)
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "Bearer "+token)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				return errors.New(res.Status)
			}
			return nil
		})
	}
}

// checkDecided compares outcomes and log with what must have become of each command.
func checkDecided(t *testing.T, store eventstore.Store, js natsjs.JetStream, orders [][]order) {
	t.Helper()
	ctx := t.Context()
	positions := make(map[string]eventstore.Position) // of each command's event
	last, err := store.Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range store.Read(ctx, 1, last) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(e.CommandID, "c-") {
			continue
		}
		id, _, _ := strings.Cut(e.CommandID, "/") // of a batch
		if positions[id] != 0 {
			t.Errorf("command %s has events at %d and %d", id, positions[id], e.Position)
		}
		positions[id] = e.Position
		if !strings.HasPrefix(e.Actor, "orders/") {
			t.Errorf("%s at %d says that its actor is %q", e.Type, e.Position, e.Actor)
		}
	}
	outcomes := readOutcomes(t, js)
	accepted, forgotten := 0, 0
	for _, all := range orders {
		before := eventstore.Position(0)
		for _, o := range all {
			got, ok := outcomes[o.id]
			if !ok {
				t.Fatalf("%s has no outcome", o.id)
			}
			if got.Status != o.want {
				forgotten++
			}
			at := positions[o.id]
			if !o.became(got) || (at != 0) != o.changes || o.changes && got.Position != uint64(at) {
				t.Fatalf("command %s (%s %s) is %s %s at %d with an event at %d, want %s %s", o.id, o.verb, o.body, got.Status, got.Code, got.Position, at, o.want, o.code)
			}
			if at == 0 {
				continue
			}
			accepted++
			if at <= before {
				t.Fatalf("command %s has its event at %d, the one before it at %d", o.id, at, before)
			}
			before = at
		}
	}
	if len(positions) != accepted {
		t.Errorf("the log has the events of %d commands, %d were accepted", len(positions), accepted)
	}
	checkOnce(t, js, len(orders)*len(orders[0]), forgotten)
}

// readOutcomes reads the stream of outcomes as any consumer may, by the id of the command.
func readOutcomes(t *testing.T, js natsjs.JetStream) map[string]wire.Outcome {
	t.Helper()
	stream, err := js.Stream(t.Context(), messaging.StreamOutcomes)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.OrderedConsumer(t.Context(), natsjs.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	outcomes := make(map[string]wire.Outcome)
	for range stream.CachedInfo().State.Msgs {
		m, err := messages.Next(natsjs.NextMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		var event struct{ Data wire.Outcome }
		if err := json.Unmarshal(m.Data(), &event); err != nil {
			t.Fatal(err)
		}
		outcomes[event.Data.CommandID] = event.Data
	}
	return outcomes
}

// checkOnce tells from the sequence of the stream that no outcome was ever written twice but those of dead letters
// that were forgotten with their accounts.
func checkOnce(t *testing.T, js natsjs.JetStream, commands, forgotten int) {
	t.Helper()
	for stream, want := range map[string]uint64{messaging.StreamOutcomes: uint64(commands), messaging.StreamCommands: 0} {
		s, err := js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		if state := s.CachedInfo().State; state.Msgs != want || want > 0 && state.LastSeq != want+uint64(forgotten) {
			t.Errorf("stream %s has %d messages up to %d, want %d and %d rewritten", stream, state.Msgs, state.LastSeq, want, forgotten)
		}
	}
}
