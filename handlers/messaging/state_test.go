package messaging_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/handlers/messaging"
)

func TestStateKeepsTheLatestNumberOfEachName(t *testing.T) {
	n := newNode(t)
	state, err := messaging.OpenState(t.Context(), n.connect(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := state.Get(t.Context(), "erasure"); err != nil || got != 0 {
		t.Errorf("nothing was put: %d, %v", got, err)
	}
	for _, v := range []uint64{1, math.MaxUint64, 0, 7} {
		if err := state.Put(t.Context(), "erasure", v); err != nil {
			t.Fatal(err)
		}
		if got, err := state.Get(t.Context(), "erasure"); err != nil || got != v {
			t.Errorf("got %d, %v, want %d", got, err, v)
		}
	}
	if got, err := state.Get(t.Context(), "another"); err != nil || got != 0 {
		t.Errorf("another name: %d, %v", got, err)
	}
	if err := state.Put(t.Context(), "not a name", 1); !errors.Is(err, jetstream.ErrInvalidKey) {
		t.Errorf("a name with spaces: %v", err)
	}

	n.stop()
	n.start(t)
	again, err := messaging.OpenState(t.Context(), n.connect(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Get(t.Context(), "erasure"); err != nil || got != 7 {
		t.Errorf("after a restart: %d, %v, want 7", got, err)
	}
}

func TestStateRefusesAValueThatIsNoNumber(t *testing.T) {
	js := newNode(t).connect(t)
	state, err := messaging.OpenState(t.Context(), js, 1)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "ROLLCALL_STATE")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"", "-1", "seven", "18446744073709551616"} {
		if _, err := kv.PutString(t.Context(), "erasure", v); err != nil {
			t.Fatal(err)
		}
		if got, err := state.Get(t.Context(), "erasure"); err == nil {
			t.Errorf("%q is %d", v, got)
		}
	}
}

func TestABucketThatForgetsIsRefused(t *testing.T) {
	for name, cfg := range map[string]jetstream.KeyValueConfig{
		"ttl":     {TTL: time.Hour},
		"storage": {Storage: jetstream.MemoryStorage},
	} {
		js := newNode(t).connect(t)
		for _, bucket := range []string{"ROLLCALL_STATE", "ROLLCALL_TOKENS"} {
			cfg.Bucket = bucket
			if _, err := js.CreateKeyValue(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
		}
		_, serr := messaging.OpenState(t.Context(), js, 1)
		_, terr := messaging.OpenTokens(t.Context(), js, 1)
		for _, err := range []error{serr, terr} {
			if !errors.Is(err, messaging.ErrBucket) || !strings.Contains(err.Error(), name+" is") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestAllInstancesOnALogHaveOneIDAndThoseOnAnotherAnother(t *testing.T) {
	n := newNode(t)
	ids := make(chan string)
	const instances = 8
	for range instances {
		state, err := messaging.OpenState(t.Context(), n.connect(t), 1)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			id, err := state.ID(t.Context())
			if err != nil {
				t.Error(err)
			}
			ids <- id
		}()
	}
	first := <-ids
	for range instances - 1 {
		if id := <-ids; id != first {
			t.Errorf("one has %q, another %q", first, id)
		}
	}
	state, err := messaging.OpenState(t.Context(), newNode(t).connect(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := state.ID(t.Context()); err != nil || id == first || id == "" {
		t.Errorf("another log has %q, %v", id, err)
	}
}
