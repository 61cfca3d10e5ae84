package export

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"rollcall/domain"
)

// CodeQuota is the code of a rejection: the application has as many exports, or as many bytes of them, as it may. Over HTTP it
// is 409, for asking again changes nothing until an export is over.
const CodeQuota domain.Code = "export_quota_exceeded"

// Quota bounds the live exports of one application: those that wait, run, or have a file. Zero of either means no limit. Orders
// that reach several instances at the same moment may pass it by as many as there are instances, and so may files that several instances finish
// within a second.
type Quota struct {
	MaxLive  int
	MaxBytes int64 // of their files, those included that are being written
}

// usage is what of a quota is used.
type usage struct {
	live  int
	bytes int64     // of files, and of those that are being written as far as that was told
	frees time.Time // when the first file is removed, zero when there is none
}

// usage returns what an application uses, but for one job, with what is being written to the files of those jobs that count takes.
func (x *index) usage(app domain.AppID, but string, count func(Job) bool) (u usage) {
	for _, j := range x.collect(app, func(j Job) bool {
		return j.ID != but && (j.Status == StatusCompleted || !j.Status.Finished())
	}) {
		u.live++
		u.bytes += j.Bytes + j.withdrawn.bytes // there must be room for it when it comes back
		switch {
		case j.Status == StatusCompleted:
			if u.frees.IsZero() || j.ExpiresAt.Before(u.frees) {
				u.frees = j.ExpiresAt
			}
		case count(j):
			u.bytes += max(0, j.Progress.Bytes-j.withdrawn.bytes)
		}
	}
	return u
}

// admission counts what the index does not show yet: orders that are being placed, and the bytes of files that this instance writes. The zero value is empty.
type admission struct {
	mu      sync.Mutex
	placing map[jobKey]struct{}
	writing map[jobKey]int64
}

// written returns how many bytes this instance has written to files of other jobs of an application that the index does not show as finished. a.mu is held.
func (a *admission) written(k jobKey, x *index) (bytes int64) {
	for other, n := range a.writing {
		switch j, _ := x.get(other.app, other.id); {
		case j.Status.Finished(): // its file is counted by the index, or is gone
			delete(a.writing, other)
		case other.app == k.app && other != k:
			bytes += max(0, n-j.withdrawn.bytes) // for those there is room already
		}
	}
	return bytes
}

// admit refuses an order for which there is no room. One that is repeated is let through, for it orders nothing. The returned function is
// called when the index shows the order, or it has failed.
func (s *Service) admit(ctx context.Context, app domain.AppID, id string) (placed func(), err error) {
	if s.cfg.Quota == (Quota{}) {
		return func() {}, nil
	}
	if err := s.catchUp(ctx); err != nil {
		return nil, fmt.Errorf("order export %s: look at what there is: %w", id, err)
	}
	k := jobKey{app, id}
	refused := s.reserve(k)
	if refused == nil {
		return func() { s.unreserve(k) }, nil
	}
	_, err = s.load(ctx, app, id)
	switch {
	case err == nil:
		return func() {}, nil
	case errors.Is(err, CodeNotFound):
		return nil, refused
	}
	return nil, err
}

// reserve counts an order, or tells why there is no room for it.
func (s *Service) reserve(k jobKey) error {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	u := s.index.usage(k.app, k.id, s.elsewhere)
	u.bytes += s.admission.written(k, s.index)
	for p := range s.admission.placing {
		if _, shown := s.index.get(p.app, p.id); p.app == k.app && p.id != k.id && !shown {
			u.live++
		}
	}
	if refused := s.cfg.Quota.refusal(k.app, u); refused != nil {
		return refused
	}
	if s.admission.placing == nil {
		s.admission.placing = make(map[jobKey]struct{})
	}
	s.admission.placing[k] = struct{}{}
	return nil
}

func (s *Service) unreserve(k jobKey) {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	delete(s.admission.placing, k)
}

// elsewhere tells whether this instance does not write the file of a job. s.admission.mu is held.
func (s *Service) elsewhere(j Job) bool {
	_, here := s.admission.writing[jobKey{j.App, j.ID}]
	return !here
}

// refusal tells why one more export cannot be ordered, nil when it can.
func (q Quota) refusal(app domain.AppID, u usage) error {
	var detail string
	switch {
	case q.MaxLive > 0 && u.live >= q.MaxLive:
		detail = fmt.Sprintf("application %s has %d exports that wait, run or have a file, of %d that it may have; cancel one that waits or runs", app, u.live, q.MaxLive)
	case q.MaxBytes > 0 && u.bytes >= q.MaxBytes:
		detail = fmt.Sprintf("the export files of application %s have %d bytes, of %d that they may have; order again when some are gone", app, u.bytes, q.MaxBytes)
	default:
		return nil
	}
	return quotaExceeded(detail, u)
}

func quotaExceeded(detail string, u usage) error {
	if !u.frees.IsZero() {
		detail += "; the first file is removed at " + u.frees.UTC().Format(time.RFC3339)
	}
	return &domain.Rejection{Code: CodeQuota, Detail: detail}
}

// room is that of the file of a job within the quota. While the file is written it is held against those of other jobs.
type room struct {
	service *Service
	job     Job
	seen    uint64 // the latest event in others
	others  usage  // but for what this instance writes
}

// take holds room for so many bytes of the file, or returns why there is none.
func (r *room) take(bytes int64) error {
	s := r.service
	if s.cfg.Quota.MaxBytes <= 0 {
		return nil
	}
	k := jobKey{r.job.App, r.job.ID}
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	if now := s.index.applied(); r.seen == 0 || now != r.seen {
		// Of two files for which there is no room together that another instance writes gives way if it was ordered later.
		r.seen, r.others = now, s.index.usage(k.app, k.id, func(j Job) bool { return s.elsewhere(j) && j.sequence < r.job.sequence })
	}
	u := r.others
	u.bytes += s.admission.written(k, s.index)
	if u.bytes+bytes > s.cfg.Quota.MaxBytes {
		return quotaExceeded(fmt.Sprintf("the file would pass the %d bytes that the export files of application %s may have, %d of which are used; export fewer accounts or fields, compress it, or wait",
			s.cfg.Quota.MaxBytes, k.app, u.bytes), u)
	}
	if s.admission.writing == nil {
		s.admission.writing = make(map[jobKey]int64)
	}
	s.admission.writing[k] = bytes
	return nil
}

// confirm is take for the whole file, once everything is known that others have told.
func (r *room) confirm(ctx context.Context, bytes int64) error {
	if r.service.cfg.Quota.MaxBytes <= 0 {
		return nil
	}
	if err := r.service.catchUp(ctx); err != nil {
		return fmt.Errorf("%w: look at the exports that there are: %w", errLog, err)
	}
	return r.take(bytes)
}

// release lets go of what is held for a file that is not written any more.
func (r *room) release() {
	r.service.admission.mu.Lock()
	defer r.service.admission.mu.Unlock()
	delete(r.service.admission.writing, jobKey{r.job.App, r.job.ID})
}
