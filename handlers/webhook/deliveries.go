package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"rollcall/domain"
)

// Test sends an event of the type Test to a webhook and returns its delivery, which is pending. Errors: *domain.Rejection with
// CodeNotFound or CodeDisabled.
func (s *Service) Test(ctx context.Context, actor string, app domain.AppID, id string) (Delivery, error) {
	w, err := s.enabled(ctx, app, id)
	if err != nil {
		return Delivery{}, err
	}
	now := s.cfg.Now().UTC()
	d := Delivery{ID: ulid.Make().String(), App: app, Webhook: id, Event: Test, Status: Pending, CreatedAt: now, Since: now, NextAttempt: now}
	if d.Body, err = testBody(d, actor, now); err != nil {
		return Delivery{}, err
	}
	if err := s.add(ctx, d); err != nil {
		return Delivery{}, fmt.Errorf("test webhook %s: %w", w.ID, err)
	}
	return d, nil
}

// trimEvery is how many deliveries of an application are added until they are trimmed.
const trimEvery = 1000

// add keeps a new delivery, and now and then only so many of its application.
func (s *Service) add(ctx context.Context, d Delivery) error {
	if err := s.cfg.Deliveries.Add(ctx, d); err != nil || !s.full(d.App) {
		return err
	}
	switch removed, err := s.cfg.Deliveries.Trim(ctx, d.App, MaxKept); {
	case err != nil:
		s.cfg.Logger.Warn("old deliveries of an application are kept for now", "app", d.App, "error", err)
	case removed > 0:
		s.cfg.Logger.Warn("an application has more deliveries than are kept; those that changed longest ago are removed", "app", d.App, "removed", removed, "kept", MaxKept)
	}
	return nil
}

// full counts a delivery, and tells when there are so many that they are to be trimmed.
func (s *Service) full(app domain.AppID) bool {
	s.adding.Lock()
	defer s.adding.Unlock()
	if s.added[app]++; s.added[app] < trimEvery {
		return false
	}
	delete(s.added, app)
	return true
}

// testBody returns what a test sends: a CloudEvent like those of exports.
func testBody(d Delivery, actor string, now time.Time) ([]byte, error) {
	return json.Marshal(struct {
		SpecVersion     string            `json:"specversion"`
		ID              string            `json:"id"`
		Source          string            `json:"source"`
		Type            string            `json:"type"`
		Subject         string            `json:"subject"`
		Time            time.Time         `json:"time"`
		DataContentType string            `json:"datacontenttype"`
		App             domain.AppID      `json:"app"`
		Actor           string            `json:"actor"`
		Data            map[string]string `json:"data"`
	}{"1.0", d.ID, "/rollcall", "webhook.test.v1", d.Webhook, now, "application/json", d.App, actor, map[string]string{"webhook_id": d.Webhook}})
}

// enabled returns a webhook that events are sent to.
func (s *Service) enabled(ctx context.Context, app domain.AppID, id string) (Webhook, error) {
	w, err := s.Get(ctx, app, id)
	if err == nil && w.Disabled() {
		err = &domain.Rejection{Code: CodeDisabled, Detail: fmt.Sprintf("webhook %s is disabled: %s; register it again", id, w.DisabledReason)}
	}
	return w, err
}

// Deliveries returns deliveries of a webhook without their bodies, the newest first: at most limit of them, 1 to MaxListed, behind
// the cursor of the page before. Next is the cursor of the next page, empty at the end.
//
// Errors: *domain.Rejection with CodeNotFound or CodeInvalidCursor.
func (s *Service) Deliveries(ctx context.Context, app domain.AppID, id string, limit int, cursor string) (page []Delivery, next string, err error) {
	if _, err := ulid.ParseStrict(cursor); cursor != "" && err != nil {
		return nil, "", &domain.Rejection{Code: CodeInvalidCursor, Detail: "the cursor is not one that this list gave; begin again without one"}
	}
	if _, err := s.get(ctx, app, id); err != nil {
		return nil, "", err
	}
	page, more, err := s.cfg.Deliveries.List(ctx, app, id, cursor, min(max(limit, 1), MaxListed))
	if err != nil {
		return nil, "", fmt.Errorf("list the deliveries of webhook %s: %w", id, err)
	}
	if more {
		next = page[len(page)-1].ID
	}
	return page, next, nil
}

// Retry sends a delivery again, also one that was delivered or given up, under the same id, and returns it.
//
// Errors: *domain.Rejection with CodeNotFound, CodeDeliveryNotFound or CodeDisabled.
func (s *Service) Retry(ctx context.Context, app domain.AppID, webhook, id string) (Delivery, error) {
	if _, err := s.enabled(ctx, app, webhook); err != nil {
		return Delivery{}, err
	}
	none := &domain.Rejection{Code: CodeDeliveryNotFound, Detail: fmt.Sprintf("webhook %s has no delivery %q; the list of them shows those that are kept", webhook, id)}
	if _, err := ulid.ParseStrict(id); err != nil {
		return Delivery{}, none
	}
	for {
		d, err := s.cfg.Deliveries.Get(ctx, app, webhook, id)
		switch {
		case errors.Is(err, ErrNotFound):
			return Delivery{}, none
		case err != nil:
			return Delivery{}, fmt.Errorf("retry delivery %s: %w", id, err)
		}
		now := s.cfg.Now().UTC()
		d.Status, d.Attempts, d.Since, d.NextAttempt = Pending, 0, now, now
		d.Revision, err = s.cfg.Deliveries.Replace(ctx, d)
		switch {
		case errors.Is(err, ErrChanged):
			continue
		case err != nil:
			return Delivery{}, fmt.Errorf("retry delivery %s: %w", id, err)
		}
		d.Body = nil
		return d, nil
	}
}
