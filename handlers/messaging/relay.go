package messaging

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// outcomeAPI begins the subjects on which the stream of outcomes is asked for the latest message of a subject.
const outcomeAPI = "$JS.API.DIRECT.GET." + StreamOutcomes + "."

// maxRelayed is how many questions are under way at once; further ones are refused.
const maxRelayed = 256

// RelayOutcomes leads questions for outcomes on from the connection that those come in by who are let in by this process to a
// cluster, and its answers back, until ctx ends: the servers let no question to JetStream through between them. It is
// not needed where both are one server.
func RelayOutcomes(ctx context.Context, door, cluster *nats.Conn, logger *slog.Logger) error {
	slots := make(chan struct{}, maxRelayed)
	var work sync.WaitGroup
	sub, err := door.QueueSubscribe(outcomeAPI+outcomePrefix+"*.*", rpcService, func(m *nats.Msg) {
		select {
		case slots <- struct{}{}:
		default:
			refuseQuestion(m, http.StatusTooManyRequests, "too many questions at once")
			return
		}
		work.Go(func() {
			defer func() { <-slots }()
			if err := relayOutcome(ctx, m, cluster); err != nil {
				logger.Warn("a question for an outcome is not answered", "subject", m.Subject, "error", err)
				refuseQuestion(m, http.StatusServiceUnavailable, "the stream does not answer")
			}
		})
	})
	if err != nil {
		return fmt.Errorf("relay questions for outcomes: %w", err)
	}
	<-ctx.Done()
	err = sub.Unsubscribe()
	work.Wait()
	if err != nil && !door.IsClosed() {
		return fmt.Errorf("stop to relay questions for outcomes: %w", err)
	}
	return nil
}

func relayOutcome(ctx context.Context, m *nats.Msg, cluster *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	answer, err := cluster.RequestMsgWithContext(ctx, &nats.Msg{Subject: m.Subject})
	if err != nil {
		return err
	}
	return m.RespondMsg(&nats.Msg{Header: answer.Header, Data: answer.Data})
}

// refuseQuestion answers as a stream does that cannot.
func refuseQuestion(m *nats.Msg, status int, why string) {
	h := nats.Header{"Status": {fmt.Sprint(status)}, "Description": {why}}
	_ = m.RespondMsg(&nats.Msg{Header: h}) // who has asked may be gone
}
