package export

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// kept returns what the stream of events keeps of a job's: of each type the latest.
func kept(all []Event) (events []Event) {
	latest := make(map[EventType]Event)
	for _, e := range all {
		latest[e.Type] = e
	}
	for _, e := range latest {
		events = append(events, e)
	}
	slices.SortFunc(events, func(a, b Event) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return events
}

func foldAll(events []Event) (j Job) {
	for _, e := range events {
		j = j.fold(e)
	}
	return j
}

// facts are what must be known of a job whatever is left of its events.
type facts struct {
	status    Status // running means either of the two that are not over
	rebuilds  int
	recalled  uint64
	file      FileName
	expiresAt time.Time
	had       version
}

func factsOf(j Job) facts {
	f := facts{status: j.Status, rebuilds: j.Rebuilds, recalled: j.recalled}
	switch {
	case j.Status == StatusCompleted:
		f.file, f.expiresAt = j.File(), j.ExpiresAt
	case !j.Status.Finished():
		f.status, f.had = StatusRunning, j.withdrawn.version
		if j.Rebuilds > 0 {
			f.expiresAt = j.ExpiresAt
		}
	}
	return f
}

// TestAJobIsTheSameWhetherAllItsEventsAreKeptOrOfEachTypeTheLatest has attempts tell of a job what was so some time ago.
func TestAJobIsTheSameWhetherAllItsEventsAreKeptOrOfEachTypeTheLatest(t *testing.T) {
	begin := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	rapid.Check(t, func(rt *rapid.T) {
		events := []Event{{Sequence: 1, Type: Requested, ID: "1", App: "shop", Job: "job", Spec: Spec{App: "shop", Format: CSV}, Time: begin}}
		for range rapid.IntRange(1, 40).Draw(rt, "events") {
			now := foldAll(events)
			known := foldAll(kept(events[:rapid.IntRange(max(1, len(events)-4), len(events)).Draw(rt, "known")]))
			n := uint64(len(events)) + 1
			e := Event{
				Sequence: n, ID: time.Duration(n).String(), App: "shop", Job: "job", Time: begin.Add(time.Duration(n)),
				Type: rapid.SampledFrom([]EventType{Started, Progressed, Completed, Failed, Cancelled, Expired, Recalled, Interrupted, Withdrawn}).Draw(rt, "type"),
			}
			isRebuilt := now.Rebuilds > 0 && !now.Status.Finished()
			switch e.Type {
			case Completed, Failed, Cancelled: // decisions, which are taken with what is known at the end
				if known = now; now.Status.Finished() {
					continue
				}
			case Withdrawn:
				if known = now; now.Status != StatusCompleted {
					continue
				}
			case Expired:
				if known = now; now.Status != StatusCompleted && !isRebuilt {
					continue
				}
			}
			e.Rebuild = known.Rebuilds
			switch e.Type {
			case Recalled:
				e.Position = n
			case Progressed:
				e.Position, e.ErasedUntil = n-1, n-1
			case Started:
				e.Attempt = known.attempts + 1
			case Interrupted:
				e.Attempt = known.attempts - 1
			case Completed:
				e.Position, e.ErasedUntil, e.Result.ExpiresAt = n-1, n-1, begin.Add(time.Hour)
			case Withdrawn:
				e.Rebuild, e.Position = e.Rebuild+1, n-1
			}
			events = append(events, e)
			if all, some := factsOf(foldAll(events)), factsOf(foldAll(kept(events))); all != some {
				rt.Fatalf("all events give %+v, those that are kept %+v, after %+v", all, some, events)
			}
		}
	})
}
