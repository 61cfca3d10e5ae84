package webhook

import (
	"errors"
	"slices"
	"time"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// Webhook is an address that events are sent to.
type Webhook struct {
	ID     string // ULID
	App    domain.AppID
	URL    string
	Events []export.EventType // that are sent

	CreatedAt time.Time
	CreatedBy string
	// DisabledAt is when the receiver said that it is gone, zero while events are sent.
	DisabledAt     time.Time
	DisabledReason string // for people
}

// Disabled tells whether nothing is sent any more.
func (w Webhook) Disabled() bool { return !w.DisabledAt.IsZero() }

// Record is what a Registry keeps of a webhook.
type Record struct {
	Webhook
	After    uint64 // the sequence of the last export event of before it was registered
	Secrets  []SealedSecret
	Revision uint64 // given by the registry, changed by each write
}

// wants tells whether an event is to be sent.
func (r Record) wants(e export.Event) bool {
	return !r.Disabled() && e.Sequence > r.After && slices.Contains(r.Events, e.Type)
}

// EventTypes returns the types of events that can be sent. Those that tell of progress are not among them.
func EventTypes() []export.EventType {
	return []export.EventType{export.Requested, export.Started, export.Completed, export.Failed, export.Cancelled, export.Expired, export.Withdrawn}
}

// DefaultEventTypes returns the types that are sent unless others are named: those that end an export, or its file.
func DefaultEventTypes() []export.EventType {
	return []export.EventType{export.Completed, export.Failed, export.Cancelled, export.Expired, export.Withdrawn}
}

// Test is the event of a delivery that was asked for, to try a webhook.
const Test export.EventType = "test"

// Status tells where a delivery is.
type Status string

// The statuses of a delivery.
const (
	Pending   Status = "pending"   // not delivered yet
	Delivered Status = "delivered" // the receiver answered 2xx
	Failed    Status = "failed"    // given up
)

// Delivery is one event on its way to one webhook.
type Delivery struct {
	ID      string // of the event, which the receiver gets as webhook-id
	App     domain.AppID
	Webhook string // its id
	Event   export.EventType
	Job     string // the export, empty of a test
	Body    []byte // what is sent; nil in a list

	Status      Status
	CreatedAt   time.Time
	Attempts    int       // so far, since it was asked for
	Since       time.Time // when it was to be sent first, or was asked for again
	LastAttempt time.Time // zero before the first
	NextAttempt time.Time // while it is pending
	Took        time.Duration
	StatusCode  int    // that the receiver answered last, zero for none
	Error       string // of the last attempt, for people
	Revision    uint64 // given by Deliveries, changed by each write
}

// Errors of Registry and Deliveries.
var (
	ErrNotFound = errors.New("there is none")
	// ErrChanged means that something was written since it was read.
	ErrChanged = errors.New("it has changed meanwhile")
)

// Codes of rejections.
const (
	CodeNotFound         domain.Code = "webhook_not_found"
	CodeDeliveryNotFound domain.Code = "delivery_not_found"
	CodeLimit            domain.Code = "webhook_limit_reached"
	CodeDisabled         domain.Code = "webhook_disabled"
	CodeInvalidCursor    domain.Code = "invalid_cursor"
)

// Limits of webhooks.
const (
	MaxPerApp   = 10
	MaxURLBytes = 2048
	// MaxKept is how many deliveries of an application are kept, about: then those that changed longest ago go, also when they are pending. So
	// one application cannot use up what there is for all.
	MaxKept = 10_000
	// MaxListed bounds a page of deliveries.
	MaxListed = 200
)
