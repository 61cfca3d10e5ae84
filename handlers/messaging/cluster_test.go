package messaging_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/eventstore/storetest"
	"rollcall/handlers/access"
	"rollcall/handlers/command"
	"rollcall/handlers/export"
	"rollcall/handlers/intake"
	"rollcall/handlers/messaging"
)

// connectEach returns a connection that begins at each node of a cluster.
func connectEach(t *testing.T, c *storetest.Cluster) (all []jetstream.JetStream) {
	t.Helper()
	urls := strings.Split(c.URL(), ",")
	for i := range urls {
		nc := storetest.Connect(t, strings.Join(slices.Concat(urls[i:], urls[:i]), ","), nats.DontRandomize())
		js, err := jetstream.New(nc)
		must(t, err)
		all = append(all, js)
	}
	return all
}

// leader returns the node that leads a stream, and checks that three have it.
func leader(t *testing.T, js jetstream.JetStream, name string) string {
	t.Helper()
	var node string
	eventually(t, "stream "+name+" has a leader", func() bool { // a node that came back may have had one elected anew
		s, err := js.Stream(t.Context(), name)
		if err != nil {
			return false
		}
		info := s.CachedInfo()
		if info.Config.Replicas != 3 || info.Cluster == nil {
			t.Fatalf("stream %s has %d replicas", name, info.Config.Replicas)
		}
		node = info.Cluster.Leader
		return node != ""
	})
	return node
}

func TestOfOutcomesThatAreKeptAtOnceOnAClusterOneStands(t *testing.T) {
	var keepers []*messaging.Outcomes
	all := connectEach(t, storetest.RunCluster(t, 3))
	for _, js := range all {
		keepers = append(keepers, openOutcomes(t, js, 3))
	}
	leader(t, all[0], messaging.StreamOutcomes)
	race(t, keepers, 40)
}

// accounts execute edits in memory, and note in which order.
type accounts struct {
	mu   sync.Mutex
	done map[string]uint64          // by command id, its position
	of   map[domain.UserID][]string // ids of the commands on an account
}

func (a *accounts) Execute(_ context.Context, req command.Request, cmd domain.Command) (command.Result, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at, ok := a.done[req.ID]; ok {
		return command.Result{Position: at, Changed: true, Replayed: true}, nil
	}
	user := cmd.(domain.EditAccount).UserID
	a.of[user] = append(a.of[user], req.ID)
	a.done[req.ID] = uint64(len(a.done) + 1)
	return command.Result{Position: a.done[req.ID], Changed: true}, nil
}

// executed returns the ids of the commands on an account, in the order in which they were executed first.
func (a *accounts) executed(user domain.UserID) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.of[user])
}

func (a *accounts) position(id string) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done[id]
}

func (*accounts) DeleteAccounts(context.Context, command.Request, domain.AppID, []domain.UserID) ([]command.ItemResult, error) {
	return nil, errors.New("nobody deletes here")
}

// onlyProducer is who sends everything.
type onlyProducer struct{}

func (onlyProducer) Principal(context.Context, string) (access.Principal, error) {
	return access.Principal{TokenID: "01P", Name: "orders", Role: access.Producer, App: "demo"}, nil
}

// noLog is a log in which no account is.
type noLog struct{ eventstore.Store }

func (noLog) Revision(context.Context, eventstore.AggregateID) (eventstore.Revision, error) {
	return 0, nil
}

// fleet is the way of commands over a cluster, with ingress, worker and producers on connections to different nodes.
type fleet struct {
	accounts
	cluster  *storetest.Cluster
	producer jetstream.JetStream
	outcomes *messaging.Outcomes
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{accounts: accounts{done: make(map[string]uint64), of: make(map[domain.UserID][]string)}, cluster: storetest.RunCluster(t, 3)}
	all := connectEach(t, f.cluster)
	f.producer = all[2]
	must(t, messaging.OpenCommands(t.Context(), all[0], 3, messaging.DefaultMaxWaiting))
	f.outcomes = openOutcomes(t, all[0], 3)
	dead, err := messaging.OpenDeadLetters(t.Context(), all[0], 3)
	must(t, err)
	decider, err := intake.New(intake.Config{Commands: f, Exports: noExports{}, Senders: onlyProducer{}, Outcomes: f.outcomes, DeadLetters: dead, Log: noLog{}})
	must(t, err)
	ingress, err := messaging.NewIngress(all[1].Conn(), all[1], messaging.IngressConfig{Identify: func(nats.Header) (access.Principal, error) { return onlyProducer{}.Principal(t.Context(), "") }})
	must(t, err)
	run(t, ingress.Run)
	run(t, func(ctx context.Context) error {
		return messaging.RunCommands(ctx, all[0], messaging.CommandsConfig{
			Decide: decider.Decide, Bury: decider.Bury, Buried: decider.Buried, DeadLetters: dead, RetryAfter: 10 * time.Millisecond, MaxRetryAfter: time.Second,
		})
	})
	return f
}

// publish publishes an edit under its id until the stream has it.
func (f *fleet) publish(ctx context.Context, id, body string) error {
	const wait, between = 2 * time.Second, 20 * time.Millisecond
	m := order("edit", id, body)
	m.Subject = "accounts.ingress.demo.edit"
	for {
		attempt, cancel := context.WithTimeout(ctx, wait)
		_, err := f.producer.PublishMsg(attempt, m)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(between):
		case <-ctx.Done():
		}
	}
}

// decided waits until a command has an outcome and returns it.
func (f *fleet) decided(t *testing.T, id string) (o intake.Outcome) {
	t.Helper()
	eventually(t, id+" has an outcome", func() bool {
		var err error
		o, err = f.outcomes.Load(t.Context(), "demo", id)
		return err == nil
	})
	return o
}

// without does something while the leader of a stream is stopped in the midst of it.
func (f *fleet) without(t *testing.T, stream string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	node := leader(t, f.producer, stream)
	f.cluster.Stop(node)
	<-done
	f.cluster.Start(node)
}

func TestOnAClusterThatLosesItsLeadersCommandsAreDecidedInOrderWithOneOutcomeEach(t *testing.T) {
	const users, each = 40, 10
	f := newFleet(t)
	must(t, f.publish(t.Context(), "first", `{"user_id": "first", "level": 1}`))
	f.decided(t, "first") // so that the worker works
	id := func(user, i int) string { return fmt.Sprintf("c-%02d-%02d", user, i) }
	isBroken := func(user, i int) bool { return (user+i)%10 == 0 }
	publish := func(from, to int) {
		var work sync.WaitGroup
		for user := range users {
			work.Go(func() {
				for i := from; i < to; i++ {
					body := fmt.Sprintf(`{"user_id": "user-%02d", "level": %d}`, user, i)
					if isBroken(user, i) {
						body = "broken"
					}
					if err := f.publish(t.Context(), id(user, i), body); err != nil {
						t.Error(err)
					}
				}
			})
		}
		work.Wait()
	}
	f.without(t, messaging.StreamCommands, func() { publish(0, each/2) })
	f.without(t, messaging.StreamOutcomes, func() { publish(each/2, each) })
	for user := range users {
		var want []string
		for i := range each {
			o := f.decided(t, id(user, i))
			if isBroken(user, i) {
				if o.Status != intake.Dead {
					t.Errorf("%s is %+v", o.CommandID, o)
				}
				continue
			}
			want = append(want, o.CommandID)
			if at := f.position(o.CommandID); o.Status != intake.Accepted || o.Position != at {
				t.Errorf("%s is %+v, it was executed at %d", o.CommandID, o, at)
			}
		}
		if got := f.executed(domain.UserID(fmt.Sprintf("user-%02d", user))); !slices.Equal(got, want) {
			t.Errorf("the commands on user %d were executed as %v", user, got)
		}
	}
	f.checkStreams(t, users*each+1, users*each/10)
}

// checkStreams waits until no command is left, and tells from the sequence of the stream that no outcome was ever written twice. A
// command that was published twice, since its acknowledgement was lost, may have two dead letters.
func (f *fleet) checkStreams(t *testing.T, outcomes, dead uint64) {
	t.Helper()
	state := func(name string) jetstream.StreamState {
		s, err := f.producer.Stream(t.Context(), name)
		must(t, err)
		return s.CachedInfo().State
	}
	eventually(t, "no command is left", func() bool { return state(messaging.StreamCommands).Msgs == 0 })
	if s := state(messaging.StreamOutcomes); s.Msgs != outcomes || s.LastSeq != outcomes {
		t.Errorf("there are %d outcomes up to %d, want %d", s.Msgs, s.LastSeq, outcomes)
	}
	if s := state(messaging.StreamDead); s.Msgs < dead {
		t.Errorf("there are %d dead letters, want %d", s.Msgs, dead)
	}
}

func TestOnAClusterADecisionOverAnExportIsStoredRightBehindWhatWasKnown(t *testing.T) {
	var told []*messaging.Exports
	all := connectEach(t, storetest.RunCluster(t, 3))
	for _, js := range all {
		x, err := messaging.OpenExports(t.Context(), js, 3)
		must(t, err)
		told = append(told, x)
	}
	leader(t, all[0], messaging.StreamExports)
	const jobs = 20
	var stored [jobs]atomic.Int32
	var work sync.WaitGroup
	for n := range jobs {
		job := fmt.Sprintf("01ARZ3NDEKTSV4RRFFQ69G5F%02d", n)
		publish(t, told[0], exportEvent(job, export.Requested), true)
		work.Go(func() { // marks that a decision must not miss, and progress
			for range 5 {
				for _, typ := range []export.EventType{export.Recalled, export.Progressed} {
					if _, err := told[n%3].Publish(t.Context(), exportEvent(job, typ), export.Condition{}); err != nil {
						t.Errorf("tell that %s is %s: %v", job, typ, err)
					}
				}
			}
		})
		for _, x := range told {
			work.Go(func() {
				for {
					last, err := x.Last(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					events, err := x.Load(t.Context(), "shop", job)
					if err != nil {
						t.Error(err)
						return
					}
					if slices.ContainsFunc(events, func(e export.Event) bool { return e.Type == export.Completed }) {
						return
					}
					got, err := x.Publish(t.Context(), exportEvent(job, export.Completed), export.AtEnd(last))
					switch {
					case errors.Is(err, export.ErrConflict):
						continue
					case err != nil:
						t.Error(err)
						return
					case got != last+1:
						t.Errorf("what follows event %d is stored as %d", last, got)
					}
					stored[n].Add(1)
					return
				}
			})
		}
	}
	work.Wait()
	for n := range stored {
		if times := stored[n].Load(); times != 1 {
			t.Errorf("export %d is completed %d times", n, times)
		}
	}
}
