package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/ledger"
	"rollcall/eventstore/storetest"
)

// plant is a data folder with a log and a ledger that were stopped in order.
type plant struct {
	dir         string
	key         ledger.Key
	checkpoints *published
	records     [][]byte // what the log says, an entry a position
}

const plantedEvents = 600

// open starts the log of a folder and calls f with it and the ledger over it.
func (p *plant) open(t *testing.T, dir string, f func(context.Context, *jetstream.Store, *ledger.Ledger) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: filepath.Join(dir, "log")})
	if err != nil {
		return err
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	nc, err := server.Connect(nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // what is damaged is told by the store
	if err != nil {
		return err
	}
	defer nc.Close()
	store, err := server.Open(ctx, nc, jetstream.Config{})
	if err != nil {
		return err
	}
	defer store.Close()
	files, err := ledger.OpenFiles(filepath.Join(dir, "ledger"))
	if err != nil {
		return err
	}
	defer files.Close() //nolint:errcheck // what was written is on disk
	return f(ctx, store, ledger.New(files, p.checkpoints, p.key, store, ledger.Options{}))
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	p := &plant{dir: t.TempDir(), key: newKey(t), checkpoints: &published{}}
	err := p.open(t, p.dir, func(ctx context.Context, store *jetstream.Store, l *ledger.Ledger) error {
		write(t, store, 1, plantedEvents)
		if err := l.Lead(ctx, func(context.Context) error { return nil }); err != nil { // it catches up at its end
			return err
		}
		var err error
		p.records, err = records(ctx, store)
		return err
	})
	if err != nil || len(p.records) != plantedEvents || p.checkpoints.latest(t, p.key).Size != plantedEvents {
		t.Fatalf("a log of %d events, %v", len(p.records), err)
	}
	return p
}

// parts are the applications of the plant, a large one and one with every tenth event.
var parts = []string{"app", "few"}

// write appends events to accounts that have several each, and to some that have one.
func write(t *testing.T, store *jetstream.Store, from, until int) {
	t.Helper()
	for n := from; n <= until; n += 50 {
		var batch []eventstore.Proposal
		for i := n; i < min(n+50, until+1); i++ {
			id := eventstore.Account(parts[0], fmt.Sprintf("u%d", i%60))
			switch { // those that have one event are followed by no other that would miss it
			case i%10 == 3:
				id = eventstore.Account(parts[1], fmt.Sprintf("u%d", i))
			case i%3 == 1:
				id.Name = fmt.Sprintf("once%d", i)
			}
			revision, err := store.Revision(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			e := storetest.Event(id, fmt.Sprint("c", i))
			e.Data = fmt.Appendf(nil, `{"n":%d,"text":%q}`, i, strings.Repeat("x", i%90))
			batch = append(batch, eventstore.Proposal{Event: e, Expected: revision})
		}
		if _, err := store.Append(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
	}
}

// records returns all that a log says.
func records(ctx ctx, store *jetstream.Store) ([][]byte, error) {
	last, err := store.Last(ctx)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for e, err := range store.Read(ctx, 1, last) {
		if err != nil {
			return all, err
		}
		all = append(all, ledger.AppendRecord(nil, e))
	}
	return all, nil
}

// trial is a copy of the plant with damage.
type trial struct {
	seed  uint64
	what  string
	start error // of a start, as a service does it
	// What follows is known when the start succeeds.
	says   [][]byte
	read   error // of reading what the log says
	verify error
	parts  []part
}

// part is what an auditor of one application sees.
type part struct {
	app    string
	says   [][]byte
	verify error
}

// tail is how many events a start of a trial looks at, so that verification has something left to find.
const tail = 64

func (p *plant) try(t *testing.T, seed uint64) *trial {
	dir, err := os.MkdirTemp(t.TempDir(), "trial")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(p.dir))
	}
	if err != nil {
		t.Error(err)
		return nil
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the test's folder goes anyway
	r := &trial{seed: seed}
	if r.what, err = damage(dir, rand.New(rand.NewPCG(seed, 7))); err != nil {
		t.Error(err)
		return nil
	}
	r.start = p.open(t, dir, func(ctx context.Context, store *jetstream.Store, l *ledger.Ledger) error {
		if err := l.CheckTail(ctx, tail); err != nil {
			return err
		}
		r.says, r.read = records(ctx, store)
		c := p.checkpoints.latest(t, p.key)
		last, err := store.Last(ctx)
		if err != nil {
			return err
		}
		v := ledger.Verification{Checkpoint: c, Leaves: ledger.NewTiles(c, fetchFrom(l)).Leaves()}
		_, r.verify = v.Run(ctx, store.Read(ctx, 1, last))
		v.Part = true
		for _, app := range parts {
			read := part{app: app}
			_, read.verify = v.Run(ctx, recorded(store.ReadApp(ctx, app, 1, last), &read.says))
			r.parts = append(r.parts, read)
		}
		return nil
	})
	return r
}

// recorded yields events and notes what the log says of each.
func recorded(events iter.Seq2[eventstore.Envelope, error], says *[][]byte) iter.Seq2[eventstore.Envelope, error] {
	return func(yield func(eventstore.Envelope, error) bool) {
		for e, err := range events {
			if err == nil {
				*says = append(*says, ledger.AppendRecord(nil, e))
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// damage does something to the block files of a stopped log, or to the index of them, and says what.
func damage(dir string, random *rand.Rand) (string, error) {
	var what strings.Builder
	for _, file := range []string{"log/last.position", "index.db"} { // without what else would notice
		if random.IntN(2) == 0 {
			continue
		}
		fmt.Fprintf(&what, "without %s, ", filepath.Base(file))
		path := filepath.Join(dir, file)
		if file == "index.db" {
			found, err := filepath.Glob(filepath.Join(dir, "log/jetstream/*/streams/ACCOUNTS/msgs/index.db"))
			if err != nil || len(found) == 0 {
				continue
			}
			path = found[0]
		}
		if err := os.Remove(path); err != nil {
			return "", err
		}
	}
	blocks, err := filepath.Glob(filepath.Join(dir, "log/jetstream/*/streams/ACCOUNTS/msgs/*.blk"))
	if err != nil || len(blocks) == 0 {
		return "", fmt.Errorf("there are no block files: %v", err)
	}
	block := blocks[random.IntN(len(blocks))]
	if index, err := filepath.Glob(filepath.Join(dir, "log/jetstream/*/streams/ACCOUNTS/msgs/index.db")); err == nil && len(index) > 0 && random.IntN(4) == 0 {
		block = index[0]
		what.WriteString("index.db: ")
	}
	b, err := os.ReadFile(block)
	if err != nil {
		return "", err
	}
	at := random.IntN(len(b))
	switch kind := random.IntN(10); {
	case kind < 5:
		b[at] ^= 1 << random.IntN(8)
		fmt.Fprintf(&what, "a bit of byte %d flipped", at)
	case kind < 6:
		for range 5 {
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		}
		what.WriteString("five bits flipped")
	case kind < 7:
		n := min(len(b)-at, 1+random.IntN(4096))
		clear(b[at : at+n])
		fmt.Fprintf(&what, "%d bytes from %d on zeroed", n, at)
	case kind < 8:
		n := min(len(b)-at, 1+random.IntN(2048))
		b = append(b[:at], b[at+n:]...)
		fmt.Fprintf(&what, "%d bytes from %d on cut out", n, at)
	default:
		b = b[:at]
		fmt.Fprintf(&what, "cut off at byte %d", at)
	}
	return what.String(), os.WriteFile(block, b, 0o600)
}

// tellsPosition finds a position in an error.
var tellsPosition = regexp.MustCompile(`positions? [1-9]\d*`)

// trials returns how many trials are made: ROLLCALL_TEST_DAMAGE, or 200.
func trials(t *testing.T) int {
	text := os.Getenv("ROLLCALL_TEST_DAMAGE")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("ROLLCALL_TEST_DAMAGE is %q, not a number of trials", text)
	}
	return n
}

// TestNoDamageToTheLogGoesUnnoticed flips bits of the block files of a stopped log and cuts them: whatever changes what the log says is
// noticed, at the start or by verification, with the position, and whatever does not passes.
func TestNoDamageToTheLogGoesUnnoticed(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	var mu sync.Mutex
	var changed, atStart, harmless int
	seeds := make(chan uint64)
	var workers sync.WaitGroup
	for range 16 { // most of the time they wait for an event that does not come
		workers.Go(func() {
			for seed := range seeds {
				r := p.try(t, seed)
				if r == nil {
					return
				}
				mu.Lock()
				switch p.judge(t, r) {
				case "start":
					atStart++
				case "verify":
					changed++
				default:
					harmless++
				}
				mu.Unlock()
			}
		})
	}
	for seed := range trials(t) {
		seeds <- uint64(seed)
	}
	close(seeds)
	workers.Wait()
	t.Logf("noticed at the start: %d, by verification: %d, without effect: %d", atStart, changed, harmless)
	if atStart == 0 || changed == 0 || harmless == 0 {
		t.Error("the trials are not of all kinds")
	}
}

// judge tells when a trial was noticed, and fails the test if it was not or should not have been.
func (p *plant) judge(t *testing.T, r *trial) string {
	t.Helper()
	told := func(err error) {
		if !errors.Is(err, eventstore.ErrDamaged) || !tellsPosition.MatchString(err.Error()) {
			t.Errorf("trial %d, %s: the error tells no position: %v", r.seed, r.what, err)
		}
	}
	if r.start != nil {
		told(r.start)
		return "start"
	}
	for _, read := range r.parts {
		want := slices.DeleteFunc(slices.Clone(p.records), func(record []byte) bool { return !bytes.Contains(record, []byte("."+read.app+".")) })
		switch same := slices.EqualFunc(read.says, want, bytes.Equal); {
		case !same && read.verify == nil:
			t.Errorf("trial %d, %s: %s has changed (%d events, %d were signed), and nobody noticed", r.seed, r.what, read.app, len(read.says), len(want))
		case read.verify != nil && r.verify == nil:
			t.Errorf("trial %d, %s: the log says what it did, and verification of %s fails: %v", r.seed, r.what, read.app, read.verify)
		case read.verify != nil:
			told(read.verify)
		}
	}
	same := r.read == nil && slices.EqualFunc(r.says, p.records, bytes.Equal)
	switch {
	case same && r.verify != nil:
		t.Errorf("trial %d, %s: the log says what it did, and verification fails: %v", r.seed, r.what, r.verify)
	case !same && r.verify == nil:
		t.Errorf("trial %d, %s: the log has changed (%d events, %v), and nobody noticed", r.seed, r.what, len(r.says), r.read)
	case !same:
		told(r.verify)
		return "verify"
	}
	return "never"
}

// TestAnEndThatWasLostAndGivenOutAgainIsNamed has a log lose its end and be written on by a program that does not look.
func TestAnEndThatWasLostAndGivenOutAgainIsNamed(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	blocks, err := filepath.Glob(filepath.Join(p.dir, "log/jetstream/*/streams/ACCOUNTS/msgs/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range blocks {
		if !strings.HasSuffix(path, ".blk") {
			err = os.Remove(path)
		} else if info, serr := os.Stat(path); serr == nil {
			err = os.Truncate(path, info.Size()/2)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(p.dir, "log", "last.position")); err != nil {
		t.Fatal(err)
	}
	var lost eventstore.Position
	err = p.open(t, p.dir, func(ctx context.Context, store *jetstream.Store, l *ledger.Ledger) error {
		last, err := store.Last(ctx)
		if err != nil {
			return err
		}
		lost = last + 1
		var d *ledger.Difference
		if err := l.CheckTail(ctx, tail); !errors.As(err, &d) || d.Kind != ledger.Dropped || d.Position != lost {
			t.Errorf("the start: %v, want that position %d is dropped", err, lost)
		}
		write(t, store, int(lost), plantedEvents+20)
		err = l.CheckTail(ctx, tail)
		if !errors.As(err, &d) || d.Kind != ledger.Reissued || d.Position != plantedEvents-tail+1 {
			t.Errorf("the start after more was written: %v, want that the %d events at the end are re-issued", err, tail)
		}
		c := p.checkpoints.latest(t, p.key)
		_, err = ledger.Verification{Checkpoint: c, Leaves: ledger.NewTiles(c, fetchFrom(l)).Leaves()}.Run(ctx, store.Read(ctx, 1, plantedEvents+20))
		if !errors.As(err, &d) || d.Kind != ledger.Reissued || d.Position != lost {
			t.Errorf("verification: %v, want that position %d is re-issued", err, lost)
		}
		return nil
	})
	if err != nil || lost < 100 || lost > plantedEvents {
		t.Errorf("the log ended before position %d: %v", lost, err)
	}
}
