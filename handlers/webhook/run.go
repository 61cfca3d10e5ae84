package webhook

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"rollcall/handlers/export"
)

const (
	checkpointName = "webhooks"
	// keepEvery is how often a checkpoint is kept when there was nothing to deliver.
	keepEvery = 10 * time.Second
	// pauseAfter is how long Run waits when the log cannot be reached.
	pauseAfter = time.Second
)

// Run makes deliveries of events, and makes them arrive, until ctx ends; it then returns nil. Attempts that are under way
// are broken off and made again by whoever runs next. What cannot be reached is tried again. One instance at a time runs it; should two do
// so for a moment, receivers get an event twice.
func (s *Service) Run(ctx context.Context) error {
	lanes := newLanes(ctx, func(ctx context.Context, k key) (Delivery, error) {
		d, err := s.attempt(ctx, k)
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrChanged) {
			s.cfg.Logger.Warn("a delivery to a webhook is attempted anew, for it could not be read or kept", "app", k.app, "webhook", k.webhook, "delivery", k.id, "error", err)
		}
		return d, err
	})
	var wg sync.WaitGroup
	wg.Go(func() { s.persist(ctx, "the events of exports", s.fanOut) })
	wg.Go(func() {
		s.persist(ctx, "deliveries", func(ctx context.Context) error {
			for d, err := range s.cfg.Deliveries.Follow(ctx) {
				if err != nil {
					return err
				}
				lanes.put(d)
			}
			return errors.New("the stream of deliveries ended")
		})
	})
	wg.Wait()
	lanes.wait()
	s.sender.close()
	return nil
}

// persist follows something until ctx ends.
func (s *Service) persist(ctx context.Context, what string, follow func(context.Context) error) {
	for ctx.Err() == nil {
		err := follow(ctx)
		if ctx.Err() != nil {
			return
		}
		s.cfg.Logger.Warn("webhooks wait, for "+what+" cannot be followed; trying again", "error", err)
		sleep(ctx, pauseAfter)
	}
}

// sleep waits for a time or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// fanOut makes a delivery of each event for each webhook that wants it. An event is passed only when its deliveries are on disk.
func (s *Service) fanOut(ctx context.Context) error {
	checkpoint, err := s.cfg.Checkpoints.Get(ctx, checkpointName)
	if err != nil {
		return err
	}
	kept := s.cfg.Now()
	for e, err := range s.cfg.Events.Follow(ctx, checkpoint+1, "", "") {
		if err != nil {
			return err
		}
		made, err := s.deliver(ctx, e)
		if err != nil {
			return err
		}
		if now := s.cfg.Now(); made || now.Sub(kept) >= keepEvery {
			if err := s.cfg.Checkpoints.Put(ctx, checkpointName, e.Sequence); err != nil {
				return err
			}
			kept = now
		}
	}
	return errors.New("the stream of export events ended")
}

// deliver makes the deliveries of an event, and tells whether there are any. Receivers believe what they get: one that does not count is not
// sent.
func (s *Service) deliver(ctx context.Context, e export.Event) (bool, error) {
	if !slices.Contains(EventTypes(), e.Type) {
		return false, nil
	}
	records, err := s.cfg.Registry.List(ctx, e.App)
	if err != nil {
		return false, err
	}
	records = slices.DeleteFunc(records, func(r Record) bool { return !r.wants(e) })
	if len(records) == 0 {
		return false, nil
	}
	ofJob, err := s.cfg.Events.Load(ctx, e.App, e.Job)
	if err != nil || !e.Counts(ofJob) {
		return false, err
	}
	body, err := export.MarshalEvent(e)
	if err != nil {
		return false, err
	}
	for _, r := range records {
		now := s.cfg.Now().UTC()
		err := s.add(ctx, Delivery{
			ID: e.ID, App: e.App, Webhook: r.ID, Event: e.Type, Job: e.Job, Body: body, Status: Pending, CreatedAt: now, Since: now, NextAttempt: now,
		})
		if err != nil {
			return false, fmt.Errorf("deliver event %s: %w", e.ID, err)
		}
	}
	return true, nil
}

// attempt sends a delivery, keeps what became of it, and returns it. An error means that this is not known or not kept: it
// is then sent again.
func (s *Service) attempt(ctx context.Context, k key) (Delivery, error) {
	d, err := s.cfg.Deliveries.Get(ctx, k.app, k.webhook, k.id)
	if err != nil || d.Status != Pending {
		return d, err
	}
	r, err := s.cfg.Registry.Get(ctx, k.app, k.webhook)
	if err != nil {
		return d, err
	}
	began := s.cfg.Now()
	a, err := s.send(ctx, r, d, began)
	if err != nil {
		return d, err
	}
	took := s.cfg.Now().Sub(began)
	d = s.concluded(d, a, began.UTC(), took)
	if a.gone {
		if err := s.disable(ctx, r, a.err); err != nil {
			return d, err
		}
	}
	revision, err := s.cfg.Deliveries.Replace(ctx, d)
	if err != nil {
		return d, err
	}
	d.Revision = revision
	s.cfg.Observe(d.Status, took)
	if d.Status == Failed {
		s.cfg.Logger.Warn("an event could not be delivered to a webhook", "app", d.App, "webhook", d.Webhook, "delivery", d.ID, "attempts", d.Attempts, "error", d.Error)
	}
	return d, nil
}

// send makes one attempt, none for a webhook that is disabled. An error means that it was broken off.
func (s *Service) send(ctx context.Context, r Record, d Delivery, at time.Time) (answer, error) {
	if r.Disabled() {
		return answer{gone: true, err: r.DisabledReason}, nil
	}
	signature, err := s.sealer.sign(r, d.ID, at, d.Body)
	if err != nil {
		return answer{err: err.Error()}, nil
	}
	a := s.sender.send(ctx, d, r.URL, signature, at)
	return a, ctx.Err()
}

// concluded returns a delivery after an attempt.
func (s *Service) concluded(d Delivery, a answer, began time.Time, took time.Duration) Delivery {
	d.Attempts++
	d.LastAttempt, d.Took, d.StatusCode, d.Error, d.NextAttempt = began, took, a.status, a.err, time.Time{}
	ended := began.Add(took)
	next := ended.Add(max(s.backoff(d.Attempts), a.wait))
	switch {
	case a.err == "":
		d.Status = Delivered
	case a.gone || next.Sub(d.Since) > s.cfg.GiveUpAfter:
		d.Status = Failed
	default:
		d.NextAttempt = next
	}
	return d
}

// backoff returns how long to wait behind so many attempts.
func (s *Service) backoff(attempts int) time.Duration {
	wait := s.cfg.RetryAfter
	for range attempts - 1 {
		if wait = 3 * wait; wait >= s.cfg.MaxRetryAfter {
			break
		}
	}
	wait = min(wait, s.cfg.MaxRetryAfter)
	const least, spread = 0.75, 0.5
	return time.Duration(float64(wait) * (least + spread*rand.Float64()))
}

// disable has nothing sent to a webhook any more.
func (s *Service) disable(ctx context.Context, r Record, reason string) error {
	if r.Disabled() {
		return nil
	}
	_, err := s.change(ctx, r.App, r.ID, func(r *Record) { r.DisabledAt, r.DisabledReason = s.cfg.Now().UTC(), reason })
	if err == nil {
		s.cfg.Logger.Warn("a webhook is disabled", "app", r.App, "webhook", r.ID, "reason", reason)
	}
	return err
}
