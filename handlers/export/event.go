package export

import (
	"time"

	"rollcall/domain"
)

// EventType tells what happened to a job. It is the last part of the subject too.
type EventType string

// The types of events. Requested begins a job; completed, failed and cancelled
// finish it, whichever comes first; expired tells that the file of a completed
// job is gone. Recalled tells that an account was deleted while a file that may hold it was
// being written, which must then not be handed out. Interrupted tells that an attempt ended without
// its own fault; the job is queued again. Withdrawn tells that the file of a completed job is gone because it may hold an account that has
// been deleted since; the job is queued again, and is completed once more when the file is rebuilt without the account.
const (
	Requested  EventType = "requested"
	Started    EventType = "started"
	Progressed EventType = "progressed"
	Completed  EventType = "completed"
	Failed     EventType = "failed"
	Cancelled  EventType = "cancelled"
	Expired    EventType = "expired"
	Recalled   EventType = "recalled"

	Interrupted EventType = "interrupted"
	Withdrawn   EventType = "withdrawn"
)

// Event is one event in the life of a job. Which members of it are set is told
// by its type.
type Event struct {
	Sequence uint64 // its place among all events of all jobs, given by Events

	ID    string // ULID
	Type  EventType
	App   domain.AppID
	Job   string
	Time  time.Time
	Actor string

	CommandID, CausationID, CorrelationID, TraceParent string

	Spec        Spec       // requested, with the position of AsOf, without what its filter searches for
	KeyID       string     // requested: the key that SealedText is sealed with; empty for none
	SealedText  []byte     // requested: what the filter searches for
	MinPosition uint64     // requested: the end of the log when the job was ordered
	Rebuild     int        // how often the file had been withdrawn; withdrawn: this time included
	Attempt     int        // started: its number; interrupted: how many attempts count so far
	Recalls     int        // interrupted: how many attempts have begun anew because an account was deleted
	Progress    Progress   // progressed
	Position    uint64     // started, once it is known, progressed, completed: what the file shows; recalled, withdrawn: of the deletion
	ErasedUntil uint64     // progressed, completed: accounts that were deleted up to this position are left out
	Result      FileResult // completed
	Reason      string     // failed, interrupted, expired, recalled, withdrawn: for people
}

// FileResult tells what the file of a completed job is and where it is fetched.
type FileResult struct {
	Rows, Bytes int64
	SHA256      string // in hexadecimal digits
	// DownloadURL serves until ExpiresAt, when the file is removed. An event may be read
	// late, so that its URL lives as long as the file.
	DownloadURL string
	ManifestURL string // the same of the manifest; empty in events of before there were any
	ExpiresAt   time.Time
}
