package ledger

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Storage keeps the hashes of a tree. Implementations are safe for concurrent use.
type Storage interface {
	// Size returns how many leaves are kept.
	Size(ctx context.Context) (uint64, error)
	// Append keeps what a tree of size from has more at size to: of every level the hashes from the beginning of a tile on. All of it is
	// kept or nothing. ErrFenced when the tree is not of size from: another writer has been here.
	Append(ctx context.Context, from, to uint64, spans []Span) error
	// Tile returns the first hashes of a tile, width of them. ErrBroken when they are not there.
	Tile(ctx context.Context, level int, n uint64, width int) ([]Hash, error)
}

// Errors of the ledger. Test for them with errors.Is.
var (
	// ErrFenced means that another writer has been at the tree.
	ErrFenced = errors.New("the ledger was written by another")
	// ErrBroken means that the ledger's own hashes are damaged; the log may be whole.
	ErrBroken = errors.New("the ledger is damaged")
	// ErrSize means that no such tree is kept: the size, or a position in it, is yet to come.
	ErrSize = errors.New("the ledger has not come so far")
)

// load returns the edge of the tree that is kept.
func load(ctx context.Context, s Storage) (*edge, error) {
	size, err := s.Size(ctx)
	if err != nil {
		return nil, err
	}
	return edgeAt(ctx, s, size)
}

// edgeAt returns the edge that the tree had at a size.
func edgeAt(ctx context.Context, s Storage, size uint64) (*edge, error) {
	e := &edge{size: size}
	for level := range levels(size) {
		n := count(size, level)
		span := Span{Level: level, Start: n &^ (tileWidth - 1)}
		if width := int(n - span.Start); width > 0 {
			var err error
			if span.Hashes, err = s.Tile(ctx, level, n/tileWidth, width); err != nil {
				return nil, err
			}
		}
		e.spans = append(e.spans, span)
	}
	return e, nil
}

// reader reads hashes of the tree that is kept, as tlog numbers them. It is for one call, which ctx is of: tlog's interface has none.
type reader struct {
	ctx     context.Context
	storage Storage
	size    uint64
}

// ReadHashes implements tlog.HashReader.
func (r reader) ReadHashes(indexes []int64) ([]Hash, error) {
	hashes := make([]Hash, len(indexes))
	for i, index := range indexes {
		t := tlog.TileForIndex(tileHeight, index)
		t.W = int(min(count(r.size, t.L)-uint64(t.N)*tileWidth, tileWidth))
		tile, err := r.storage.Tile(r.ctx, t.L, uint64(t.N), t.W)
		if err != nil {
			return nil, err
		}
		if hashes[i], err = tlog.HashFromTile(t, bytesOf(tile), index); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBroken, err)
		}
	}
	return hashes, nil
}

// Height implements tlog.TileReader.
func (r reader) Height() int { return tileHeight }

// ReadTiles implements tlog.TileReader.
func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		tile, err := r.storage.Tile(r.ctx, t.L, uint64(t.N), t.W)
		if err != nil {
			return nil, err
		}
		data[i] = bytesOf(tile)
	}
	return data, nil
}

// SaveTiles implements tlog.TileReader.
func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}

func bytesOf(hashes []Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

func hashesOf(b []byte) []Hash {
	hashes := make([]Hash, len(b)/tlog.HashSize)
	for i := range hashes {
		hashes[i] = Hash(b[i*tlog.HashSize:])
	}
	return hashes
}
