package export

import (
	"context"
	"errors"
	"fmt"

	"rollcall/domain"
	"rollcall/eventstore"
)

// Sealer keeps the keys that seal what filters search for.
type Sealer interface {
	// NewKey makes a key and returns its id.
	NewKey(ctx context.Context) (string, error)
	// Seal encrypts with a key and binds the result to aad.
	Seal(ctx context.Context, id string, plaintext, aad []byte) ([]byte, error)
	// Unseal undoes Seal. eventstore.ErrKeyDestroyed when the key is no more.
	Unseal(ctx context.Context, id string, sealed, aad []byte) ([]byte, error)
	// Destroy destroys keys. It may be repeated.
	Destroy(ctx context.Context, ids ...string) error
}

// textContext is what the text of a job's filter is sealed to.
func textContext(app domain.AppID, job string) []byte {
	return []byte("export filter\x00" + string(app) + "\x00" + job)
}

// sealText replaces the text that the filter of a requested event searches for, if
// any, by a sealed one.
func (s *Service) sealText(ctx context.Context, e *Event) error {
	text := e.Spec.Filter.Text
	if text == "" {
		return nil
	}
	switch before, err := s.load(ctx, e.App, e.Job); {
	case err == nil && before.keyID != "": // the order is repeated, and a key of its own would be nobody's
		e.KeyID, e.SealedText, e.Spec.Filter.Text = before.keyID, before.sealedText, ""
		return nil
	case err != nil && !errors.Is(err, CodeNotFound):
		return err
	}
	id, err := s.cfg.Sealer.NewKey(ctx)
	if err != nil {
		return fmt.Errorf("make a key for the filter: %w", err)
	}
	sealed, err := s.cfg.Sealer.Seal(ctx, id, []byte(text), textContext(e.App, e.Job))
	if err != nil {
		return fmt.Errorf("seal the filter: %w", err)
	}
	e.KeyID, e.SealedText, e.Spec.Filter.Text = id, sealed, ""
	return nil
}

// reveal returns the job with what its filter searches for, unless the job is
// over or has just ended.
func (s *Service) reveal(ctx context.Context, j Job) (Job, error) {
	j, err := s.unseal(ctx, j)
	if errors.Is(err, eventstore.ErrKeyDestroyed) {
		return j, nil
	}
	return j, err
}

// unseal is reveal for those who must not take an unknown text for none.
func (s *Service) unseal(ctx context.Context, j Job) (Job, error) {
	if j.Status.Finished() {
		return j, nil
	}
	return s.unsealText(ctx, j)
}

// unsealText is unseal whether or not the job is over.
func (s *Service) unsealText(ctx context.Context, j Job) (Job, error) {
	if j.keyID == "" {
		return j, nil
	}
	text, err := s.cfg.Sealer.Unseal(ctx, j.keyID, j.sealedText, textContext(j.App, j.ID))
	if err != nil {
		return j, fmt.Errorf("unseal the filter of export %s: %w", j.ID, err)
	}
	j.Spec.Filter.Text = string(text)
	return j, nil
}

// Searches tells whether the job is of the accounts that hold a text, also when the job is over and the text is known no more.
func (j Job) Searches() bool { return j.keyID != "" || j.Spec.Filter.Text != "" }

// show reads a job from its events, with what its filter searches for.
func (s *Service) show(ctx context.Context, app domain.AppID, id string) (Job, error) {
	j, err := s.load(ctx, app, id)
	if err != nil {
		return Job{}, err
	}
	return s.reveal(ctx, j)
}

// asksFor tells whether a job that was revealed is what a normalized spec orders. What the filter
// searches for is compared while it is known; that there is one always is.
func (j Job) asksFor(s Spec) bool {
	if (s.Filter.Text != "") != (j.keyID != "") {
		return false
	}
	if j.Spec.Filter.Text == "" {
		s.Filter.Text = ""
	}
	return j.Spec.equal(s)
}

// destroyKeys destroys the keys of jobs that are over and whose file is not to be rebuilt. Of those that ended before a start it
// makes sure once more.
func (s *Service) destroyKeys(ctx context.Context) error {
	ids := s.index.spentKeys()
	if len(ids) == 0 {
		return nil
	}
	if err := s.cfg.Sealer.Destroy(ctx, ids...); err != nil {
		return fmt.Errorf("destroy the keys of exports that are over: %w", err)
	}
	s.index.dropKeys(ids)
	return nil
}
