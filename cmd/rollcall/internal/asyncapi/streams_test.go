package asyncapi_test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore/jetstream"
)

// inner are the streams that nobody outside has to do with.
var inner = []string{"EXPORT_JOBS", "KEYS", "WEBHOOKS"}

func TestStreamsAreSetUpAsTheDocumentSays(t *testing.T) {
	r := newRig(t)
	r.stop(t)
	set := streamsOf(t, r.data)
	var names []string
	for name := range set {
		if !slices.Contains(inner, name) && !strings.HasPrefix(name, "KV_") {
			names = append(names, name)
		}
	}
	documented := r.document.object(t, "x-streams")
	same(t, "stream", slices.Sorted(maps.Keys(documented)), names)
	for name, v := range documented {
		compareStream(t, name, v.(map[string]any), set[name])
	}
	for _, c := range r.document.channels(t) {
		var holders []string
		for name, cfg := range set {
			if slices.ContainsFunc(cfg.Subjects, func(s string) bool { return covers(s, c.pattern()) }) {
				holders = append(holders, name)
			}
		}
		if c.stream != strings.Join(holders, " ") {
			t.Errorf("channel %s is in stream %q, in the code in %q", c.name, c.stream, holders)
		}
	}
}

// streamsOf returns how the streams in the folder of a stopped service are set up.
func streamsOf(t *testing.T, data string) map[string]natsjs.StreamConfig {
	t.Helper()
	log, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: filepath.Join(data, "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Stop(); err != nil {
			t.Error(err)
		}
	})
	nc, err := log.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	set := make(map[string]natsjs.StreamConfig)
	list := js.ListStreams(t.Context())
	for info := range list.Info() {
		set[info.Config.Name] = info.Config
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}

// compareStream compares what the document says of a stream with its set-up.
func compareStream(t *testing.T, name string, documented map[string]any, cfg natsjs.StreamConfig) {
	t.Helper()
	if got := texts(t, documented["subjects"]); !slices.Equal(got, cfg.Subjects) {
		t.Errorf("stream %s has subjects %q, in the document %q", name, cfg.Subjects, got)
	}
	for member, set := range map[string]int64{"max_messages_per_subject": max(cfg.MaxMsgsPerSubject, 0), "max_bytes": max(cfg.MaxBytes, 0)} {
		limit, _ := documented[member].(json.Number)
		if n, err := limit.Int64(); (err == nil || limit != "") && n != set || limit == "" && set != 0 {
			t.Errorf("stream %s has %s %d, in the document %q", name, member, set, limit)
		}
	}
	age := time.Duration(0)
	if text, ok := documented["max_age"].(string); ok {
		var err error
		if age, err = time.ParseDuration(text); err != nil {
			t.Error(err)
		}
	}
	if age != cfg.MaxAge {
		t.Errorf("stream %s keeps messages for %s, in the document %s", name, cfg.MaxAge, age)
	}
}
