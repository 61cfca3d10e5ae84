package streams_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore/streams"
)

func TestServersAreAskedUntilTheyAgree(t *testing.T) {
	refused := errors.New("refused")
	unavailable := &jetstream.APIError{Code: 503, ErrorCode: 10008}
	settled, answered := streams.Settled[int], streams.Answered[int]
	for what, c := range map[string]struct {
		ask   func(context.Context, func() (int, error)) (int, error)
		says  []error // one after another, the last again and again
		want  error
		asked int // zero for until it is given up
	}{
		"at once":                              {settled, []error{nil}, nil, 1},
		"not there yet, after it was created":  {settled, []error{jetstream.ErrStreamNotFound, jetstream.ErrBucketNotFound, nil}, nil, 3},
		"silent, after it was created":         {settled, []error{context.DeadlineExceeded, unavailable, nil}, nil, 3},
		"never there, although it was created": {settled, []error{jetstream.ErrStreamNotFound}, jetstream.ErrStreamNotFound, 0},
		"refused":                              {settled, []error{refused}, refused, 1},
		"not there, when that is the question": {answered, []error{jetstream.ErrStreamNotFound}, jetstream.ErrStreamNotFound, 1},
		"silent, and then there":               {answered, []error{context.DeadlineExceeded, nil}, nil, 2},
		"silent for good":                      {answered, []error{unavailable}, unavailable, 0},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, asked := time.Now(), 0
				got, err := c.ask(t.Context(), func() (int, error) {
					asked++
					err := c.says[min(asked, len(c.says))-1]
					if err != nil {
						return 0, err
					}
					return 7, nil
				})
				if !errors.Is(err, c.want) || c.want == nil && (err != nil || got != 7) {
					t.Errorf("it ends with %d, %v, want %v", got, err, c.want)
				}
				if took := time.Since(began); c.asked > 0 && asked != c.asked || c.asked == 0 && (took < 10*time.Second || took > time.Minute) {
					t.Errorf("asked %d times in %s, want %d", asked, took, c.asked)
				}
			})
		})
	}
}

func TestWhoeverLeavesIsNotKeptUntilServersAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := streams.Settled(ctx, func() (int, error) { return 0, jetstream.ErrStreamNotFound })
		if took := time.Since(began); !errors.Is(err, jetstream.ErrStreamNotFound) || took != time.Second {
			t.Errorf("after %s: %v", took, err)
		}
	})
}
