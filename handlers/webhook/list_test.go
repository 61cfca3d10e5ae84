package webhook_test

import (
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"rollcall/eventstore/storetest"
	"rollcall/handlers/export"
	"rollcall/handlers/messaging"
	"rollcall/handlers/webhook"
)

func TestAListHasEachDeliveryOnceThoughTheyChangeMeanwhile(t *testing.T) {
	for name, shape := range map[string]func() (url string, replicas int){
		"one server":    func() (string, int) { return storetest.RunServer(t), 1 },
		"three servers": func() (string, int) { return storetest.RunCluster(t, 3).URL(), 3 },
	} {
		t.Run(name, func(t *testing.T) {
			url, replicas := shape()
			deliveries := newWorld(t, url, replicas).deliveries
			all := make([]webhook.Delivery, 2)
			for i := range all {
				all[i] = webhook.Delivery{ID: ulid.Make().String(), App: app, Webhook: "hook", Event: export.Completed, Status: webhook.Pending, CreatedAt: time.Now()}
				must(t, deliveries.Add(t.Context(), all[i]))
				d, err := deliveries.Get(t.Context(), app, "hook", all[i].ID)
				must(t, err)
				all[i].Revision = d.Revision
			}
			done := make(chan struct{})
			changed := make(chan error)
			go func() { changed <- changeUntil(t, deliveries, all, done) }()
			for range 500 {
				page, more, err := deliveries.List(t.Context(), app, "hook", "", 10)
				if err != nil || more || len(page) != len(all) {
					t.Errorf("%d of %d are listed, more %t, %v", len(page), len(all), more, err)
					break
				}
			}
			close(done)
			must(t, <-changed)
		})
	}
}

// changeUntil changes one delivery after another until done is closed.
func changeUntil(t *testing.T, deliveries *messaging.WebhookDeliveries, all []webhook.Delivery, done <-chan struct{}) (err error) {
	for i := 0; ; i++ {
		select {
		case <-done:
			return nil
		default:
		}
		d := &all[i%len(all)]
		if d.Revision, err = deliveries.Replace(t.Context(), *d); err != nil {
			return err
		}
	}
}
