package export

import "slices"

// finishes tells whether events of the type finish a job.
func (t EventType) finishes() bool { return t == Completed || t == Failed || t == Cancelled }

// Counts tells whether what an event says is so, given the events of its job. A job that is cancelled while it completes may have an event of
// both; the first one counts, and the other one changes nothing. Each rebuild of its file has such an event of its own.
func (e Event) Counts(ofJob []Event) bool {
	return !e.Type.finishes() || !slices.ContainsFunc(ofJob, func(o Event) bool { return o.Type.finishes() && o.Rebuild == e.Rebuild && o.Sequence < e.Sequence })
}
