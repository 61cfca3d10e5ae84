package export

import (
	"fmt"
	"strconv"
	"time"

	"rollcall/domain"
)

// Status tells where in its life a job is.
type Status string

// The statuses of a job.
const (
	StatusQueued    Status = "queued"
	StatusRunning   Status = "running"
	StatusCompleted Status = "completed"
	StatusFailed    Status = "failed"
	StatusCancelled Status = "cancelled"
	StatusExpired   Status = "expired"
)

// Finished tells whether nothing more is done for the job.
func (s Status) Finished() bool { return s != StatusQueued && s != StatusRunning }

// Progress tells how far an attempt has got. What is not known is zero.
type Progress struct {
	Done    int64 // accounts that it has gone through
	Total   int64 // accounts to go through, about
	Bytes   int64 // of the file
	PerSec  float64
	SecLeft float64
}

// Job is the state of an export. Times are zero for what has not happened.
type Job struct {
	ID     string // ULID
	App    domain.AppID
	Status Status
	// Spec is what was ordered. What its filter searches for is known until the job is over.
	Spec     Spec
	Progress Progress

	Position uint64 // of the log that the file shows, zero until that is known; it stays through interruptions
	Rows     int64
	Bytes    int64
	SHA256   string
	Error    string // why it failed or expired early, for people

	// Rebuilds is how often the file has been withdrawn, because an account that it may have held was deleted, to be written anew.
	Rebuilds int

	RequestedAt, StartedAt, FinishedAt time.Time
	ExpiresAt                          time.Time // when the file is removed, also one that is written anew
	RequestedBy                        string
	CommandID                          string

	correlationID, traceParent string
	minPosition                uint64
	keyID                      string // of the key that sealedText is sealed with
	sealedText                 []byte // what the filter searches for
	attempts                   int    // that count, the one under way included
	recalled                   uint64 // position of the latest deletion that the file must leave out
	recalls                    int    // attempts that were in vain because of that
	erasedUntil                uint64 // the file leaves out what was deleted up to this position; zero while it is not known
	lastEvent                  time.Time
	startedBy                  string // id of the latest started event
	completedBy                string // id of the completed event that counts
	hasManifest                bool   // beside the file
	sequence                   uint64 // of the requested event
	latest                     uint64 // sequence of the latest event
	withdrawn                  withdrawn
	unrest                     unrest
}

// fold returns the job after an event. Events that come too late change nothing,
// so that of several that would finish the job the first one counts, and none that is of a file which has been withdrawn does.
func (j Job) fold(e Event) Job {
	if e.Type == Requested {
		if j.ID != "" {
			return j
		}
		return Job{
			ID: e.Job, App: e.App, Status: StatusQueued, Spec: e.Spec,
			RequestedAt: e.Time, RequestedBy: e.Actor, CommandID: e.CommandID,
			correlationID: e.CorrelationID, traceParent: e.TraceParent,
			minPosition: e.MinPosition, keyID: e.KeyID, sealedText: e.SealedText,
			lastEvent: e.Time, sequence: e.Sequence, latest: e.Sequence,
		}
	}
	if j.ID == "" {
		return j
	}
	j.latest = max(j.latest, e.Sequence)
	if e.Type == Recalled || e.Type == Withdrawn {
		j.recalled = max(j.recalled, e.Position)
		j.unrest.note(e.Time)
	}
	if e.Type != Recalled && e.Rebuild > j.Rebuilds {
		j = j.withdraw(e) // what led there may be replaced by a later withdrawal
	}
	switch {
	case e.Type == Recalled:
	case e.Type == Withdrawn, e.Rebuild != j.Rebuilds:
		return j
	case e.Type == Expired && (j.Status == StatusCompleted || j.Rebuilds > 0 && !j.Status.Finished()):
		j.Status, j.Error = StatusExpired, e.Reason
	case j.Status.Finished():
		return j
	case e.Type == Started:
		j.Status, j.attempts, j.startedBy, j.Progress, j.erasedUntil = StatusRunning, e.Attempt, e.ID, Progress{}, 0
		if j.StartedAt.IsZero() {
			j.StartedAt = e.Time
		}
		j.unrest = unrest{}
	case e.Type == Interrupted && e.Attempt+1 != j.attempts: // another attempt has begun since
		return j
	case e.Type == Interrupted:
		j.Status, j.attempts, j.recalls, j.Progress = StatusQueued, e.Attempt, e.Recalls, Progress{}
	case e.Type == Progressed:
		j.Progress, j.Position, j.erasedUntil = e.Progress, e.Position, e.ErasedUntil
	case e.Type == Completed:
		j = j.complete(e)
	case e.Type == Failed:
		j.Status, j.Error, j.FinishedAt = StatusFailed, e.Reason, e.Time
	case e.Type == Cancelled:
		j.Status, j.FinishedAt = StatusCancelled, e.Time
	}
	j.lastEvent = e.Time
	return j
}

// complete returns the job with its file.
func (j Job) complete(e Event) Job {
	j.Status, j.Position, j.FinishedAt = StatusCompleted, e.Position, e.Time
	j.erasedUntil = max(e.ErasedUntil, e.Position)
	j.Rows, j.Bytes, j.SHA256, j.ExpiresAt = e.Result.Rows, e.Result.Bytes, e.Result.SHA256, e.Result.ExpiresAt
	j.Progress = Progress{Done: j.Rows, Total: j.Rows}
	j.completedBy, j.hasManifest = e.ID, e.Result.ManifestURL != ""
	j.withdrawn = withdrawn{}
	return j
}

// withdraw returns the job without its file, to be worked on again. The job is completed then, or seems not to be, as only the latest event of each type
// is kept.
func (j Job) withdraw(e Event) Job {
	j.withdrawn = withdrawn{version: version{j.Position, j.erasedUntil}, bytes: j.Bytes, at: e.Time}
	j.Status, j.Rebuilds = StatusQueued, e.Rebuild
	j.Progress, j.Rows, j.Bytes, j.SHA256, j.Error = Progress{}, 0, 0, "", ""
	j.FinishedAt, j.attempts, j.recalls, j.erasedUntil, j.completedBy, j.hasManifest = time.Time{}, 0, 0, 0, "", false
	j.lastEvent, j.unrest = e.Time, unrest{since: e.Time, latest: e.Time}
	return j
}

// mustErase tells whether the job's file may hold an account that has been
// deleted since.
func (j Job) mustErase() bool { return j.Status == StatusCompleted && j.erasedUntil < j.recalled }

// queuedAt returns since when the job is worked on, or waits for that.
func (j Job) queuedAt() time.Time {
	if j.Rebuilds > 0 {
		return j.withdrawn.at
	}
	return j.RequestedAt
}

// isPast tells whether the life of the job's file is over, also of one that is being rebuilt.
func (j Job) isPast(now time.Time) bool {
	return (j.Status == StatusCompleted || j.Rebuilds > 0 && !j.Status.Finished()) && !j.ExpiresAt.IsZero() && !now.Before(j.ExpiresAt)
}

// MinPosition returns the end of the log when the job was ordered: the file is not older than that.
func (j Job) MinPosition() uint64 { return max(j.minPosition, j.Position) }

// File returns the name of the file that a completed job has.
func (j Job) File() FileName { return nameFile(j.Spec, j.ID, version{j.Position, j.erasedUntil}) }

// had tells whether a file of this name has been withdrawn from a job that is being rebuilt.
func (j Job) had(name FileName) bool {
	before := nameFile(j.Spec, j.ID, j.withdrawn.version)
	return j.withdrawn.version != version{} && (name == before || name == before.manifest())
}

// has tells whether a completed job has a file of this name.
func (j Job) has(name FileName) bool {
	return name == j.File() || j.hasManifest && name == j.File().manifest()
}

// FileName tells where a file is kept. The zero value names none.
type FileName struct {
	App  domain.AppID
	Job  string
	Name string // with extension, as a person who downloads it sees it
}

// version tells what an attempt writes: attempts at a job that have the same one write the same.
type version struct {
	position    uint64 // of the log that the file shows
	erasedUntil uint64 // at least position: what was deleted up to here is left out
}

// String returns the version as it stands in names.
func (v version) String() string {
	if v.erasedUntil == v.position {
		return strconv.FormatUint(v.position, 10)
	}
	return fmt.Sprintf("%d-%d", v.position, v.erasedUntil)
}

// nameFile gives files of different versions different names, so that an attempt never
// replaces what another one wrote, unless by the same bytes.
func nameFile(s Spec, job string, v version) FileName {
	return FileName{App: s.App, Job: job, Name: fmt.Sprintf("accounts-%s-%s%s", s.App, v, Extension(s.Format, s.Compression))}
}
