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
// that reach several instances at the same moment may pass it by as many as there are instances.
type Quota struct {
	MaxLive  int
	MaxBytes int64 // of their files
}

// usage is what of a quota is used.
type usage struct {
	live  int
	bytes int64
	frees time.Time // when the first file is removed, zero when there is none
}

// usage returns what an application uses, but for one job.
func (x *index) usage(app domain.AppID, but string) (u usage) {
	for _, j := range x.collect(app, func(j Job) bool {
		return j.ID != but && (j.Status == StatusCompleted || !j.Status.Finished())
	}) {
		u.live++
		u.bytes += j.Bytes + j.withdrawn.bytes // there must be room for it when it comes back
		if j.Status != StatusCompleted {
			continue
		}
		if u.frees.IsZero() || j.ExpiresAt.Before(u.frees) {
			u.frees = j.ExpiresAt
		}
	}
	return u
}

// admission counts the orders that are being placed, which the index does not show yet. The zero value is empty.
type admission struct {
	mu      sync.Mutex
	placing map[jobKey]struct{}
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
	u := s.index.usage(k.app, k.id)
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

// room tells how many bytes the file of a job may have.
type room struct {
	service *Service
	job     Job
	bytes   int64
	asked   int64 // how many bytes there were when bytes was found out
	known   bool
}

// roomAgain is how many bytes are written until other exports are looked at again.
const roomAgain = 4 << 20

// take returns an error once a file of so many bytes is larger than it may be.
func (r *room) take(written int64) error {
	q := r.service.cfg.Quota
	if q.MaxBytes <= 0 {
		return nil
	}
	if !r.known || written-r.asked >= roomAgain {
		r.bytes = q.MaxBytes - r.service.index.usage(r.job.App, r.job.ID).bytes
		r.asked, r.known = written, true
	}
	if written <= r.bytes {
		return nil
	}
	u := r.service.index.usage(r.job.App, r.job.ID)
	return quotaExceeded(fmt.Sprintf("the file would pass the %d bytes that the export files of application %s may have, %d of which are used; export fewer accounts or fields, compress it, or wait",
		q.MaxBytes, r.job.App, u.bytes), u)
}
