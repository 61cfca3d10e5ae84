package messaging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/eventstore"
	"rollcall/handlers/audit"
	"rollcall/handlers/wire"
)

// Bounds of the consumers by which auditors read the log.
const (
	// MaxConsumers is how many of them a token has.
	MaxConsumers = 3
	// maxLogConsumers is how many consumers of any kind the log may have for another one to be made. Each has a file, and on a cluster
	// a group of servers that agree on it.
	maxLogConsumers = 512
	// consumerLife is how long a consumer is kept that nobody reads by: a weekend and more.
	consumerLife       = 7 * 24 * time.Hour
	consumerAckWait    = 30 * time.Second
	maxConsumerPending = 5000 // events that a reader has not acknowledged
	maxConsumerBatch   = 5000 // events that are asked for at once
	maxConsumerPulls   = 64   // questions that wait
	// maxConsumerWait is how long a question may wait. It is below the two minutes that servers remember where an answer goes that does
	// not come.
	maxConsumerWait = time.Minute
)

// Keys of the metadata of a consumer, which tells what was asked for.
const (
	metaReader = "rollcall-name"
	metaApp    = "rollcall-app"
	metaUser   = "rollcall-user-id"
	metaFrom   = "rollcall-from"
	metaTurn   = "rollcall-turn" // how often the reader has been given another consumer
)

// consumerSlots is one more than a token has readers, so that one can be replaced before it is removed.
const consumerSlots = MaxConsumers + 1

// consumersOf returns the names of the consumers of a token. They are a few that are known before any is made, for what a client may publish
// is settled when it connects.
func consumersOf(tokenID string) []string {
	names := make([]string, consumerSlots)
	for i := range names {
		names[i] = fmt.Sprintf("audit-%s-%d", tokenID, i+1)
	}
	return names
}

// ConsumerOrder asks for a consumer.
type ConsumerOrder struct {
	Name   string        // of the reader, chosen by the auditor, in the form of an AppID
	UserID domain.UserID // only the events of this account, of all when empty
	From   audit.Moment  // the first position, or the time from which on; the beginning of the log, or where the reader is, when zero
	Anew   bool          // whether a reader of that name that is there is forgotten
}

// LogConsumers makes the consumers by which auditors read the log itself: pull consumers that are bound to a token and to the events
// of one application. What they deliver are the messages as they are stored, personal data sealed.
type LogConsumers struct {
	js     jetstream.JetStream
	stream string
}

// NewLogConsumers returns what makes consumers of the stream that the log is in.
func NewLogConsumers(js jetstream.JetStream, stream string) *LogConsumers {
	return &LogConsumers{js: js, stream: stream}
}

// Stream is the name of the stream that the consumers are of.
func (c *LogConsumers) Stream() string { return c.stream }

// Open returns the name of a consumer of a token, and the position at the end of the log. A reader that is there goes on behind the event
// up to which it has acknowledged all, in the order of the log. When more was sent to it, or a question of its waits, which may be one
// of somebody who is gone and takes events with it, that is by another consumer, and the one that it had is removed.
//
// Errors: *domain.Rejection that names bad fields, or with wire.CodeConsumerExists, wire.CodeConsumerLimit or audit.CodeFuture;
// eventstore.ErrUnavailable.
func (c *LogConsumers) Open(ctx context.Context, tokenID string, app domain.AppID, o ConsumerOrder) (consumer string, last uint64, err error) {
	if err := o.check(app); err != nil {
		return "", 0, err
	}
	const attempts = 5 // others ask for readers of the token at the same time
	for range attempts {
		consumer, last, err = c.open(ctx, tokenID, app, o)
		if !errors.Is(err, jetstream.ErrConsumerExists) {
			break
		}
	}
	return consumer, last, unanswered(eventstore.ErrUnavailable, err)
}

func (o ConsumerOrder) check(app domain.AppID) error {
	var bad wire.Checks
	if o.Name == "" {
		bad.Add("name", domain.CodeRequired, "name the reader")
	} else if !domain.AppID(o.Name).Valid() {
		bad.Add("name", domain.CodeBadValue, "must be 1 to 32 of a-z, 0-9 and -, not starting with -")
	}
	if o.UserID != "" && !o.UserID.Valid() {
		bad.Add("user_id", domain.CodeBadValue, "is no user id")
	}
	if !app.Valid() {
		return &domain.Rejection{Code: domain.CodeAppNotFound, Detail: "a consumer reads the events of one application; name it in the subject"}
	}
	return bad.Err("the request")
}

func (c *LogConsumers) open(ctx context.Context, tokenID string, app domain.AppID, o ConsumerOrder) (string, uint64, error) {
	stream, err := c.js.Stream(ctx, c.stream)
	if err != nil {
		return "", 0, fmt.Errorf("look at the log: %w", err)
	}
	state := stream.CachedInfo().State
	if uint64(o.From.Position) > state.LastSeq+1 {
		return "", 0, &domain.Rejection{Code: audit.CodeFuture, Detail: fmt.Sprintf("the log ends at position %d; %d is yet to come", state.LastSeq, o.From.Position)}
	}
	readers, err := c.readers(ctx, tokenID)
	if err != nil {
		return "", 0, err
	}
	config := o.config(app)
	had := readers[o.Name]
	switch {
	case had == nil:
		if err := room(readers, state.Consumers); err != nil {
			return "", 0, err
		}
	case !o.Anew:
		if err := o.same(app, had.Config.Metadata); err != nil {
			return "", 0, err
		}
		if had.NumAckPending == 0 && had.NumWaiting == 0 {
			return had.Name, state.LastSeq, nil
		}
		config = goingOn(had)
	}
	if config.Name, err = free(tokenID, readers); err != nil {
		return "", 0, err
	}
	config.Durable = config.Name
	config.Metadata = maps.Clone(config.Metadata)
	config.Metadata[metaTurn] = strconv.Itoa(turnOf(had) + 1)
	if _, err := stream.CreateConsumer(ctx, config); err != nil {
		return "", 0, fmt.Errorf("make consumer %s: %w", config.Name, err)
	}
	if had != nil {
		err = c.remove(ctx, had.Name)
	}
	return config.Name, state.LastSeq, err
}

// readers returns the consumers that a token has, by the name of the reader. Where one is being replaced, or was when a process died, the
// latest counts, for it is made before the other is removed, and the other is removed.
func (c *LogConsumers) readers(ctx context.Context, tokenID string) (map[string]*jetstream.ConsumerInfo, error) {
	all := make(map[string]*jetstream.ConsumerInfo)
	for _, name := range consumersOf(tokenID) {
		consumer, err := c.js.Consumer(ctx, c.stream, name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at consumer %s: %w", name, err)
		}
		latest := consumer.CachedInfo()
		reader := latest.Config.Metadata[metaReader]
		if other := all[reader]; other != nil {
			if turnOf(other) > turnOf(latest) {
				latest, other = other, latest
			}
			if err := c.remove(ctx, other.Name); err != nil {
				return nil, err
			}
		}
		all[reader] = latest
	}
	return all, nil
}

// turnOf returns which one a consumer is of those that its reader has had, zero for none.
func turnOf(info *jetstream.ConsumerInfo) int {
	if info == nil {
		return 0
	}
	turn, _ := strconv.Atoi(info.Config.Metadata[metaTurn])
	return turn
}

// room refuses a further reader where there are enough.
func room(readers map[string]*jetstream.ConsumerInfo, consumers int) error {
	if len(readers) >= MaxConsumers {
		return wire.Refuse(wire.CodeConsumerLimit, "the token has %d consumers, named %s; go on with one of them, make one anew under its name, or use another token",
			len(readers), strings.Join(slices.Sorted(maps.Keys(readers)), ", "))
	}
	if consumers >= maxLogConsumers {
		return wire.Refuse(wire.CodeUnavailable, "the log has %d consumers, which is as many as it takes; revoke tokens of auditors that are not used, or wait until consumers that nobody reads by are gone", consumers)
	}
	return nil
}

// same refuses an order that asks for something else than the reader does that is there.
func (o ConsumerOrder) same(app domain.AppID, has map[string]string) error {
	from := has[metaFrom]
	if !o.From.IsZero() {
		from = fromText(o.From)
	}
	if has[metaApp] == string(app) && has[metaUser] == string(o.UserID) && has[metaFrom] == from {
		return nil
	}
	return wire.Refuse(wire.CodeConsumerExists, "the token has a consumer named %s that reads something else (app %q, user_id %q, from %q); give it another name, or make it anew with \"anew\": true",
		o.Name, has[metaApp], has[metaUser], cmp.Or(has[metaFrom], "the beginning"))
}

// free returns the name of a consumer that is not there.
func free(tokenID string, readers map[string]*jetstream.ConsumerInfo) (string, error) {
	names := consumersOf(tokenID)
	for _, info := range readers {
		names = slices.DeleteFunc(names, func(name string) bool { return name == info.Name })
	}
	if len(names) == 0 {
		return "", wire.Refuse(wire.CodeUnavailable, "other requests of the token replace its consumers; repeat the request in a moment")
	}
	return names[0], nil
}

// config returns how the consumer that is asked for is made.
func (o ConsumerOrder) config(app domain.AppID) jetstream.ConsumerConfig {
	config := jetstream.ConsumerConfig{
		Description:       "An auditor reads the events of an application. Made by Rollcall.",
		FilterSubjects:    []string{eventstore.AppSubjects(string(app))},
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		AckPolicy:         jetstream.AckExplicitPolicy,
		AckWait:           consumerAckWait,
		MaxAckPending:     maxConsumerPending,
		MaxWaiting:        maxConsumerPulls,
		MaxRequestBatch:   maxConsumerBatch,
		MaxRequestExpires: maxConsumerWait,
		InactiveThreshold: consumerLife,
		Metadata:          map[string]string{metaReader: o.Name, metaApp: string(app), metaUser: string(o.UserID), metaFrom: fromText(o.From)},
	}
	if o.UserID != "" {
		app, user := string(app), string(o.UserID)
		config.FilterSubjects = []string{eventstore.Account(app, user).Subject(), eventstore.Erased(app, user).Subject()}
	}
	switch {
	case o.From.Position > 0:
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, uint64(o.From.Position)
	case !o.From.IsZero():
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &o.From.Time
	}
	return config
}

// goingOn returns how the consumer is made that goes on where one has come to.
func goingOn(info *jetstream.ConsumerInfo) jetstream.ConsumerConfig {
	config := info.Config
	if floor := info.AckFloor.Stream; floor > 0 {
		config.DeliverPolicy, config.OptStartSeq, config.OptStartTime = jetstream.DeliverByStartSequencePolicy, max(floor+1, config.OptStartSeq), nil
	}
	return config
}

// fromText writes a moment as it is asked for.
func fromText(m audit.Moment) string {
	switch {
	case m.Position > 0:
		return strconv.FormatUint(uint64(m.Position), 10)
	case m.IsZero():
		return ""
	}
	return m.Time.UTC().Format(time.RFC3339Nano)
}

// Remove removes the consumers of a token.
func (c *LogConsumers) Remove(ctx context.Context, tokenID string) error {
	var errs []error
	for _, name := range consumersOf(tokenID) {
		errs = append(errs, c.remove(ctx, name))
	}
	return errors.Join(errs...)
}

// remove removes a consumer. One that is not there is removed.
func (c *LogConsumers) remove(ctx context.Context, name string) error {
	err := c.js.DeleteConsumer(ctx, c.stream, name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("remove consumer %s: %w", name, err)
	}
	return nil
}
