package messaging

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"rollcall/domain"
	"rollcall/handlers/export"
)

// exportJobPrefix begins the subjects of export jobs, followed by the application and the job, and by the number of the rebuild where it is one. So a
// job whose file is withdrawn while the queue still holds it, as completed, is put there once more.
const exportJobPrefix = "accounts.exportjob."

// exportWorkers is the durable consumer that all workers share.
const exportWorkers = "export-workers"

// exportJob is what the queue holds of a job. The rest is in the job's events.
type exportJob struct {
	App domain.AppID `json:"app"`
	Job string       `json:"job_id"`
}

// Enqueue adds a job to the queue unless it is there.
func (x *Exports) Enqueue(ctx context.Context, app domain.AppID, job string, rebuild int) error {
	data, err := json.Marshal(exportJob{App: app, Job: job})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	subject := exportJobPrefix + string(app) + "." + job
	if rebuild > 0 {
		subject += "." + strconv.Itoa(rebuild)
	}
	_, err = x.js.Publish(ctx, subject, data)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == errCodeStoreFailed && api.Description == errMaxPerSubject {
		return nil
	}
	if err != nil {
		return fmt.Errorf("queue export %s: %w", job, err)
	}
	return nil
}

// The answer to a message on a subject that has as many as the stream allows.
const (
	errCodeStoreFailed = 10077
	errMaxPerSubject   = "maximum messages per subject exceeded"
)

// ExportWorkerConfig tells how export jobs are worked on.
type ExportWorkerConfig struct {
	// Work does a job. An error means that it is to be tried again later, an *export.Later that others come first.
	Work func(ctx context.Context, app domain.AppID, job string) error
	// Concurrency is how many jobs are worked on at once: 2.
	Concurrency int
	// RetryAfter and MaxRetryAfter are the pause before a job is tried again and what it grows to: 1 s and 1 min.
	RetryAfter, MaxRetryAfter time.Duration
	// AckWait is how long it takes until a job of a worker that died is given to another one: 30 s. The same for all
	// workers.
	AckWait time.Duration
	Logger  *slog.Logger
}

// stopTimeout is how long a job may go on once its context is cancelled.
const stopTimeout = 5 * time.Second

// RunExportWorker works on export jobs until ctx ends, which cancels the work in progress; those jobs go back to
// the queue. It returns nil then, and an error only for a config that cannot be. When it cannot begin, or is thrown
// out, it tries again after a pause that grows like that of a job.
func (x *Exports) RunExportWorker(ctx context.Context, cfg ExportWorkerConfig) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	const defaultConcurrency = 2
	positive(&cfg.Concurrency, defaultConcurrency)
	return worker{
		what: "exports", stream: StreamExportJobs,
		subscriber: SubscriberConfig{Consumer: exportWorkers, Concurrency: cfg.Concurrency, CloseTimeout: stopTimeout, AckWait: cfg.AckWait},
		router: RouterConfig{
			RetryAfter: cfg.RetryAfter, MaxRetryAfter: cfg.MaxRetryAfter,
			Retry:        func(error) bool { return ctx.Err() == nil },
			CloseTimeout: 2 * stopTimeout, Logger: cfg.Logger,
		},
		handle: func(m *message.Message) error { return workOn(ctx, m, cfg) },
	}.run(ctx, x.js)
}

// workOn handles one message of the queue.
func workOn(ctx context.Context, m *message.Message, cfg ExportWorkerConfig) error {
	var job exportJob
	if err := json.Unmarshal(m.Payload, &job); err != nil || job.App == "" || job.Job == "" {
		// Nobody but Rollcall writes to the queue, and nobody waits for this.
		cfg.Logger.Error("the queue of exports holds something that is no job; dropped", "message", m.UUID, "error", err)
		return nil
	}
	work, cancel := context.WithCancel(m.Context())
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	err := cfg.Work(work, job.App, job.Job)
	if later, ok := errors.AsType[*export.Later](err); ok {
		if pause, ok := m.Context().Value(laterKey{}).(*time.Duration); ok {
			*pause = later.After
			return nil
		}
	}
	return err
}
