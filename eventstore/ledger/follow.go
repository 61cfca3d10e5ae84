package ledger

import (
	"context"
	"iter"
	"time"

	"rollcall/eventstore"
)

// Last returns the position of the latest event in the log.
func (l *Ledger) Last(ctx context.Context) (eventstore.Position, error) { return l.log.Last(ctx) }

// Subscribe follows the log for the ledger, which is in no hurry: twice an interval it reads what has been written meanwhile. To have each
// event delivered as it happens would cost the appends beside it ten times as much.
func (l *Ledger) Subscribe(ctx context.Context, from eventstore.Position) (eventstore.Subscription, error) {
	ctx, cancel := context.WithCancel(ctx)
	return &following{ledger: l, ctx: ctx, cancel: cancel, at: max(from, 1)}, nil
}

// following is a place in the log that moves forward now and then.
type following struct {
	ledger *Ledger
	ctx    context.Context // of what is read, from one call of Next to another
	cancel context.CancelFunc
	at     eventstore.Position // the next to be returned
	until  eventstore.Position // the end of what is being read
	read   func() (eventstore.Envelope, error, bool)
	stop   func()
	rested bool // whether Next has waited since the log was looked at
}

// Next implements eventstore.Subscription.
func (f *following) Next(ctx context.Context, limit int) ([]eventstore.Envelope, error) {
	for f.read == nil {
		if err := f.look(ctx); err != nil {
			return nil, err
		}
	}
	var events []eventstore.Envelope
	for len(events) < max(limit, 1) {
		e, err, more := f.read()
		if err != nil {
			f.end()
			if len(events) > 0 {
				return events, nil // the next call reads on from there, and tells
			}
			return nil, err
		}
		if !more {
			f.end()
			break
		}
		events = append(events, e)
		if f.at = e.Position + 1; f.at > f.until {
			f.end()
			break
		}
	}
	return events, nil
}

// look begins to read when there is something new, and otherwise waits a while.
func (f *following) look(ctx context.Context) error {
	if f.rested {
		t := time.NewTimer(f.ledger.opts.Interval / 2)
		defer t.Stop()
		select {
		case <-t.C:
		case <-f.ledger.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.rested = true
	last, err := f.ledger.log.Last(ctx)
	if err != nil || last < f.at {
		return err
	}
	f.until = last
	f.read, f.stop = iter.Pull2(f.ledger.log.Read(f.ctx, f.at, last))
	return nil
}

// end ends what is being read.
func (f *following) end() {
	if f.stop != nil {
		f.stop()
	}
	f.read, f.stop = nil, nil
}

// Close implements eventstore.Subscription.
func (f *following) Close() {
	f.cancel()
	f.end()
}
