package console

import (
	"context"
	"net/http"
	"strings"
	"time"

	"rollcall/domain"
	"rollcall/handlers/access"
	"rollcall/handlers/console/i18n"
	"rollcall/handlers/export"
	"rollcall/handlers/intake"
)

// DeadLetters are messages that could not be understood as commands, see intake.Service.
type DeadLetters interface {
	DeadLetters(ctx context.Context, by access.Principal, app domain.AppID, after uint64, limit int) ([]intake.DeadLetter, error)
}

// Condition is how the instance is.
type Condition struct {
	Unready  Notice   // why it cannot serve, zero when it can
	Warnings []Notice // what is not as it should be in production
	Began    time.Time
	Now      time.Time
	// Position is the end of the log, zero when it does not answer.
	Position    uint64
	Signed      uint64 // position that the latest checkpoint of the ledger covers
	Projections []Follower
	Streams     []Stream
	Waiting     uint64 // commands of the application and verb that has the most
	MaxWaiting  uint64
	Exports     []ExportCount
	Running     int // exports that this instance works on
}

// Notice is something that an operator should know. A code that the console knows is said in the words of the page.
type Notice struct{ Code, Text string }

// Follower is something that follows the log.
type Follower struct {
	Name             string
	Position         uint64
	Behind           uint64        // events
	Age              time.Duration // of the oldest event that it does not show
	AgeKnown         bool
	Halted, Retrying Notice // why, zero when not
	Leading          bool   // this instance applies the events
}

// Stream is a stream of messages.
type Stream struct {
	Name     string
	Messages uint64
	Bytes    uint64
	Oldest   time.Time // when the log took in the oldest message, zero when there is none
}

// ExportCount is how many exports of all instances have a status.
type ExportCount struct {
	Status string
	Count  int
}

// maxDead bounds the dead letters that are shown, the oldest of all.
const maxDead = 50

// maxJobs bounds the exports that are shown.
const maxJobs = 20

// healthBody is what the page of the instance shows.
type healthBody struct {
	Condition
	Version string
	Jobs    []jobView // that are not over, the first of all
	JobsAll int
	Dead    []intake.DeadLetter
	DeadAll uint64 // of all applications
}

// Uptime returns how long the instance has run.
func (c Condition) Uptime() time.Duration { return c.Now.Sub(c.Began) }

// Unsigned returns how many events no checkpoint covers.
func (c Condition) Unsigned() uint64 { return c.Position - min(c.Position, c.Signed) }

func (h *Handler) healthPage(v *visit) error {
	body, err := h.health(v)
	if err != nil {
		return err
	}
	return v.render(http.StatusOK, "health", view{Title: v.text("health.title"), Body: body, Entry: "health.js", Load: []string{"dialog.js", "form.js"}})
}

// healthState answers with what the page shows, as it is now.
func (h *Handler) healthState(v *visit) error {
	body, err := h.health(v)
	if err != nil {
		return err
	}
	return v.renderPart("health", "health", view{Body: body})
}

func (h *Handler) health(v *visit) (healthBody, error) {
	body := healthBody{Condition: h.Condition(v.r.Context()), Version: h.Version}
	for _, j := range h.Exports.Unfinished(maxJobs) {
		body.Jobs = append(body.Jobs, jobView{j})
	}
	for _, e := range body.Exports {
		if !export.Status(e.Status).Finished() {
			body.JobsAll += e.Count
		}
	}
	body.JobsAll = max(body.JobsAll, len(body.Jobs))
	var err error
	body.Dead, err = h.DeadLetters.DeadLetters(v.r.Context(), v.who, "", 0, maxDead)
	for _, s := range body.Streams {
		if s.Name == deadStream {
			body.DeadAll = s.Messages
		}
	}
	body.DeadAll = max(body.DeadAll, uint64(len(body.Dead)))
	return body, err
}

// deadStream is the stream of dead letters among those of a Condition.
const deadStream = "DEAD"

// span writes how long something is, in its largest unit and the next one.
func span(l *i18n.Language, d time.Duration) string {
	const day = 24 * time.Hour
	whole := func(unit time.Duration) uint64 { return uint64(max(d, 0) / unit) }
	switch {
	case d >= day:
		return l.Text("health.days", "days", whole(day), "hours", whole(time.Hour)%24)
	case d >= time.Hour:
		return l.Text("health.hours", "hours", whole(time.Hour), "minutes", whole(time.Minute)%60)
	case d >= time.Minute:
		return l.Text("health.minutes", "minutes", whole(time.Minute), "seconds", whole(time.Second)%60)
	}
	return l.Text("health.seconds", "seconds", whole(time.Second))
}

// healthWords are the names of followers and streams that the console has a word for.
var healthWords = map[string][]string{
	"health.follower": {"account_list", "erasure", "ledger"},
	"health.notice": {
		"log_damaged", "halted", "retrying", "list_unreached", "list_behind", "starting", "nats_unreached", "log_refuses", "log_silent",
		"durability_unknown", "durability_late", "durability_partly", "few_copies", "no_nats_door", "ledger_key", "bucket_versioned",
	},
	"health.stream": {"ACCOUNTS", "KEYS", "COMMANDS", "DEAD", "OUTCOMES", "EXPORTS", "EXPORT_JOBS"},
}

// word returns the key of the message that says what a name stands for, empty when there is none.
func word(l *i18n.Language, group, name string) string {
	key := wordKey(group, name)
	if _, ok := l.Message(key); !ok {
		return ""
	}
	return key
}

func wordKey(group, name string) string { return group + "." + strings.ToLower(name) }

// maxExcerpt bounds what is shown of a dead letter, in bytes.
const maxExcerpt = 4 << 10

// excerpt returns the beginning of a body as text.
func excerpt(b []byte) string {
	if len(b) <= maxExcerpt {
		return string(b)
	}
	return string(b[:maxExcerpt]) + "…"
}

func (h *Handler) dropDialog(v *visit) error { return v.renderPart("health", "dialog", view{}) }
