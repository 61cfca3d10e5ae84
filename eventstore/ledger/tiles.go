package ledger

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// Fetch returns a tile by its path, as in C2SP tlog-tiles: tile/<level>/<number>, such as tile/0/x001/234 or tile/1/000.p/7.
type Fetch func(ctx context.Context, path string) ([]byte, error)

// Tiles is the tree of a checkpoint as somebody else keeps it. Nothing that it fetches is believed unless it leads to the root of the
// checkpoint. It is safe for concurrent use.
type Tiles struct {
	checkpoint Checkpoint
	fetch      Fetch

	mu    sync.Mutex
	known map[string][]byte
}

// mostTiles is how many tiles are remembered.
const mostTiles = 64

// NewTiles returns the tree of a checkpoint.
func NewTiles(c Checkpoint, fetch Fetch) *Tiles {
	return &Tiles{checkpoint: c, fetch: fetch, known: make(map[string][]byte)}
}

// Leaves are those of the tree.
func (t *Tiles) Leaves() Leaves { return authenticLeaves(t.hashes) }

// hashes returns what reads hashes of the tree.
func (t *Tiles) hashes(ctx context.Context) tlog.HashReader {
	return tlog.TileHashReader(t.checkpoint.tree(), tileReader{t, ctx})
}

// tileReader is Tiles as tlog reads them, for one call, which ctx is of.
type tileReader struct {
	tiles *Tiles
	ctx   context.Context
}

// Height implements tlog.TileReader.
func (r tileReader) Height() int { return tileHeight }

// ReadTiles implements tlog.TileReader.
func (r tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, t := range tiles {
		path := tilePath(t)
		r.tiles.mu.Lock()
		b, ok := r.tiles.known[path]
		r.tiles.mu.Unlock()
		if !ok {
			var err error
			if b, err = r.tiles.fetch(r.ctx, path); err != nil {
				return nil, err
			}
			if len(b) != t.W*tlog.HashSize {
				return nil, fmt.Errorf("%w: %s has %d bytes, not %d", ErrBroken, path, len(b), t.W*tlog.HashSize)
			}
		}
		data[i] = b
	}
	return data, nil
}

// SaveTiles implements tlog.TileReader. Its tiles have been checked.
func (r tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	r.tiles.mu.Lock()
	defer r.tiles.mu.Unlock()
	for i, t := range tiles {
		if len(r.tiles.known) >= mostTiles {
			clear(r.tiles.known)
		}
		r.tiles.known[tilePath(t)] = data[i]
	}
}

// tilePath returns the path of a tile. tlog's has the height in it, which C2SP's leaves out.
func tilePath(t tlog.Tile) string {
	return strings.Replace(t.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
}

// ParseTilePath returns the tile of a path as Fetch has it.
func ParseTilePath(path string) (level int, n uint64, width int, err error) {
	rest, ok := strings.CutPrefix(path, "tile/")
	t, err := tlog.ParseTilePath(fmt.Sprintf("tile/%d/%s", tileHeight, rest))
	if !ok || err != nil || t.L < 0 || t.N < 0 || t.L > 7 {
		return 0, 0, 0, fmt.Errorf("%q is no path of a tile", path)
	}
	return t.L, uint64(t.N), t.W, nil
}
