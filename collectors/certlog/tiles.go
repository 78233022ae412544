package certlog

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
)

// tiles makes proofs of a static log's tiles of hashes. Nothing in a tile is believed: the proofs are verified.
type tiles struct {
	fetch func(ctx context.Context, level, index uint64, width uint8) ([]byte, error)
	// full tiles, which never change. Emptied when a proof fails, lest a wrong one stays.
	full map[[2]uint64][]byte
}

const maxTiles = 64

func (t *tiles) consistency(ctx context.Context, first, second uint64) ([][]byte, error) {
	nodes, err := proof.Consistency(first, second)
	if err != nil {
		return nil, fmt.Errorf("consistency proof: %w", err)
	}
	return t.hashes(ctx, nodes, second)
}

func (t *tiles) inclusion(ctx context.Context, index, size uint64) ([][]byte, error) {
	nodes, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("inclusion proof: %w", err)
	}
	return t.hashes(ctx, nodes, size)
}

func (t *tiles) hashes(ctx context.Context, nodes proof.Nodes, size uint64) ([][]byte, error) {
	hashes := make([][]byte, 0, len(nodes.IDs))
	partial := map[[2]uint64][]byte{}
	for _, id := range nodes.IDs {
		hash, err := t.node(ctx, id, size, partial)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
}

// node is the hash of a subtree that is full in the tree of size entries.
func (t *tiles) node(ctx context.Context, id compact.NodeID, size uint64, partial map[[2]uint64][]byte) ([]byte, error) {
	level, index, height, within := layout.NodeCoordsToTileAddress(uint64(id.Level), id.Index)
	tile, err := t.tile(ctx, level, index, size, partial)
	if err != nil {
		return nil, err
	}
	first, last := within<<height*sha256.Size, (within+1)<<height*sha256.Size
	if uint64(len(tile)) < last {
		return nil, fmt.Errorf("%w: tile %d of level %d has too few hashes: %w", errWithheld, index, level, errUnreadable)
	}
	sub := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for ; first < last; first += sha256.Size {
		if err := sub.Append(tile[first:first+sha256.Size], nil); err != nil {
			return nil, fmt.Errorf("hash a tile: %w", err)
		}
	}
	return sub.GetRootHash(nil)
}

func (t *tiles) tile(ctx context.Context, level, index, size uint64, partial map[[2]uint64][]byte) ([]byte, error) {
	key := [2]uint64{level, index}
	if tile, ok := t.full[key]; ok {
		return tile, nil
	}
	if tile, ok := partial[key]; ok {
		return tile, nil
	}
	width := layout.PartialTileSize(level, index, size)
	tile, err := t.fetch(ctx, level, index, width)
	if err != nil {
		return nil, err
	}
	if width > 0 {
		partial[key] = tile
		return tile, nil
	}
	if t.full == nil || len(t.full) >= maxTiles {
		t.full = map[[2]uint64][]byte{}
	}
	t.full[key] = tile
	return tile, nil
}

// forget drops what the log told before, because it turned out wrong.
func (t *tiles) forget() { t.full = nil }
