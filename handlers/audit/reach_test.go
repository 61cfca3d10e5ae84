package audit_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/eventstore"
	"rollcall/handlers/audit"
)

// growingLog is a log that has one event more each second.
type growingLog struct {
	audit.Log
	began time.Time
	fault error
}

func (l growingLog) Last(context.Context) (eventstore.Position, error) {
	return eventstore.Position(time.Since(l.began) / time.Second), l.fault
}

func TestAReadWaitsUntilTheLogHasReachedItsPosition(t *testing.T) {
	broken := errors.New("broken")
	for what, c := range map[string]struct {
		minimum eventstore.Position
		fault   error
		within  time.Duration // of the caller
		want    error
		took    time.Duration
	}{
		"none":                   {fault: broken},
		"one that comes":         {minimum: 3, took: 3 * time.Second},
		"one that does not come": {minimum: 9, want: audit.ErrNotReached, took: 5 * time.Second},
		"a log that fails":       {minimum: 1, fault: broken, want: broken},
		"a caller that leaves":   {minimum: 9, within: time.Second, want: context.DeadlineExceeded, took: time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.within > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, c.within)
					defer cancel()
				}
				began := time.Now()
				s := audit.New(growingLog{began: began, fault: c.fault}, nil)
				if err := s.Reach(ctx, c.minimum); !errors.Is(err, c.want) || c.want == nil && err != nil {
					t.Errorf("it ends with %v, want %v", err, c.want)
				}
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
			})
		})
	}
}
