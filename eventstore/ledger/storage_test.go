package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"rollcall/eventstore"
	"rollcall/eventstore/ledger"
	"rollcall/eventstore/storetest"
)

// storage is a kind of storage: open opens the same one again and again.
type storage struct {
	open func(t *testing.T) ledger.Storage
}

func inFiles(t *testing.T) storage {
	dir := filepath.Join(t.TempDir(), "ledger")
	return storage{func(t *testing.T) ledger.Storage { return openFiles(t, dir) }}
}

func openFiles(t testing.TB, dir string) *ledger.Files {
	t.Helper()
	f, err := ledger.OpenFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() }) //nolint:errcheck // what was written is on disk
	return f
}

// inStream returns the storage of a stream on servers.
func inStream(replicas int, url string) func(t *testing.T) storage {
	return func(t *testing.T) storage {
		return storage{func(t *testing.T) ledger.Storage {
			t.Helper()
			js, err := jetstream.New(storetest.Connect(t, url))
			if err != nil {
				t.Fatal(err)
			}
			s, err := ledger.OpenStream(t.Context(), js, replicas)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}}
	}
}

func TestStorageInFilesKeepsTheContract(t *testing.T) {
	t.Parallel()
	testStorage(t, inFiles(t))
}

func TestStorageInAStreamKeepsTheContract(t *testing.T) {
	t.Parallel()
	testStorage(t, inStream(1, storetest.RunServer(t))(t))
}

func TestAStreamThatCouldLoseHashesIsRefused(t *testing.T) {
	t.Parallel()
	js, err := jetstream.New(storetest.Connect(t, storetest.RunServer(t)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.OpenStream(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), ledger.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*jetstream.StreamConfig){
		"max_msg_size":      func(c *jetstream.StreamConfig) { c.MaxMsgSize = 100 },
		"allow_rollup_hdrs": func(c *jetstream.StreamConfig) { c.AllowRollup = true },
		"allow_direct":      func(c *jetstream.StreamConfig) { c.AllowDirect = true },
	} {
		cfg := stream.CachedInfo().Config
		spoil(&cfg)
		if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := ledger.OpenStream(t.Context(), js, 1); !errors.Is(err, ledger.ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want ErrConfig naming it", name, err)
		}
	}
}

func TestStorageInAStreamOnAClusterKeepsTheContract(t *testing.T) {
	t.Parallel()
	testStorage(t, inStream(3, storetest.RunCluster(t, 3).URL())(t))
}

// testStorage grows a tree over the borders of tiles and reads it back, opened anew each time.
func testStorage(t *testing.T, s storage) {
	events := history(2000)
	log := &memory{events: events}
	checkpoints := &published{}
	key := newKey(t)
	size := 0
	for _, more := range []int{1, 254, 1, 1, 600, 0, 1143} { // 2,000 in all
		l := ledger.New(s.open(t), checkpoints, key, log, ledger.Options{})
		if at, err := l.Checkpoint(t.Context()); err != nil || int(at) != size {
			t.Fatalf("the checkpoint is %d, %v; want %d", at, err, size)
		}
		feed(t, l, events[size:size+more])
		size += more
		c := checkpoints.latest(t, key)
		if int(c.Size) != size {
			t.Fatalf("a checkpoint of size %d was published, want %d", c.Size, size)
		}
		checkProofs(t, l, c, events[:size])
	}
	st := s.open(t)
	if err := st.Append(t.Context(), 1999, 2001, nil); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("append to another size: %v, want ErrFenced", err)
	}
	if _, err := st.Tile(t.Context(), 0, 7, 256); !errors.Is(err, ledger.ErrBroken) {
		t.Errorf("a tile that is wider than the tree: %v, want ErrBroken", err)
	}
	if kept, err := st.Size(t.Context()); err != nil || kept != 2000 {
		t.Errorf("the size is %d, %v, want 2000", kept, err)
	}
}

// checkProofs checks inclusion of some events and consistency with some earlier trees, by what a client has alone.
func checkProofs(t *testing.T, l *ledger.Ledger, c ledger.Checkpoint, events []eventstore.Envelope) {
	t.Helper()
	for _, p := range []uint64{1, 2, 255, 256, 257, c.Size/2 + 1, c.Size - 1, c.Size} {
		if p == 0 || p > c.Size {
			continue
		}
		proof, err := l.Include(t.Context(), eventstore.Position(p), c.Size)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := ledger.Leaf(events[p-1])
		if err != nil {
			t.Fatal(err)
		}
		if err := proof.Check(); err != nil || proof.Root != c.Root || proof.Leaf != leaf {
			t.Errorf("the proof of position %d in size %d: %v, %+v", p, c.Size, err, proof)
		}
		proof.Leaf[3] ^= 1
		if err := proof.Check(); !errors.Is(err, ledger.ErrBroken) {
			t.Errorf("the proof of another leaf: %v", err)
		}
		growth, err := l.Grow(t.Context(), p, c.Size)
		if err != nil {
			t.Fatal(err)
		}
		if err := growth.Check(); err != nil || growth.ToRoot != c.Root {
			t.Errorf("the proof that size %d grew from %d: %v", c.Size, p, err)
		}
		growth.FromRoot[0] ^= 1
		if err := growth.Check(); !errors.Is(err, ledger.ErrBroken) {
			t.Errorf("the proof of growth from another tree: %v", err)
		}
	}
	if _, err := l.Include(t.Context(), 1, c.Size+1); !errors.Is(err, ledger.ErrSize) {
		t.Errorf("a proof in a tree that is yet to come: %v, want ErrSize", err)
	}
	tiles := ledger.NewTiles(c, fetchFrom(l))
	n, err := ledger.Verification{Checkpoint: c, Leaves: tiles.Leaves()}.Run(t.Context(), each(events))
	if err != nil || n != c.Size {
		t.Errorf("verification of size %d: %d events, %v", c.Size, n, err)
	}
}

func TestAFileOfTheTreeThatIsDamagedIsNotTakenForTheLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	events, checkpoints, key := history(700), &published{}, newKey(t)
	log := &memory{events: events}
	feed(t, ledger.New(openFiles(t, dir), checkpoints, key, log, ledger.Options{}), events)
	for _, file := range []string{"level-0", "level-1"} {
		path := filepath.Join(dir, file)
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{5, len(was) / 2, len(was) - 1} {
			b := append([]byte(nil), was...)
			b[at] ^= 4
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			err := ledger.New(openFiles(t, dir), checkpoints, key, log, ledger.Options{}).CheckTail(t.Context(), 1000)
			if !errors.Is(err, ledger.ErrBroken) || errors.Is(err, eventstore.ErrDamaged) {
				t.Errorf("byte %d of %s: %v, want ErrBroken", at, file, err)
			}
		}
		if err := os.WriteFile(path, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := ledger.New(openFiles(t, dir), checkpoints, key, log, ledger.Options{}).CheckTail(t.Context(), 1000); err != nil {
		t.Errorf("the whole ledger: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "size"), []byte("many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.OpenFiles(dir); !errors.Is(err, ledger.ErrBroken) {
		t.Errorf("a size that is no number: %v", err)
	}
}

func fetchFrom(l *ledger.Ledger) ledger.Fetch {
	return func(ctx ctx, path string) ([]byte, error) {
		level, n, width, err := ledger.ParseTilePath(path)
		if err != nil {
			return nil, fmt.Errorf("fetch %s: %w", path, err)
		}
		return l.TileData(ctx, level, n, width)
	}
}

// TestALedgerThatWasRemovedIsComparedWithWhatWasSignedBeforeAnythingIsWritten has the folder of the tree removed, or put back from an older
// copy, over a log that was altered and one that was not.
func TestALedgerThatWasRemovedIsComparedWithWhatWasSignedBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	const n = 3000
	events, checkpoints, key := history(n), &published{}, newKey(t)
	feed(t, ledger.New(inFiles(t).open(t), checkpoints, key, &memory{events: events}, ledger.Options{}), events)
	altered := slices.Clone(events)
	altered[500] = rewritten(altered[500], func(e *eventstore.Envelope) { e.Recorded = e.Recorded.Add(1) })
	for name, test := range map[string]struct {
		kept int // events in the tree
		log  []eventstore.Envelope
		want error
	}{
		"removed":                 {0, events, nil},
		"older":                   {400, events, nil},
		"removed, and altered":    {0, altered, eventstore.ErrDamaged},
		"older, and altered":      {400, altered, eventstore.ErrDamaged},
		"removed, and the end is": {0, events[:n-1], eventstore.ErrDamaged},
	} {
		storage := inFiles(t)
		if test.kept > 0 {
			feed(t, ledger.New(storage.open(t), &published{}, key, &memory{events: events}, ledger.Options{}), events[:test.kept])
		}
		l := ledger.New(storage.open(t), checkpoints, key, &memory{events: test.log}, ledger.Options{})
		err := l.Restore(t.Context())
		if err == nil {
			err = l.CheckTail(t.Context(), 100)
		}
		if !errors.Is(err, test.want) || err != nil && !tellsPosition.MatchString(err.Error()) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if at, aerr := l.Checkpoint(t.Context()); aerr != nil || err == nil && at != n {
			t.Errorf("%s: the tree is at %d, %v", name, at, aerr)
		}
	}
}

func TestAHashThatNobodySignedIsNotBelievedAgainstTheLog(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ledger")
	events, key := history(700), newKey(t)
	before := &published{}
	feed(t, ledger.New(inFiles(t).open(t), before, key, &memory{events: events}, ledger.Options{}), events[:600])
	feed(t, ledger.New(openFiles(t, dir), &published{}, key, &memory{events: events}, ledger.Options{}), events)
	path := filepath.Join(dir, "level-0")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[650*32] ^= 1 // behind what before tells
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	err = ledger.New(openFiles(t, dir), before, key, &memory{events: events}, ledger.Options{}).CheckTail(t.Context(), 1000)
	if err == nil || !strings.Contains(err.Error(), "position 651") || !strings.Contains(err.Error(), "or the ledger is damaged there") {
		t.Errorf("%v", err)
	}
}

// TestOneThatNoLongerLeadsDoesNotPublishAnEarlierCheckpoint has two ledgers over one log sign, of which the one that was first lags behind.
func TestOneThatNoLongerLeadsDoesNotPublishAnEarlierCheckpoint(t *testing.T) {
	t.Parallel()
	events, key := history(500), newKey(t)
	log, checkpoints := &memory{events: events}, &published{}
	late := ledger.New(inFiles(t).open(t), checkpoints, key, log, ledger.Options{Interval: time.Hour})
	stop := errors.New("enough")
	err := late.Lead(t.Context(), func(ctx ctx) error {
		if err := late.Apply(ctx, 0, events[:100]); err != nil {
			return err
		}
		feed(t, ledger.New(inFiles(t).open(t), checkpoints, key, log, ledger.Options{}), events)
		return stop // behind which it signs once more
	})
	if c := checkpoints.latest(t, key); err != stop || c.Size != 500 {
		t.Errorf("the latest checkpoint is of size %d, %v; want 500", c.Size, err)
	}
}
