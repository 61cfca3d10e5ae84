package streams_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore/streams"
)

var errUnfit = errors.New("the stream is unfit")

func TestEveryDifferenceThatCouldLoseSomethingIsNamed(t *testing.T) {
	want := jetstream.StreamConfig{
		Name: "S", Subjects: []string{"s.>"}, Storage: jetstream.FileStorage, Replicas: 3, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxMsgsPerSubject: 1, MaxMsgs: -1, AllowAtomicPublish: true, RePublish: &jetstream.RePublish{Source: ">", Destination: "stored.>"},
	}
	for name, spoil := range map[string]func(*jetstream.StreamConfig){
		"subjects":                func(c *jetstream.StreamConfig) { c.Subjects = []string{"s.*"} },
		"storage":                 func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"replicas":                func(c *jetstream.StreamConfig) { c.Replicas = 1 },
		"retention":               func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"discard":                 func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew },
		"discard_new_per_subject": func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = true },
		"max_msgs_per_subject":    func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 2 },
		"max_msgs":                func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 },
		"max_bytes":               func(c *jetstream.StreamConfig) { c.MaxBytes = 1000 },
		"max_msg_size":            func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 },
		"max_consumers":           func(c *jetstream.StreamConfig) { c.MaxConsumers = 1 },
		"max_age":                 func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"allow_atomic":            func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
		"allow_rollup_hdrs":       func(c *jetstream.StreamConfig) { c.AllowRollup = true },
		"allow_msg_ttl":           func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"allow_msg_counter":       func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true },
		"no_ack":                  func(c *jetstream.StreamConfig) { c.NoAck = true },
		"sealed":                  func(c *jetstream.StreamConfig) { c.Sealed = true },
		"mirror":                  func(c *jetstream.StreamConfig) { c.Mirror = &jetstream.StreamSource{Name: "T"} },
		"sources":                 func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "T"}} },
		"subject_transform":       func(c *jetstream.StreamConfig) { c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">"} },
		"persist_mode":            func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode },
		"republish": func(c *jetstream.StreamConfig) {
			c.RePublish = &jetstream.RePublish{Source: ">", Destination: "leak.>"}
		},
	} {
		got := want
		spoil(&got)
		if err := streams.Compare(got, want).Err(errUnfit); !errors.Is(err, errUnfit) || !strings.Contains(err.Error(), "stream S: "+name+" is ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatLosesNothingIsNoDifference(t *testing.T) {
	want := jetstream.StreamConfig{Name: "S", Replicas: 1, MaxMsgs: -1, RePublish: &jetstream.RePublish{Source: ">", Destination: "stored.>"}}
	got := jetstream.StreamConfig{Name: "S", Replicas: 3, MaxBytes: -1, MaxConsumers: -1, Description: "ours", AllowAtomicPublish: true}
	if err := streams.Compare(got, want).Err(errUnfit); err != nil {
		t.Error(err)
	}
}
