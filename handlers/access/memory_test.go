package access_test

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"

	"rollcall/handlers/access"
)

// memory is a store without a server, for what only a store that misbehaves can
// show. The real one is tested with a server where it lives.
type memory struct {
	mu       sync.Mutex
	records  map[string]access.Record
	watchers map[chan []access.Record]struct{}
	fail     error // returned by everything but Watch
}

func newMemory(records ...access.Record) *memory {
	m := &memory{records: make(map[string]access.Record), watchers: make(map[chan []access.Record]struct{})}
	for _, r := range records {
		m.records[r.ID] = r
	}
	return m
}

// fault makes all other calls fail until it is called with nil.
func (m *memory) fault(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func (m *memory) put(r access.Record, isNew bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if _, ok := m.records[r.ID]; ok == isNew {
		return errors.New("created twice, or replaced before it was created")
	}
	m.records[r.ID] = r
	for w := range m.watchers {
		w <- []access.Record{r}
	}
	return nil
}

func (m *memory) Create(_ context.Context, r access.Record) error  { return m.put(r, true) }
func (m *memory) Replace(_ context.Context, r access.Record) error { return m.put(r, false) }

func (m *memory) Get(_ context.Context, id string) (access.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[id]
	switch {
	case m.fail != nil:
		return access.Record{}, m.fail
	case !ok:
		return access.Record{}, access.ErrNoRecord
	}
	return r, nil
}

func (m *memory) Watch(ctx context.Context) iter.Seq2[[]access.Record, error] {
	return func(yield func([]access.Record, error) bool) {
		changes := make(chan []access.Record, 64)
		m.mu.Lock()
		all := slices.Collect(maps.Values(m.records))
		m.watchers[changes] = struct{}{}
		m.mu.Unlock()
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			delete(m.watchers, changes)
		}()
		for ok := yield(all, nil); ok; {
			select {
			case records := <-changes:
				ok = yield(records, nil)
			case <-ctx.Done():
				return
			}
		}
	}
}

// scripted is a store whose watch yields what the test sends.
type scripted struct {
	*memory
	steps chan step
}

type step struct {
	records []access.Record
	err     error
}

func (s scripted) Watch(ctx context.Context) iter.Seq2[[]access.Record, error] {
	return func(yield func([]access.Record, error) bool) {
		for {
			select {
			case st := <-s.steps:
				if !yield(st.records, st.err) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}
