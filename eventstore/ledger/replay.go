package ledger

import (
	"bufio"
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

// VerifyReplay compares the events of a file with its proof and a checkpoint, whose signature has been checked, and returns how many they
// are. Nothing of a service is needed. The error is a *Difference for the first event that is not as it was signed, ErrProof when
// the proof is not of the checkpoint, or one that the events end with.
func VerifyReplay(ctx context.Context, c Checkpoint, proof io.Reader, events iter.Seq2[eventstore.Envelope, error]) (uint64, error) {
	next, stop := iter.Pull2(events)
	defer stop()
	var verified uint64
	var wrong error // the first difference: what the proof says is known once it is read to its end
	note := func(err error) {
		if wrong == nil {
			wrong = err
		}
	}
	var h hasher
	var tree stack
	e, err, more := next()
	for n, perr := range readProof(proof) {
		if perr == nil {
			perr = ctx.Err()
		}
		if perr != nil {
			return verified, perr
		}
		tree.add(n)
		for more && err == nil && wrong == nil && (uint64(e.Position) < n.first || !n.event && uint64(e.Position) <= n.last) {
			note(&Difference{e.Position, Inserted, fmt.Sprintf("event %s is not among those that the proof is of", e.ID)})
		}
		if !n.event || wrong != nil {
			continue
		}
		if err != nil {
			note(err)
			continue
		}
		if !more || uint64(e.Position) > n.first {
			note(&Difference{eventstore.Position(n.first), Dropped, "the proof is of an event there, and the file has none"})
			continue
		}
		leaf, lerr := h.leaf(e)
		if lerr != nil {
			return verified, lerr
		}
		if leaf != n.hash {
			note(&Difference{e.Position, Altered, fmt.Sprintf("what is there now is event %s, a %s of %s", e.ID, e.Type, e.Aggregate)})
			continue
		}
		verified++
		e, err, more = next()
	}
	switch {
	case tree.size != c.Size || tree.root() != c.Root:
		return verified, fmt.Errorf("%w: its hashes do not lead to what was signed for size %d", ErrProof, c.Size)
	case wrong != nil:
		return verified, wrong
	case err != nil:
		return verified, err
	case more && uint64(e.Position) <= c.Size:
		return verified, &Difference{e.Position, Inserted, fmt.Sprintf("event %s is not among those that the proof is of", e.ID)}
	}
	return verified, nil
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
