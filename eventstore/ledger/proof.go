package ledger

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"rollcall/eventstore"
)

// Inclusion proves that the event at a position is in a tree: RFC 6962's audit path.
type Inclusion struct {
	Position eventstore.Position
	Size     uint64
	Leaf     Hash
	Root     Hash
	Path     []Hash
}

// Check returns nil when the leaf is in the tree of the root. ErrBroken otherwise.
func (p Inclusion) Check() error {
	if p.Position == 0 || uint64(p.Position) > p.Size {
		return fmt.Errorf("%w: position %d is not in a tree of size %d", ErrBroken, p.Position, p.Size)
	}
	if err := tlog.CheckRecord(p.Path, int64(p.Size), p.Root, int64(p.Position)-1, p.Leaf); err != nil {
		return fmt.Errorf("%w: the proof of position %d: %w", ErrBroken, p.Position, err)
	}
	return nil
}

// Consistency proves that a tree has grown to another without a change of what was in it.
type Consistency struct {
	From, To         uint64 // sizes
	FromRoot, ToRoot Hash
	Path             []Hash
}

// Check returns nil when the one tree begins with the other. ErrBroken otherwise.
func (p Consistency) Check() error {
	if p.From == 0 && p.To >= p.From {
		return nil // every tree begins with the empty one
	}
	if err := tlog.CheckTree(p.Path, int64(p.To), p.ToRoot, int64(p.From), p.FromRoot); err != nil {
		return fmt.Errorf("%w: the proof that the tree of size %d grew from %d: %w", ErrBroken, p.To, p.From, err)
	}
	return nil
}

// within returns what reads hashes of the tree that is kept, which must have a size.
func (l *Ledger) within(ctx context.Context, size uint64) (reader, error) {
	kept, err := l.storage.Size(ctx)
	if err == nil && size > kept {
		err = fmt.Errorf("%w: it is at position %d, not yet at %d", ErrSize, kept, size)
	}
	return reader{ctx, l.storage, kept}, err
}

// root returns the hash of the tree at a size.
func (l *Ledger) root(ctx context.Context, size uint64) (Hash, error) {
	e, err := edgeAt(ctx, l.storage, size)
	if err != nil {
		return Hash{}, err
	}
	return e.root(), nil
}

// Include returns the proof that an event is in the tree of a size, which is at least its position. ErrSize when the tree that is kept is
// smaller.
func (l *Ledger) Include(ctx context.Context, position eventstore.Position, size uint64) (Inclusion, error) {
	r, err := l.within(ctx, size)
	if err != nil {
		return Inclusion{}, err
	}
	p := Inclusion{Position: position, Size: size}
	if p.Path, err = tlog.ProveRecord(int64(size), int64(position)-1, r); err != nil {
		return Inclusion{}, fmt.Errorf("prove position %d: %w", position, err)
	}
	leaf, err := r.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(position)-1)})
	if err != nil {
		return Inclusion{}, err
	}
	p.Leaf = leaf[0]
	p.Root, err = l.root(ctx, size)
	return p, err
}

// Grow returns the proof that the tree of a size begins with the one of another. ErrSize when the tree that is kept is smaller.
func (l *Ledger) Grow(ctx context.Context, from, to uint64) (Consistency, error) {
	r, err := l.within(ctx, to)
	if err != nil {
		return Consistency{}, err
	}
	p := Consistency{From: from, To: to}
	if from > 0 {
		if p.Path, err = tlog.ProveTree(int64(to), int64(from), r); err != nil {
			return Consistency{}, fmt.Errorf("prove that size %d grew from %d: %w", to, from, err)
		}
	}
	if p.FromRoot, err = l.root(ctx, from); err != nil {
		return Consistency{}, err
	}
	p.ToRoot, err = l.root(ctx, to)
	return p, err
}

// TileData returns the first hashes of a tile, width of them, one behind the other. ErrSize when the tree that is kept has not so many.
func (l *Ledger) TileData(ctx context.Context, level int, n uint64, width int) ([]byte, error) {
	kept, err := l.storage.Size(ctx)
	if err != nil {
		return nil, err
	}
	if n >= count(kept, level)/tileWidth+1 || n*tileWidth+uint64(width) > count(kept, level) {
		return nil, fmt.Errorf("%w: level %d has %d hashes", ErrSize, level, count(kept, level))
	}
	tile, err := l.storage.Tile(ctx, level, n, width)
	return bytesOf(tile), err
}
