package certlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/mod/sumdb/note"
)

// static is a log with the static-ct API, https://c2sp.org/static-ct-api.
type static struct {
	*getter
	key    *logKey
	origin string
	tiles  tiles
	// issuers are certificates by their SHA-256: a log has few.
	issuers map[[sha256.Size]byte][]byte
}

const maxIssuers = 4096

func newStatic(g *getter, key *logKey, origin string) *static {
	s := &static{getter: g, key: key, origin: origin, issuers: map[[sha256.Size]byte][]byte{}}
	s.tiles = tiles{fetch: s.tile}
	return s
}

// checkpointVerifier is the signature type 0x05 of signed notes, which hides a tree head's signature.
type checkpointVerifier struct {
	*static
	id   uint32
	head Head
}

func (s *static) verifier() *checkpointVerifier {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n\x05%s", s.origin, s.key.id[:])
	return &checkpointVerifier{static: s, id: binary.BigEndian.Uint32(sum.Sum(nil))}
}

func (v *checkpointVerifier) Name() string    { return v.origin }
func (v *checkpointVerifier) KeyHash() uint32 { return v.id }

func (v *checkpointVerifier) Verify(text, signature []byte) bool {
	lines := strings.Split(string(text), "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != v.origin || len(signature) < 8 {
		return false
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	root, err2 := base64.StdEncoding.DecodeString(lines[2])
	h := Head{Size: size, Root: root, Timestamp: binary.BigEndian.Uint64(signature), Signature: bytes.Clone(signature[8:])}
	if err != nil || err2 != nil || v.key.verify(h) != nil {
		return false
	}
	v.head = h
	return true
}

func (s *static) head(ctx context.Context) (Head, error) {
	text, err := s.get(ctx, "checkpoint", nil, maxSmall)
	if err != nil {
		return Head{}, err
	}
	v := s.verifier()
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch _, err = note.Open(text, note.VerifierList(v)); {
	case errors.As(err, &invalid):
		return Head{}, errSignature
	case errors.As(err, &unverified):
		first, _, _ := strings.Cut(unverified.Note.Text, "\n")
		if first != s.origin {
			return Head{}, fmt.Errorf("checkpoint: it is of another origin; set origin to the log's submission prefix without scheme if that is not %q: %w", s.origin, errSignature)
		}
		return Head{}, fmt.Errorf("checkpoint: none of its signatures is of the configured public key: %w", errSignature)
	case err != nil:
		return Head{}, fmt.Errorf("checkpoint: %w", errUnreadable)
	}
	return v.head, nil
}

// partly gets a tile, or the full one where the partial one is no more there.
func (s *static) partly(ctx context.Context, name string, index uint64, width uint8, limit int64) ([]byte, error) {
	text, err := s.get(ctx, name+"/"+layout.NWithSuffix(0, index, width), nil, limit)
	var status *statusError
	if width > 0 && errors.As(err, &status) && status.refused() {
		if full, err := s.get(ctx, name+"/"+layout.NWithSuffix(0, index, 0), nil, limit); err == nil {
			return full, nil
		}
	}
	return text, withheld(err)
}

// tile gets a tile of hashes.
func (s *static) tile(ctx context.Context, level, index uint64, width uint8) ([]byte, error) {
	return s.partly(ctx, "tile/"+decimal(level), index, width, layout.TileWidth*sha256.Size)
}

func (s *static) consistency(ctx context.Context, first, second uint64) ([][]byte, error) {
	return s.tiles.consistency(ctx, first, second)
}

func (s *static) inclusion(ctx context.Context, index uint64, _ []byte, size uint64) ([][]byte, error) {
	return s.tiles.inclusion(ctx, index, size)
}

// entries gives those of one tile.
func (s *static) entries(ctx context.Context, from, to uint64, in Head) ([]entry, error) {
	index := from / layout.TileWidth
	width := layout.PartialTileSize(0, index, in.Size)
	text, err := s.partly(ctx, "tile/data", index, width, maxBody)
	if err != nil {
		return nil, err
	}
	first := index * layout.TileWidth
	last := min(to, first+layout.TileWidth, in.Size)
	var out []entry
	rest := cryptobyte.String(text)
	for at := first; at < last; at++ {
		leaf, extra, ok := readTileLeaf(&rest)
		if !ok {
			return nil, fmt.Errorf("%w: entry %d in its data tile: %w", errWithheld, at, errUnreadable)
		}
		if at < from {
			continue
		}
		e := entry{leaf: leaf.input, extra: extra}
		if len(leaf.issuer) > 0 {
			if e.extra, err = s.chain(ctx, leaf.issuer); err != nil {
				return nil, err
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// tileLeaf is an entry of a data tile.
type tileLeaf struct {
	input  []byte // MerkleTreeLeaf
	issuer []byte // fingerprint of the first certificate of a certificate's chain
}

// readTileLeaf reads one TileLeaf. The extra data of a precertificate are its own; its issuer stands in the leaf.
func readTileLeaf(s *cryptobyte.String) (l tileLeaf, extra []byte, ok bool) {
	whole := *s
	var kind uint16
	var body, chain cryptobyte.String
	if !s.Skip(8) || !s.ReadUint16(&kind) || kind > entryPrecert || kind == entryPrecert && !s.Skip(sha256.Size) ||
		!s.ReadUint24LengthPrefixed(&body) || !s.ReadUint16LengthPrefixed(&body) {
		return l, nil, false
	}
	l.input = append([]byte{0, 0}, whole[:len(whole)-len(*s)]...)
	if kind == entryPrecert {
		from := *s
		if !s.ReadUint24LengthPrefixed(&body) {
			return l, nil, false
		}
		extra = append(extra, from[:len(from)-len(*s)]...)
		extra = append(extra, 0, 0, 0) // no chain
	}
	if !s.ReadUint16LengthPrefixed(&chain) || len(chain)%sha256.Size != 0 {
		return l, nil, false
	}
	if kind == entryX509 && len(chain) > 0 {
		l.issuer = chain[:sha256.Size]
	}
	return l, extra, true
}

// chain is the extra data of a certificate entry, with its issuer alone.
func (s *static) chain(ctx context.Context, fingerprint []byte) ([]byte, error) {
	key := [sha256.Size]byte(fingerprint)
	der, ok := s.issuers[key]
	if !ok {
		var err error
		name := hex.EncodeToString(fingerprint)
		if der, err = s.get(ctx, "issuer/"+name, nil, 1<<24); err != nil {
			return nil, withheld(err)
		}
		if sha256.Sum256(der) != key {
			return nil, fmt.Errorf("%w: issuer/%s is another certificate: %w", errWithheld, name, errUnreadable)
		}
		if len(s.issuers) >= maxIssuers {
			clear(s.issuers)
		}
		s.issuers[key] = der
	}
	var b cryptobyte.Builder
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(der) })
	})
	return b.Bytes()
}
