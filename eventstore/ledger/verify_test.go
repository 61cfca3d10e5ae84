package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/eventstore"
	"rollcall/eventstore/ledger"
)

// signedHistory returns a ledger over events, and its checkpoint.
func signedHistory(t *testing.T, events []eventstore.Envelope) (*ledger.Ledger, ledger.Checkpoint) {
	t.Helper()
	checkpoints, key := &published{}, newKey(t)
	l := ledger.New(inFiles(t).open(t), checkpoints, key, &memory{events: events}, ledger.Options{})
	feed(t, l, events)
	return l, checkpoints.latest(t, key)
}

// rewritten returns an event as somebody would write it who changes its bytes.
func rewritten(e eventstore.Envelope, change func(*eventstore.Envelope)) eventstore.Envelope {
	change(&e)
	return e
}

func TestVerificationNamesTheFirstEntryThatIsNotAsItWasSigned(t *testing.T) {
	t.Parallel()
	const n = 1000
	events := history(n)
	l, c := signedHistory(t, events)
	leaves := ledger.NewTiles(c, fetchFrom(l)).Leaves()
	edit := func(change func(e []eventstore.Envelope) []eventstore.Envelope) []eventstore.Envelope {
		return change(slices.Clone(events))
	}
	alter := func(p int, change func(*eventstore.Envelope)) []eventstore.Envelope {
		return edit(func(e []eventstore.Envelope) []eventstore.Envelope { e[p-1] = rewritten(e[p-1], change); return e })
	}
	renumber := func(e []eventstore.Envelope) []eventstore.Envelope {
		for i := range e {
			e[i].Position = eventstore.Position(i + 1)
		}
		return e
	}
	reissue := func(p int) []eventstore.Envelope {
		return edit(func(e []eventstore.Envelope) []eventstore.Envelope {
			for i := p - 1; i < n; i++ {
				e[i].Recorded = e[i].Recorded.Add(time.Hour)
			}
			return e
		})
	}
	flip := func(e *eventstore.Envelope) { e.Stored = bytes.Replace(e.Stored, []byte(`"n":`), []byte(`"n": `), 1) }
	for _, test := range []struct {
		name   string
		events []eventstore.Envelope
		at     eventstore.Position
		kind   ledger.Kind
	}{
		{"a byte of an event", alter(300, flip), 300, ledger.Altered},
		{"the first event", alter(1, flip), 1, ledger.Altered},
		{"the last event", alter(n, flip), n, ledger.Altered},
		{"a time", alter(511, func(e *eventstore.Envelope) { e.Recorded = e.Recorded.Add(1) }), 511, ledger.Altered},
		{"an account", alter(512, func(e *eventstore.Envelope) { e.Aggregate.Name += "x" }), 512, ledger.Altered},
		{"a guard", alter(513, func(e *eventstore.Envelope) { e.Previous++ }), 513, ledger.Altered},
		{"two neighbours", edit(func(e []eventstore.Envelope) []eventstore.Envelope {
			e[9], e[10] = e[10], e[9]
			e[9].Position, e[10].Position = 10, 11
			return e
		}), 10, ledger.Inserted},
		{"a hole", edit(func(e []eventstore.Envelope) []eventstore.Envelope { return slices.Delete(e, 699, 700) }), 700, ledger.Dropped},
		{"a hole that was closed", edit(func(e []eventstore.Envelope) []eventstore.Envelope { return renumber(slices.Delete(e, 699, 700)) }), 700, ledger.Dropped},
		{"an event more", edit(func(e []eventstore.Envelope) []eventstore.Envelope {
			return renumber(slices.Insert(e, 400, rewritten(e[400], flip)))
		}), 401, ledger.Inserted},
		{"an event twice", edit(func(e []eventstore.Envelope) []eventstore.Envelope { return slices.Insert(e, 400, e[399]) }), 400, ledger.Inserted},
		{"the end given out again", reissue(900), 900, ledger.Reissued},
		{"the very end given out again", reissue(n - 2), n - 2, ledger.Reissued},
		{"the end gone", events[:n-3], n - 2, ledger.Dropped},
		{"everything gone", nil, 1, ledger.Dropped},
	} {
		verified, err := ledger.Verification{Checkpoint: c, Leaves: leaves}.Run(t.Context(), each(test.events))
		var d *ledger.Difference
		if !errors.As(err, &d) || d.Position != test.at || d.Kind != test.kind || !errors.Is(err, eventstore.ErrDamaged) {
			t.Errorf("%s: %v, want position %d %s", test.name, err, test.at, test.kind)
		}
		if verified > uint64(test.at) {
			t.Errorf("%s: %d events were verified", test.name, verified)
		}
		if _, err := (ledger.Verification{Checkpoint: c}).Run(t.Context(), each(test.events)); !errors.Is(err, eventstore.ErrDamaged) {
			t.Errorf("%s, by the root alone: %v", test.name, err)
		}
	}
	more := append(slices.Clone(events), rewritten(events[0], func(e *eventstore.Envelope) { e.Position = n + 1 }))
	if verified, err := (ledger.Verification{Checkpoint: c, Leaves: leaves}).Run(t.Context(), each(more)); !errors.Is(err, ledger.ErrUnsigned) || verified != n {
		t.Errorf("what is behind the checkpoint: %d, %v", verified, err)
	}
}

func TestVerificationDoesNotBelieveTheServiceThatItsTilesComeFrom(t *testing.T) {
	t.Parallel()
	events := history(1000)
	_, c := signedHistory(t, events)
	altered := slices.Clone(events)
	altered[99] = rewritten(altered[99], func(e *eventstore.Envelope) { e.Recorded = e.Recorded.Add(1) })
	liar, _ := signedHistory(t, altered) // a tree over what was altered
	_, err := ledger.Verification{Checkpoint: c, Leaves: ledger.NewTiles(c, fetchFrom(liar)).Leaves()}.Run(t.Context(), each(altered))
	if err == nil {
		t.Error("a log and a tree that were both altered pass against the checkpoint from before")
	}
}

// ofApp returns the events of one application.
func ofApp(events []eventstore.Envelope, app string) []eventstore.Envelope {
	return slices.DeleteFunc(slices.Clone(events), func(e eventstore.Envelope) bool { return e.Aggregate.App != app })
}

func TestThePartOfOneApplicationIsVerified(t *testing.T) {
	t.Parallel()
	events := history(1000)
	l, c := signedHistory(t, events)
	part := ofApp(events, "app1")
	v := ledger.Verification{Checkpoint: c, Leaves: ledger.NewTiles(c, fetchFrom(l)).Leaves(), Part: true}
	if n, err := v.Run(t.Context(), each(part)); err != nil || n != uint64(len(part)) {
		t.Fatalf("the part: %d, %v", n, err)
	}
	var d *ledger.Difference
	missing := slices.Delete(slices.Clone(part), 20, 21)
	if _, err := v.Run(t.Context(), each(missing)); !errors.As(err, &d) || d.Kind != ledger.Dropped || d.Position != part[20].Position {
		t.Errorf("an event is left out: %v, want position %d", err, part[20].Position)
	}
	foreign := slices.Clone(part)
	foreign[30] = rewritten(events[31], func(e *eventstore.Envelope) { e.Position = part[30].Position })
	if _, err := v.Run(t.Context(), each(foreign)); !errors.As(err, &d) || d.Position != part[30].Position {
		t.Errorf("an event is replaced by another: %v", err)
	}
	for _, previous := range []eventstore.Position{part[40].Previous - 3, part[40].Position, 1 << 40} {
		guarded := slices.Clone(part)
		guarded[40] = rewritten(part[40], func(e *eventstore.Envelope) { e.Previous = previous })
		if _, err := v.Run(t.Context(), each(guarded)); !errors.As(err, &d) || d.Kind != ledger.Altered || d.Position != part[40].Position {
			t.Errorf("an event is said to follow position %d: %v, want position %d altered", previous, err, part[40].Position)
		}
	}
}

// positions yields the positions of events.
func positions(events []eventstore.Envelope) iter.Seq2[eventstore.Position, error] {
	return func(yield func(eventstore.Position, error) bool) {
		for _, e := range events {
			if !yield(e.Position, nil) {
				return
			}
		}
	}
}

func TestAReplayIsVerifiedByItsProofAlone(t *testing.T) {
	t.Parallel()
	events := history(1500)
	l, c := signedHistory(t, events[:1400])
	_, other := signedHistory(t, events[:1399])
	part := ofApp(events[:1400], "app2")
	inTree := len(part)
	var proof bytes.Buffer
	if err := ledger.NewTiles(c, fetchFrom(l)).WriteProof(t.Context(), &proof, positions(part)); err != nil {
		t.Fatal(err)
	}
	verify := func(c ledger.Checkpoint, proof string, events []eventstore.Envelope) (uint64, error) {
		return ledger.VerifyReplay(t.Context(), c, strings.NewReader(proof), each(events), ledger.Continuous)
	}
	if n, err := verify(c, proof.String(), part); err != nil || n != uint64(inTree) {
		t.Fatalf("the replay: %d events, %v; want %d", n, err, inTree)
	}
	altered := rewritten(part[40], func(e *eventstore.Envelope) { e.Stored = bytes.ToUpper(e.Stored) })
	behind := append(slices.Clone(part), events[1400], altered)
	if n, err := verify(c, proof.String(), behind); !errors.Is(err, ledger.ErrUnsigned) || n != uint64(inTree) {
		t.Errorf("an event behind the checkpoint: %d events, %v", n, err)
	}
	flipped := slices.Clone(part)
	flipped[40] = altered
	for name, test := range map[string]struct {
		events []eventstore.Envelope
		at     eventstore.Position
		kind   ledger.Kind
	}{
		"altered":                   {flipped, part[40].Position, ledger.Altered},
		"left out":                  {slices.Delete(slices.Clone(part), 7, 8), part[7].Position, ledger.Dropped},
		"the end left out":          {part[:inTree-1], part[inTree-1].Position, ledger.Dropped},
		"another application's one": {slices.Insert(slices.Clone(part), 3, events[part[3].Position-2]), part[3].Position - 1, ledger.Inserted},
	} {
		var d *ledger.Difference
		if _, err := verify(c, proof.String(), test.events); !errors.As(err, &d) || d.Position != test.at || d.Kind != test.kind {
			t.Errorf("%s: %v, want position %d %s", name, err, test.at, test.kind)
		}
	}
	if _, err := verify(other, proof.String(), part); !errors.Is(err, ledger.ErrProof) {
		t.Errorf("the checkpoint of another tree: %v, want ErrProof", err)
	}
	lines := strings.SplitAfter(proof.String(), "\n")
	for name, bad := range map[string]string{
		"empty": "", "another version": "v2\n", "a line less": strings.Join(slices.Delete(slices.Clone(lines), 5, 6), ""), "its end cut off": strings.Join(lines[:len(lines)/2], ""),
		"another hash": strings.Replace(proof.String(), lines[5], lines[5][:strings.LastIndex(lines[5], " ")]+lines[6][strings.LastIndex(lines[6], " "):], 1),
		"no text":      lines[0] + "\x00\x01\n",
	} {
		if _, err := verify(c, bad, part); !errors.Is(err, ledger.ErrProof) && !errors.Is(err, eventstore.ErrDamaged) || err == nil {
			t.Errorf("a proof with %s: %v", name, err)
		}
	}
}

// TestAProofCannotHideAnEvent has whoever writes the proof say that an event which the file leaves out is another application's.
func TestAProofCannotHideAnEvent(t *testing.T) {
	t.Parallel()
	events := history(900)
	l, c := signedHistory(t, events)
	proofOf := func(part []eventstore.Envelope) string {
		var proof bytes.Buffer
		if err := ledger.NewTiles(c, fetchFrom(l)).WriteProof(t.Context(), &proof, positions(part)); err != nil {
			t.Fatal(err)
		}
		return proof.String()
	}
	part := ofApp(events, "app1")
	hidden := part[70]
	without := slices.Delete(slices.Clone(part), 70, 71)
	for name, test := range map[string]struct {
		events []eventstore.Envelope
		extent ledger.Extent
		lost   eventstore.Position
	}{
		"all":                        {part, ledger.Continuous, 0},
		"one left out":               {without, ledger.Continuous, hidden.Position},
		"of the whole log":           {events, ledger.Whole, 0},
		"of less than the whole log": {events[:899], ledger.Whole, 900},
		"chosen":                     {without, ledger.Chosen, 0},
		"from a position on":         {part[50:], ledger.Continuous, 0},
		"from there, one left out":   {without[50:], ledger.Continuous, hidden.Position},
	} {
		_, err := ledger.VerifyReplay(t.Context(), c, strings.NewReader(proofOf(test.events)), each(test.events), test.extent)
		var d *ledger.Difference
		if test.lost == 0 && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if test.lost > 0 && (!errors.As(err, &d) || d.Kind != ledger.Dropped || d.Position != test.lost) {
			t.Errorf("%s: %v, want position %d dropped", name, err, test.lost)
		}
	}
}

func TestACheckpointIsOfItsKeyAlone(t *testing.T) {
	t.Parallel()
	key, other := newKey(t), newKey(t)
	signed, err := key.Sign(7, ledger.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	c, err := ledger.OpenCheckpoint(signed, key.Public())
	if err != nil || c.Size != 7 || c.Root != (ledger.Hash{1}) || !strings.HasPrefix(key.Public(), c.Origin+"+") {
		t.Errorf("the checkpoint is read as %+v, %v", c, err)
	}
	if _, err := ledger.OpenCheckpoint(signed, other.Public()); !errors.Is(err, ledger.ErrCheckpoint) {
		t.Errorf("by another key: %v", err)
	}
	if _, err := ledger.OpenCheckpoint(bytes.Replace(signed, []byte("\n7\n"), []byte("\n8\n"), 1), key.Public()); !errors.Is(err, ledger.ErrCheckpoint) {
		t.Errorf("with another size: %v", err)
	}
	if _, err := ledger.OpenCheckpoint(signed, "no key"); !errors.Is(err, ledger.ErrKey) {
		t.Errorf("by what is no key: %v", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if text := fmt.Sprintf(verb, key); text != key.Public() {
			t.Errorf("%s shows %s", verb, text)
		}
	}
}
