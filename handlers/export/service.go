package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"time"

	"rollcall/domain"
	"rollcall/eventstore"
)

// Events is the stream of the events of all jobs, kept for longer than any file.
type Events interface {
	// Publish adds an event and returns its sequence once it is on disk. ErrConflict when its condition
	// is not met; the event that it meets may then be this very one whose acknowledgement was lost.
	Publish(ctx context.Context, e Event, c Condition) (uint64, error)
	// Load returns the events of a job in order, of each type the latest; none
	// when there is no such job.
	Load(ctx context.Context, app domain.AppID, job string) ([]Event, error)
	// Follow yields the events from a sequence onwards, past and to come, until ctx ends or the
	// caller has had enough; with job not empty only those of one job. An error ends it. Of
	// events that happened long ago only the latest of a job and type may be there.
	Follow(ctx context.Context, from uint64, app domain.AppID, job string) iter.Seq2[Event, error]
	// Last returns the sequence of the latest event, zero for none.
	Last(ctx context.Context) (uint64, error)
}

// Condition is what must be so for an event to be added. The zero value asks for nothing.
type Condition struct {
	On   On
	Last uint64 // the sequence that it must have, zero for none
}

// On tells which event a condition asks for.
type On int

// What a condition may ask for.
const (
	OnNothing On = iota
	OnType       // the latest event of the same job and type
	OnAll        // the latest event of all jobs
)

// First returns the condition of an event of a type that a job has once.
func First() Condition { return Condition{On: OnType} }

// AtEnd returns the condition of an event that follows the latest of all.
func AtEnd(last uint64) Condition { return Condition{On: OnAll, Last: last} }

// ErrConflict is the error of Events.Publish for an event whose condition is not met.
var ErrConflict = errors.New("something has happened to the job since it was looked at")

// Queue hands jobs to workers, each at least once.
type Queue interface {
	// Enqueue adds a job, once for each rebuild of its file, 0 for the first file. What waits or is worked on is not added again,
	// which is no error.
	Enqueue(ctx context.Context, app domain.AppID, job string, rebuild int) error
}

// Files keeps the files. Its errors wrap ErrStoreFull, ErrStoreAway, ErrStoreRefuses, ErrNoBucket or ErrStoreTaken where that is known.
type Files interface {
	// Create begins a file, which cannot be read before it is committed and then replaces one of
	// the same name.
	Create(ctx context.Context, name FileName) (Upload, error)
	// Open reads a file that is committed, until ctx ends.
	Open(ctx context.Context, name FileName) (io.ReadCloser, error)
	// Delete removes a file; one that is not there is no error.
	Delete(ctx context.Context, name FileName) error
	// All yields what is kept, leftovers of broken uploads too: of a job, or of all jobs of an
	// application when job is empty, or of all when app is empty too. An error ends it.
	All(ctx context.Context, app domain.AppID, job string) iter.Seq2[StoredFile, error]
	// URL returns an address that serves the file for the given time.
	URL(ctx context.Context, name FileName, life time.Duration) (string, error)
}

// Upload is a file that is being written. It ends by exactly one Commit or any
// number of Aborts; Abort after Commit does nothing.
type Upload interface {
	io.Writer
	Commit() error
	Abort()
}

// StoredFile is a file as the store knows it.
type StoredFile struct {
	Name     FileName
	Modified time.Time
	// Unfinished is an upload that is under way or was broken off, and that a file store tells from a file.
	Unfinished bool
}

// Accounts is the account list.
type Accounts interface {
	App(ctx context.Context, app domain.AppID) (domain.App, uint64, error)
	// Chunk returns consecutive accounts, as of one position, or those that are named.
	Chunk(ctx context.Context, s domain.Stretch) (domain.Chunk, error)
}

// Waiter waits until the account list has reached a position.
type Waiter interface {
	WaitFor(ctx context.Context, position eventstore.Position) error
}

// Log tells where the log ends, and where it was at a time, see eventstore.Store.
type Log interface {
	Last(ctx context.Context) (eventstore.Position, error)
	PositionAt(ctx context.Context, t time.Time) (eventstore.Position, error)
}

// Config tells what a Service works with. All of Events, Queue, Files, Accounts, Past, Waiter, Log
// and Sealer are needed; zero of anything else means the default.
type Config struct {
	Events   Events
	Queue    Queue
	Files    Files
	Accounts Accounts
	Past     Past
	Waiter   Waiter
	Log      Log
	Sealer   Sealer
	Logger   *slog.Logger

	FileLife    time.Duration // how long a file is kept, MaxFileLife at most: 24 h
	MaxAttempts int           // how often a job is tried until it fails: 8
	MaxWait     time.Duration // how long after its order interrupted attempts do not count: 24 h
	MaxListed   int           // how many finished jobs of an application are listed: 1,000
	PartRows    int           // after how many accounts an attempt keeps what it has, for the next to go on from: 50,000
	ChunkRows   int           // how many accounts are read from the list at once: 1,000
	Quota       Quota         // of each application; none when zero
	OnDelete    OnDelete      // what becomes of files that may hold a deleted account: Remove
	Calm        time.Duration // how long no account is deleted until a file is written anew because of that, or 15 times as long at most: 1 s

	Now func() time.Time // time.Now

	// Observe, if set, is told of each attempt at a job that this instance has made. It is called concurrently.
	Observe func(Attempt)
}

// Attempt is what became of one attempt at a job.
type Attempt struct {
	Format  Format
	Outcome AttemptOutcome
	Took    time.Duration
	Rows    int64 // of the file of a completed one
	Bytes   int64
}

// AttemptOutcome tells what became of an attempt.
type AttemptOutcome string

// The outcomes of an attempt.
const (
	AttemptCompleted AttemptOutcome = "completed"
	AttemptFailed    AttemptOutcome = "failed" // and the job with it
	AttemptOver      AttemptOutcome = "over"   // the job ended otherwise, such as by being cancelled
	AttemptRepeated  AttemptOutcome = "repeated"
)

// Defaults of Config.
const (
	DefaultFileLife    = 24 * time.Hour
	DefaultMaxAttempts = 8
	DefaultMaxWait     = 24 * time.Hour
	DefaultMaxListed   = 1000
	DefaultPartRows    = 50_000
	DefaultChunkRows   = 1000
	DefaultCalm        = time.Second
)

const (
	// URLLife is how long a URL that Link mints serves at most.
	URLLife = 15 * time.Minute
	// MaxFileLife is the longest Config.FileLife: how long S3 lets a URL serve, and less than the events of a job are kept.
	MaxFileLife = 7 * 24 * time.Hour
)

// Service orders, does, watches and ends exports. It is safe for concurrent use. Run must
// be running for jobs to be listed and ended.
type Service struct {
	cfg        Config
	index      *index
	running    running
	turns      turns
	admission  admission
	forgetting sync.Mutex
	started    time.Time
	spent      chan struct{} // tells that there are keys to destroy
	due        chan struct{} // tells that there are files which may hold a deleted account
}

// New returns a service.
func New(cfg Config) (*Service, error) {
	if cfg.Events == nil || cfg.Queue == nil || cfg.Files == nil || cfg.Accounts == nil || cfg.Past == nil || cfg.Waiter == nil || cfg.Log == nil || cfg.Sealer == nil {
		return nil, errors.New("exports need Events, Queue, Files, Accounts, Past, Waiter, Log and Sealer")
	}
	if cfg.FileLife > MaxFileLife {
		return nil, fmt.Errorf("files of exports cannot be kept for %s; %s at most", cfg.FileLife, MaxFileLife)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Attempt) {}
	}
	setDefault(&cfg.FileLife, DefaultFileLife)
	setDefault(&cfg.MaxAttempts, DefaultMaxAttempts)
	setDefault(&cfg.MaxWait, DefaultMaxWait)
	setDefault(&cfg.MaxListed, DefaultMaxListed)
	setDefault(&cfg.PartRows, DefaultPartRows)
	setDefault(&cfg.ChunkRows, DefaultChunkRows)
	setDefault(&cfg.OnDelete, Remove)
	setDefault(&cfg.Calm, DefaultCalm)
	if cfg.OnDelete != Remove && cfg.OnDelete != Rebuild {
		return nil, fmt.Errorf("what becomes of exports when an account is deleted is %q, want %s or %s", cfg.OnDelete, Remove, Rebuild)
	}
	return &Service{cfg: cfg, index: newIndex(cfg.MaxListed, cfg.OnDelete.keepsKey), started: cfg.Now(), spent: make(chan struct{}, 1), due: make(chan struct{}, 1)}, nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// sweepEvery is how often Run looks for files to remove and jobs to take up again.
const sweepEvery = 30 * time.Second

// Run follows the events of all jobs and removes files past their life, until ctx
// ends; it then returns nil. What cannot be reached is tried again.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { s.follow(ctx) })
	wg.Go(func() { s.sweepRegularly(ctx) })
	wg.Wait()
	return nil
}

// follow keeps the index up to date.
func (s *Service) follow(ctx context.Context) {
	const pause = time.Second
	for ctx.Err() == nil {
		err := s.followOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		s.cfg.Logger.Warn("the events of exports cannot be followed; trying again", "error", err)
		sleep(ctx, pause)
	}
}

func (s *Service) followOnce(ctx context.Context) error {
	last, err := s.cfg.Events.Last(ctx)
	if err != nil {
		return err
	}
	if s.index.applied() >= last {
		s.index.setReady()
	}
	for e, err := range s.cfg.Events.Follow(ctx, s.index.applied()+1, "", "") {
		if err != nil {
			return err
		}
		job := s.index.apply(e)
		switch {
		case job.Status.Finished():
			s.running.stop(job)
		case e.Type == Recalled:
			s.running.recall(job)
		}
		if job.keyID != "" && !s.cfg.OnDelete.keepsKey(job) {
			hint(s.spent)
		}
		if e.Sequence >= last {
			s.index.setReady()
		}
		if job.mustErase() && e.Sequence > last { // the rest is for the first sweep
			hint(s.due) // a store that is away must not hold up what is heard
		}
	}
	return errors.New("the stream of export events ended")
}

// hint tells whoever listens that there is something to do, unless it is told already.
func hint(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep waits for a time or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *Service) sweepRegularly(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("files of exports cannot be tidied; trying again", "error", err)
		}
		if !s.pauseSweeping(ctx, tick.C) {
			return
		}
	}
}

// pauseSweeping waits for the next tick and meanwhile destroys keys as jobs end, and removes files that may hold a deleted account. It returns false when
// ctx ends.
func (s *Service) pauseSweeping(ctx context.Context, tick <-chan time.Time) bool {
	for {
		select {
		case <-s.spent:
			if err := s.destroyKeys(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Warn("keys of exports are destroyed by the next sweep", "error", err)
			}
		case <-s.due:
			for _, j := range s.index.collect("", Job.mustErase) {
				s.eraseLogged(ctx, j)
			}
		case <-tick:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// Ready returns nil once the service knows all jobs that there were when Run
// began, else an error that says so.
func (s *Service) Ready() error {
	if !s.index.isReady() {
		return errors.New("the jobs of exports are still being read")
	}
	return nil
}
