package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"rollcall/eventstore"
)

// Defaults of a runner.
const (
	defaultBatch  = 8192
	firstBatch    = 256
	idleAfter     = 200 * time.Millisecond
	idleRetry     = 200 * time.Millisecond
	shortestRetry = 50 * time.Millisecond
	longestRetry  = 5 * time.Second
	longestRest   = 50 * time.Millisecond
	restRatio     = 4
	shortPatience = 15 * time.Second // longer than servers need to agree on a leader
)

// Option changes how a runner works.
type Option func(*Runner)

// WithLogger sets where the runner tells of trouble; by default nowhere.
func WithLogger(l *slog.Logger) Option { return func(r *Runner) { r.log = l } }

// WithBatch bounds how many events are applied in one transaction, 8,192 by
// default, and so how much memory they need. Numbers below 1 are taken as 1.
func WithBatch(most int) Option { return func(r *Runner) { r.batch = max(most, 1) } }

// WithObserver has a function told of each batch, whatever became of it. It is called by one goroutine, between
// batches.
func WithObserver(o func(context.Context, Batch)) Option { return func(r *Runner) { r.observe = o } }

// Batch is an attempt to apply events that follow each other.
type Batch struct {
	Projection string
	Events     []eventstore.Envelope
	Began      time.Time
	Took       time.Duration
	Err        error // why not all of them are applied
}

// Lead does work whenever this instance is the one that may, until ctx ends or work returns by itself. The context of work ends
// when another instance takes over.
type Lead func(ctx context.Context, work func(context.Context) error) error

// WithLead shares a projection among instances: the runner applies events while lead lets it, and otherwise watches the checkpoint that
// another instance moves. The projection's fence, not the lead, keeps two from both applying an event.
func WithLead(l Lead) Option { return func(r *Runner) { r.lead = l } }

// Runner feeds a projection from the log, in order and without a hole. Create one with
// NewRunner.
type Runner struct {
	source     Log
	projection Projection
	log        *slog.Logger
	batch      int
	lead       Lead
	observe    func(context.Context, Batch)
	shortSince time.Time // when the log began to say that it ends before the checkpoint; of the goroutine that applies

	mu       sync.Mutex
	position eventstore.Position
	last     eventstore.Position
	halted   error
	retrying error
	running  bool
	leading  bool
	stopped  bool
	took     time.Duration // the last batch
	waiting  waiters
	hurry    chan struct{} // told when someone begins to wait
}

// NewRunner returns a runner of p. Run starts it.
func NewRunner(log Log, p Projection, opts ...Option) *Runner {
	r := &Runner{source: log, projection: p, log: slog.New(slog.DiscardHandler), batch: defaultBatch,
		observe: func(context.Context, Batch) {}, hurry: make(chan struct{}, 1)}
	for _, opt := range opts {
		opt(r)
	}
	r.log = r.log.With("projection", p.Name())
	return r
}

// Run applies events until the context ends, then returns nil. Trouble that
// may pass is retried with a growing pause. What cannot pass halts the projection, and
// Run returns a *HaltError: a hole in the log, a checkpoint past its end
// (both eventstore.ErrDamaged), or an event that can never be applied (an *EventError). The
// events before it have then been applied, and nothing is skipped. A projection that is shared among instances stays halted only until
// its checkpoint is moved by another one, or by whoever builds it anew; Run goes on then, and returns for a damaged log alone. A runner runs once.
func (r *Runner) Run(ctx context.Context) error {
	if err := r.begin(); err != nil {
		return err
	}
	var err error
	if r.lead == nil {
		err = r.alone(ctx)
	} else {
		err = r.share(ctx)
	}
	r.end(err)
	if err != nil {
		r.log.Error("projection has halted", "error", err)
	}
	return err
}

func (r *Runner) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		return fmt.Errorf("projection %s: a runner runs once", r.projection.Name())
	}
	r.running = true
	return nil
}

// retry follows the log over and over, until the context ends or the projection halts.
func (r *Runner) retry(ctx context.Context) error {
	pause := shortestRetry
	for {
		progress, err := r.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if halt := r.halt(err); halt != nil {
			return halt
		}
		if progress {
			pause = shortestRetry
		}
		r.trouble(err)
		r.log.Warn("projection retries", "error", err, "pause", pause)
		if !sleep(ctx, pause/2+rand.N(pause/2+1)) {
			return nil
		}
		pause = min(2*pause, longestRetry)
	}
}

// halt returns the HaltError for an error that does not pass, nil for one that may.
func (r *Runner) halt(err error) error {
	var event *EventError
	var missing *damage
	switch {
	case errors.As(err, &event):
		return &HaltError{Projection: r.projection.Name(), Position: event.Position, Err: err}
	case errors.As(err, &missing):
		return &HaltError{Projection: r.projection.Name(), Position: missing.at, Err: err}
	case errors.Is(err, eventstore.ErrDamaged), errors.Is(err, ErrBroken):
		return &HaltError{Projection: r.projection.Name(), Position: r.Status().Position + 1, Err: err}
	}
	return nil
}

// follow applies what the log holds past the checkpoint and what is added to it,
// until something fails. It tells whether anything was applied.
func (r *Runner) follow(ctx context.Context) (progress bool, err error) {
	checkpoint, err := r.projection.Checkpoint(ctx)
	if err != nil {
		return false, fmt.Errorf("read the checkpoint: %w", err)
	}
	last, err := r.source.Last(ctx)
	if err != nil {
		return false, fmt.Errorf("read the end of the log: %w", err)
	}
	if checkpoint > last {
		return false, r.short(last, checkpoint)
	}
	r.shortSince = time.Time{}
	r.saw(last)
	r.moved(checkpoint)
	r.trouble(nil)

	sub, err := r.source.Subscribe(ctx, checkpoint+1)
	if err != nil {
		return false, fmt.Errorf("subscribe to the log: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan batch)
	var readErr error // read after batches is closed
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(batches)
		defer sub.Close()
		readErr = r.read(ctx, sub, last, batches)
	})
	defer reader.Wait()
	defer cancel()

	progress, err = r.applyAll(ctx, checkpoint, batches)
	if err == nil { // batches was closed
		err = readErr
	}
	return progress, err
}

// short returns the error of a log that ends before the checkpoint. A server that was the leader of a cluster may answer for a while what
// is not so any more, so it is damage only once the log has answered nothing else for as long as that may last.
func (r *Runner) short(last, checkpoint eventstore.Position) error {
	if r.shortSince.IsZero() {
		r.shortSince = time.Now()
	}
	if time.Since(r.shortSince) < shortPatience {
		return fmt.Errorf("the log says that it ends at position %d, before the checkpoint %d; it is asked again", last, checkpoint)
	}
	return &damage{at: last + 1, detail: fmt.Sprintf("it ends at position %d and the checkpoint is %d, so it has lost events; "+
		"stop all writers and restore the log from a backup, or rebuild the projection if the loss is accepted", last, checkpoint)}
}

// batch is events that are ready to be applied.
type batch struct {
	events []eventstore.Envelope
	apply  Prepared
}

// read takes events from the subscription and prepares them while those before are applied. The
// limit grows while there are more events than it lets through, and stays while events come that were in the log before, up to end.
func (r *Runner) read(ctx context.Context, sub eventstore.Subscription, end eventstore.Position, batches chan<- batch) error {
	limit := min(firstBatch, r.batch)
	for {
		events, err := sub.Next(ctx, limit)
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if len(events) == 0 {
			continue
		}
		at := events[len(events)-1].Position
		r.saw(at)
		select {
		case batches <- batch{events, r.prepare(ctx, events)}:
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case len(events) >= limit:
			limit = min(2*limit, r.batch)
		case at >= end:
			limit = min(firstBatch, r.batch)
			r.rest(ctx)
		}
	}
}

// prepare does what can be done for events before it is their turn.
func (r *Runner) prepare(ctx context.Context, events []eventstore.Envelope) Prepared {
	if p, ok := r.projection.(Preparer); ok {
		return p.Prepare(ctx, events)
	}
	return func(ctx context.Context, from eventstore.Position) error {
		return r.projection.Apply(ctx, from, events)
	}
}

// rest lets events gather while the projection keeps up with a stream of them: many in
// one transaction cost much less than few in each of many. It lasts a few times as long
// as the last batch took, and ends at once when somebody waits for the projection.
func (r *Runner) rest(ctx context.Context) {
	r.mu.Lock()
	pause, awaited := min(restRatio*r.took, longestRest), len(r.waiting) > 0
	r.mu.Unlock()
	if awaited {
		return
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.hurry:
	case <-ctx.Done():
	}
}

// applyAll applies batches until there are no more or one fails. It calls the
// projection's Idle when none comes for a moment.
func (r *Runner) applyAll(ctx context.Context, checkpoint eventstore.Position, batches <-chan batch) (progress bool, err error) {
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	for {
		select {
		case b, ok := <-batches:
			if !ok {
				return progress, nil
			}
			seen := Batch{Projection: r.projection.Name(), Events: b.events, Began: time.Now()}
			seen.Err = r.apply(ctx, checkpoint, b)
			seen.Took = time.Since(seen.Began)
			r.observe(ctx, seen)
			if seen.Err != nil {
				return progress, seen.Err
			}
			r.timed(seen.Took)
			progress = true
			checkpoint += eventstore.Position(len(b.events))
			idle.Reset(idleAfter)
		case <-idle.C:
			idler, ok := r.projection.(Idler)
			if !ok {
				continue
			}
			if err := idler.Idle(ctx); err != nil && ctx.Err() == nil {
				r.log.Debug("projection has more to tidy up", "error", err, "pause", idleRetry)
				idle.Reset(idleRetry)
			}
		case <-ctx.Done():
			return progress, ctx.Err()
		}
	}
}

// apply applies one batch. When an event is missing or can never be applied, those
// before it are applied first.
func (r *Runner) apply(ctx context.Context, from eventstore.Position, b batch) error {
	events := b.events
	var hole *damage
	if err := CheckOrder(from, events); errors.As(err, &hole) {
		return r.applyBefore(ctx, from, events, hole.at, err)
	}
	err := b.apply(ctx, from)
	var bad *EventError
	if errors.As(err, &bad) {
		return r.applyBefore(ctx, from, events, bad.Position, err)
	}
	if err != nil {
		return fmt.Errorf("apply %d events from position %d: %w", len(events), from+1, err)
	}
	r.moved(from + eventstore.Position(len(events)))
	return nil
}

// applyBefore applies the events before a position and then returns cause.
func (r *Runner) applyBefore(ctx context.Context, from eventstore.Position, events []eventstore.Envelope, bad eventstore.Position, cause error) error {
	if bad <= from+1 || bad > from+eventstore.Position(len(events)) {
		return cause
	}
	good := events[:bad-from-1]
	if err := r.projection.Apply(ctx, from, good); err != nil {
		return fmt.Errorf("apply %d events from position %d: %w", len(good), from+1, err)
	}
	r.moved(bad - 1)
	return cause
}

// sleep waits and tells whether it could do so to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
