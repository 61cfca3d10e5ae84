package jetstream_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rollcall/eventstore"
	"rollcall/eventstore/jetstream"
	"rollcall/eventstore/storetest"
)

// use starts the embedded log of a folder, calls f with its store and stops it again.
func use(t *testing.T, dir string, f func(s *jetstream.Store)) error {
	t.Helper()
	e, err := jetstream.StartEmbedded(jetstream.EmbeddedConfig{Dir: dir})
	if err != nil {
		return err
	}
	defer func() {
		if err := e.Stop(); err != nil {
			t.Error(err)
		}
	}()
	nc, err := e.Connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	s, err := e.Open(t.Context(), nc, jetstream.Config{})
	if err != nil {
		return err
	}
	defer s.Close()
	f(s)
	return nil
}

const writtenEvents = 900

// writtenLog returns a folder with a stopped log of writtenEvents events.
func writtenLog(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := use(t, dir, func(s *jetstream.Store) {
		for n := 0; n < writtenEvents; n += 100 {
			var proposals []eventstore.Proposal
			for i := range 100 {
				id := eventstore.Account("app", fmt.Sprintf("u%d", n+i))
				proposals = append(proposals, eventstore.Proposal{Event: storetest.Event(id, "command")})
			}
			if _, err := s.Append(t.Context(), proposals...); err != nil {
				t.Fatal(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// readAll reads the whole log and returns how many events it yields.
func readAll(t *testing.T, s *jetstream.Store) (int, error) {
	n := 0
	for _, err := range s.Read(t.Context(), 1, writtenEvents) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// files returns the files of the stream in a store folder whose names end in suffix.
func files(t *testing.T, dir, suffix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(dir, "jetstream"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "ACCOUNTS") && strings.HasSuffix(path, suffix) {
			found = append(found, path)
		}
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("files *%s of the stream: %v, %v", suffix, found, err)
	}
	slices.Sort(found)
	return found
}

func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

func cut(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-info.Size()/3); err != nil {
		t.Fatal(err)
	}
}

func TestAStoppedLogStartsAgainWhole(t *testing.T) {
	dir := writtenLog(t)
	err := use(t, dir, func(s *jetstream.Store) {
		if n, err := readAll(t, s); n != writtenEvents || err != nil {
			t.Errorf("%d events, %v", n, err)
		}
		if err := s.Check(t.Context(), 1, writtenEvents); err != nil {
			t.Errorf("check of positions in the log: %v", err)
		}
		err := s.Check(t.Context(), 1, writtenEvents+5)
		if !errors.Is(err, eventstore.ErrDamaged) || !strings.Contains(err.Error(), "positions 901 to 905 are missing") {
			t.Errorf("check of a position past the end: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestADamagedLogIsRefusedWithAnErrorThatSaysWhatToDo(t *testing.T) {
	tests := []struct {
		name   string
		damage func(t *testing.T, dir string)
	}{
		{"its last block is cut short", func(t *testing.T, dir string) {
			cut(t, files(t, dir, ".blk")[0])
			remove(t, files(t, dir, "index.db")...)
		}},
		{"its last block is cut short under an index that knows more", func(t *testing.T, dir string) {
			cut(t, files(t, dir, ".blk")[0])
		}},
		{"its blocks are gone", func(t *testing.T, dir string) { remove(t, files(t, dir, ".blk")...) }},
		{"its blocks and index are gone", func(t *testing.T, dir string) {
			remove(t, append(files(t, dir, ".blk"), files(t, dir, "index.db")...)...)
		}},
		{"its stream is gone", func(t *testing.T, dir string) {
			remove(t, filepath.Dir(files(t, dir, "meta.inf")[0]))
		}},
		{"its store is gone", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "jetstream")) }},
		{"its stream and its last position are gone", func(t *testing.T, dir string) {
			remove(t, filepath.Dir(files(t, dir, "meta.inf")[0]), filepath.Join(dir, "last.position"))
		}},
		{"its last position cannot be read", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "last.position"), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"another event lies at its last position", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "last.position")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b = []byte(strings.Replace(string(b), `"sha256":"`, `"sha256":"00`, 1))
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := writtenLog(t)
			test.damage(t, dir)
			for range 2 { // a refusal must not heal it
				err := use(t, dir, func(s *jetstream.Store) {
					n, err := readAll(t, s)
					t.Errorf("the log was opened; reading it: %d events, %v", n, err)
				})
				if !errors.Is(err, eventstore.ErrDamaged) || !strings.Contains(err.Error(), "backup") {
					t.Fatalf("start: %v, want ErrDamaged", err)
				}
			}
		})
	}
}

// TestAFlippedBitIsNoticedOrHarmless flips one bit anywhere in the files of a
// stopped log: whatever the server makes of it, no event is lost in silence.
func TestAFlippedBitIsNoticedOrHarmless(t *testing.T) {
	original := writtenLog(t)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 12 {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
			t.Fatal(err)
		}
		paths := files(t, dir, "")
		path := paths[random.IntN(len(paths))]
		if round%2 == 0 {
			path = files(t, dir, ".blk")[0]
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			t.Fatal(err)
		}
		at := random.IntN(len(b))
		b[at] ^= 1 << random.IntN(8)
		if round%4 == 0 { // as after a crash: the server reads the blocks again
			remove(t, files(t, dir, "index.db")...)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		err = use(t, dir, func(s *jetstream.Store) {
			n, err := readAll(t, s)
			if !errors.Is(err, eventstore.ErrDamaged) && (err != nil || n != writtenEvents) {
				t.Errorf("byte %d of %s: %d events, %v", at, filepath.Base(path), n, err)
			}
			t.Logf("byte %d of %s: read %d events, %v", at, filepath.Base(path), n, err)
		})
		if err != nil && !errors.Is(err, eventstore.ErrDamaged) {
			t.Errorf("byte %d of %s: %v", at, filepath.Base(path), err)
		}
		t.Logf("byte %d of %s: %v", at, filepath.Base(path), err)
	}
}

// TestAReadOfOneApplicationNeverPassesOverAnEvent flips a bit in the data of an event that is the only one of its account, which the server
// then cannot read.
func TestAReadOfOneApplicationNeverPassesOverAnEvent(t *testing.T) {
	t.Parallel()
	const events, hurt, share = 300, 211, 10 // every tenth is of the small application, such as position 211
	dir := t.TempDir()
	err := use(t, dir, func(s *jetstream.Store) {
		var proposals []eventstore.Proposal
		for i := range events {
			app := "large"
			if i%share == 0 {
				app = "small"
			}
			proposals = append(proposals, eventstore.Proposal{Event: storetest.Event(eventstore.Account(app, fmt.Sprintf("user-%d.", i+1)), "command")})
		}
		if _, err := s.Append(t.Context(), proposals...); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{hurt, hurt + 1} { // of the small one, and of the large one
		damaged := t.TempDir()
		if err := os.CopyFS(damaged, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		block := files(t, damaged, ".blk")[0]
		b, err := os.ReadFile(block)
		if err != nil {
			t.Fatal(err)
		}
		i := bytes.LastIndex(b, fmt.Appendf(nil, "user-%d%%2E", at)) // in the data, which is behind the subject
		b[i] ^= 1
		if err := os.WriteFile(block, b, 0o600); err != nil {
			t.Fatal(err)
		}
		app := map[int]string{hurt: "small", hurt + 1: "large"}[at]
		told := func(what string, err error) {
			if !errors.Is(err, eventstore.ErrDamaged) || !strings.Contains(err.Error(), fmt.Sprintf("position %d is missing", at)) {
				t.Errorf("%s of the application whose event at position %d is damaged: %v", what, at, err)
			}
		}
		err = use(t, damaged, func(s *jetstream.Store) {
			for _, r := range []struct{ from, until eventstore.Position }{{1, events}, {share, events}} {
				told(fmt.Sprintf("reading %d to %d", r.from, r.until), lastError(s.ReadApp(t.Context(), app, r.from, r.until)))
			}
			if err := lastError(s.ReadApp(t.Context(), app, 1, hurt-1)); err != nil {
				t.Errorf("reading up to the damage: %v", err)
			}
			sub, err := s.SubscribeApp(t.Context(), app, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			for err == nil {
				_, err = sub.Next(t.Context(), 10)
			}
			told("following", err)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// lastError returns what events end with.
func lastError(events iter.Seq2[eventstore.Envelope, error]) (last error) {
	for _, last = range events {
	}
	return last
}
