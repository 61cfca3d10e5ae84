package jetstream

import (
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
)

// Verify compares what the stream says about itself with what must be true of a log
// from which nothing was ever removed. A log that lost something is ErrDamaged.
func (s *Store) Verify(ctx context.Context) error {
	info, err := s.stream.Info(ctx)
	if err != nil {
		return unavailable("verify the log", err)
	}
	if err := checkConfig(info.Config, streamConfig(s.cfg)); err != nil {
		return err
	}
	st := info.State
	s.raise(eventstore.Position(st.LastSeq))
	first, last := eventstore.Position(st.FirstSeq), eventstore.Position(st.LastSeq)
	switch {
	case last == 0 && st.Msgs == 0:
		return nil
	case st.Msgs == 0:
		return missing(1, last)
	case first != 1:
		return missing(1, first-1)
	case st.NumDeleted != 0 || st.Msgs != st.LastSeq:
		return fmt.Errorf("%w: %d of the positions 1 to %d are missing, the first is position %d; stop all writers and restore the log from a backup, do not start with an empty log",
			eventstore.ErrDamaged, st.LastSeq-st.Msgs, last, s.firstMissing(ctx))
	}
	return nil
}

// firstMissing returns the first position that the stream says it lacks, zero when it does not tell.
func (s *Store) firstMissing(ctx context.Context) eventstore.Position {
	info, err := s.stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil || len(info.State.Deleted) == 0 {
		return 0
	}
	return eventstore.Position(slices.Min(info.State.Deleted))
}

// Check compares the end of the log with positions that are known to have been
// in it, such as the checkpoint of a projection. A log that ends before one of
// them is ErrDamaged.
func (s *Store) Check(ctx context.Context, known ...eventstore.Position) error {
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	for _, k := range known {
		if k > last {
			return missing(last+1, k)
		}
	}
	return nil
}
