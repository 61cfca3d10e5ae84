package ledger

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/bits"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"rollcall/eventstore"
)

// A proof of a replay is what, beside the events of a file and a checkpoint, tells that they are those of the log: the hashes of the
// tree from the left to the right, in lines. The first line is its version. Each further one is the leaf of an event of
// the file, as "event <position> <hash>", or the root of a whole subtree over events that the file does not have, as
// "others <first position> <last position> <hash>". Hashes are in base64. All of them together lead to the root of the checkpoint.
const proofVersion = "rollcall/replay-proof/v1"

// ErrProof means that a text is no proof of a replay, or not of the checkpoint.
var ErrProof = errors.New("this is no proof of the replay and the checkpoint")

// WriteProof writes the proof of the events at positions, which rise.
func (t *Tiles) WriteProof(ctx context.Context, w io.Writer, positions iter.Seq2[eventstore.Position, error]) error {
	p := proofWriter{tiles: t, ctx: ctx, out: bufio.NewWriter(w)}
	fmt.Fprintln(p.out, proofVersion) // an error stays with the writer
	for at, err := range positions {
		if err != nil {
			return err
		}
		if uint64(at) > t.checkpoint.Size {
			break
		}
		if uint64(at) <= p.size {
			return fmt.Errorf("position %d comes behind position %d: the events are not in the order of the log", at, p.size)
		}
		p.others(uint64(at) - 1)
		p.add(0, uint64(at)-1, fmt.Sprintf("event %d", at))
		if err := p.flush(false); err != nil {
			return err
		}
	}
	p.others(t.checkpoint.Size)
	return errors.Join(p.flush(true), p.out.Flush())
}

// proofWriter gathers lines until their hashes are fetched together.
type proofWriter struct {
	tiles   *Tiles
	ctx     context.Context // of one call of WriteProof
	out     *bufio.Writer
	size    uint64 // of the tree that is told of
	lines   []string
	indexes []int64
}

// others tells of all events up to a size.
func (p *proofWriter) others(size uint64) {
	for p.size < size {
		level := bits.Len64(size-p.size) - 1
		if p.size > 0 {
			level = min(level, bits.TrailingZeros64(p.size))
		}
		p.add(level, p.size>>level, fmt.Sprintf("others %d %d", p.size+1, p.size+1<<level))
	}
}

// add tells of a subtree.
func (p *proofWriter) add(level int, n uint64, line string) {
	p.lines = append(p.lines, line)
	p.indexes = append(p.indexes, tlog.StoredHashIndex(level, int64(n)))
	p.size = (n + 1) << level
}

// flush writes lines once there are many, or all.
func (p *proofWriter) flush(all bool) error {
	if len(p.lines) == 0 || len(p.lines) < tileWidth && !all {
		return nil
	}
	hashes, err := p.tiles.hashes(p.ctx).ReadHashes(p.indexes)
	if err != nil {
		return err
	}
	for i, h := range hashes {
		if _, err := fmt.Fprintln(p.out, p.lines[i], h); err != nil {
			return err
		}
	}
	p.lines, p.indexes = p.lines[:0], p.indexes[:0]
	return nil
}

// node is one line of a proof.
type node struct {
	event       bool
	first, last uint64 // positions
	hash        Hash
}

// readProof yields the lines of a proof, without a gap.
func readProof(r io.Reader) iter.Seq2[node, error] {
	return func(yield func(node, error) bool) {
		lines := bufio.NewScanner(r)
		if !lines.Scan() || lines.Text() != proofVersion {
			yield(node{}, fmt.Errorf("%w: it does not begin with %s", ErrProof, proofVersion))
			return
		}
		next := uint64(1)
		for lines.Scan() {
			n, err := parseNode(lines.Text())
			if err == nil && n.first != next {
				err = fmt.Errorf("%w: position %d should come next", ErrProof, next)
			}
			if !yield(n, err) || err != nil {
				return
			}
			next = n.last + 1
		}
		if err := lines.Err(); err != nil {
			yield(node{}, fmt.Errorf("%w: %w", ErrProof, err))
		}
	}
}

func parseNode(line string) (node, error) {
	var n node
	var hash string
	var err error
	if n.event = strings.HasPrefix(line, "event "); n.event {
		_, err = fmt.Sscanf(line, "event %d %s", &n.first, &hash)
		n.last = n.first
	} else {
		_, err = fmt.Sscanf(line, "others %d %d %s", &n.first, &n.last, &hash)
	}
	b, berr := base64.StdEncoding.DecodeString(hash)
	width := n.last - n.first + 1
	if err != nil || berr != nil || len(b) != tlog.HashSize || n.first == 0 || n.last < n.first || width&(width-1) != 0 || (n.first-1)%width != 0 {
		return n, fmt.Errorf("%w: %.100q is none of its lines", ErrProof, line)
	}
	n.hash = Hash(b)
	return n, nil
}

// Extent tells which events the file of a replay is to have, which its proof, that is believed in nothing, cannot tell.
type Extent string

// The extents.
const (
	Continuous Extent = "continuous" // all of an application or of an account from the first of the file on
	Chosen     Extent = "chosen"     // some, such as those of a type
	Whole      Extent = "whole"      // all of the log
)

// VerifyReplay compares the events of a file with its proof and a checkpoint, whose signature has been checked, and returns how many they
// are. Nothing of a service is needed. Whoever writes both the file and the proof cannot alter or add an event. Nor, of a Continuous
// replay, can they leave out one that another event of the file follows on the same aggregate, and of a Whole one none at all.
//
// The error is a *Difference for the first event that is not as it was signed, ErrProof when the proof is not of the checkpoint,
// ErrUnsigned for an event behind it, or one that the events end with.
func VerifyReplay(ctx context.Context, c Checkpoint, proof io.Reader, events iter.Seq2[eventstore.Envelope, error], extent Extent) (uint64, error) {
	next, stop := iter.Pull2(events)
	defer stop()
	r := replaying{extent: extent, next: next}
	r.advance()
	r.chain.first = r.event.Position
	var tree stack
	for n, err := range readProof(proof) {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return r.verified, err
		}
		tree.add(n)
		r.compare(n)
	}
	switch {
	case tree.size != c.Size || tree.root() != c.Root:
		return r.verified, fmt.Errorf("%w: its hashes do not lead to what was signed for size %d", ErrProof, c.Size)
	case r.wrong == nil && r.more && uint64(r.event.Position) > c.Size:
		return r.verified, unsigned(r.event, c)
	case r.wrong == nil && r.more:
		return r.verified, r.inserted()
	}
	return r.verified, r.wrong
}

// replaying is a VerifyReplay under way.
type replaying struct {
	extent   Extent
	next     func() (eventstore.Envelope, error, bool)
	event    eventstore.Envelope // that comes next
	more     bool                // whether one does
	hasher   hasher
	chain    chain
	verified uint64
	wrong    error // the first difference: what the proof says is known once it is read to its end
}

// advance goes on to the next event of the file.
func (r *replaying) advance() {
	var err error
	if r.event, err, r.more = r.next(); err != nil {
		r.wrong, r.more = err, false
	}
}

// compare compares what a line of the proof is of with the file, until something is wrong.
func (r *replaying) compare(n node) {
	at := uint64(r.event.Position)
	switch {
	case r.wrong != nil:
	case r.more && (at < n.first || !n.event && at <= n.last):
		r.wrong = r.inserted()
	case n.event && (!r.more || at > n.first):
		r.wrong = &Difference{eventstore.Position(n.first), Dropped, "the proof is of an event there, and the file has none"}
	case n.event:
		if r.wrong = r.same(n); r.wrong == nil {
			r.verified++
			r.advance()
		}
	case r.extent == Whole:
		r.wrong = &Difference{eventstore.Position(n.first), Dropped, "the file has no such event, and it is to be of the whole log"}
	}
}

// same returns nil when the next event is that of a line, and follows what it should.
func (r *replaying) same(n node) error {
	e := r.event
	switch leaf, err := r.hasher.leaf(e); {
	case err != nil:
		return err
	case leaf != n.hash:
		return &Difference{e.Position, Altered, fmt.Sprintf("what is there now is event %s, a %s of %s", e.ID, e.Type, e.Aggregate)}
	case r.extent == Continuous:
		return r.chain.add(e)
	}
	return nil
}

func (r *replaying) inserted() error {
	return &Difference{r.event.Position, Inserted, fmt.Sprintf("event %s is not among those that the proof is of", r.event.ID)}
}

// stack is a tree of whole subtrees from the left to the right.
type stack struct {
	size  uint64
	nodes []node
}

// add adds a subtree behind the others.
func (s *stack) add(n node) {
	s.size = n.last
	for len(s.nodes) > 0 {
		left := s.nodes[len(s.nodes)-1]
		width := left.last - left.first + 1
		if width != n.last-n.first+1 || (left.first-1)%(2*width) != 0 {
			break
		}
		n = node{first: left.first, last: n.last, hash: tlog.NodeHash(left.hash, n.hash)}
		s.nodes = s.nodes[:len(s.nodes)-1]
	}
	s.nodes = append(s.nodes, n)
}

// root returns the hash of the tree.
func (s *stack) root() Hash {
	if len(s.nodes) == 0 {
		return (&edge{}).root()
	}
	root := s.nodes[len(s.nodes)-1].hash
	for i := len(s.nodes) - 2; i >= 0; i-- {
		root = tlog.NodeHash(s.nodes[i].hash, root)
	}
	return root
}
