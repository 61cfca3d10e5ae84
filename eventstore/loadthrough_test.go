package eventstore_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/eventstore"
)

// lagging is a replica that has one event more each time that it is asked.
type lagging struct{ asked int }

func (l *lagging) Load(context.Context, eventstore.AggregateID) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		l.asked++
		for i := range l.asked {
			if !yield(eventstore.Envelope{Position: eventstore.Position(10 * (i + 1))}, nil) {
				return
			}
		}
	}
}

func TestAReplicaThatIsBehindIsAskedAgainAndEachEventComesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []eventstore.Position
		for e, err := range eventstore.LoadThrough(t.Context(), &lagging{}, eventstore.Account("demo", "ann"), 30) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Position)
		}
		if want := []eventstore.Position{10, 20, 30}; !slices.Equal(got, want) {
			t.Errorf("the events are at %v, want %v", got, want)
		}
	})
}

func TestAReplicaThatStaysBehindIsAskedForAsLongAsTheCallerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("enough"))
		defer cancel()
		log, n := &lagging{}, 0
		for _, err := range eventstore.LoadThrough(ctx, log, eventstore.Account("demo", "ann"), 1_000_000) {
			if err != nil {
				if !errors.Is(err, context.Cause(ctx)) {
					t.Errorf("it ends with %v", err)
				}
				break
			}
			n++
		}
		if n == 0 || log.asked < 5 {
			t.Errorf("it was asked %d times for %d events", log.asked, n)
		}
	})
}
