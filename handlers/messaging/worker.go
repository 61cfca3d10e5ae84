package messaging

import (
	"context"
	"log/slog"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

// worker handles the messages of a stream.
type worker struct {
	what       string // for the log, in the plural
	stream     string
	subscriber SubscriberConfig
	router     RouterConfig
	handle     message.NoPublishHandlerFunc
	around     []message.HandlerMiddleware
}

// run works until ctx ends, and then waits for its handlers. It returns nil then, and an error only for a config that
// cannot be. When it cannot begin, or is thrown out, it tries again after a pause that grows like that of a message.
func (w worker) run(ctx context.Context, js jetstream.JetStream) error {
	if w.router.Logger == nil {
		w.router.Logger = slog.New(slog.DiscardHandler)
	}
	w.subscriber.Logger = w.router.Logger
	w.router.setDefaults()
	for wait := w.router.RetryAfter; ctx.Err() == nil; wait = min(2*wait, w.router.MaxRetryAfter) {
		subscriber, err := NewSubscriber(js, w.subscriber)
		if err != nil {
			return err
		}
		// A router that cannot subscribe leaves a goroutine behind, so that it is tried without one first.
		if _, err = subscriber.begin(ctx, w.stream); err == nil {
			err = w.route(ctx, subscriber)
		}
		if ctx.Err() != nil {
			break
		}
		w.router.Logger.Warn(w.what+" cannot be worked on; trying again", "error", err)
		pause(ctx, wait)
	}
	return nil
}

// route hands out messages until ctx ends and then waits for its handlers, or returns why it could not begin.
func (w worker) route(ctx context.Context, subscriber *Subscriber) error {
	router, err := NewRouter(w.router)
	if err != nil {
		return err
	}
	router.AddConsumerHandler(w.what, w.stream, subscriber, w.handle).AddMiddleware(w.around...)
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-ended:
			return
		}
		select {
		case <-router.Running(): // one that is closed before it runs loses its handlers
		case <-ended:
			return
		}
		if err := router.Close(); err != nil {
			w.router.Logger.Warn(w.what+" did not stop in time", "error", err)
		}
	})
	// The router must not see ctx end: it would cancel what it is to wait for.
	err = router.Run(context.WithoutCancel(ctx))
	close(ended)
	wg.Wait()
	return err
}
