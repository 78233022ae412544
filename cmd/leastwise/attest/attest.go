// Package attest makes the audit log provable to somebody who trusts neither this program nor the database: signed
// checkpoints of where its chains end, and an export that carries everything needed to compute them again.
//
// A checkpoint is a signed note (https://pkg.go.dev/golang.org/x/mod/sumdb/note), Ed25519, over lines of text; package
// record says how a row's hash follows from the one before. docs/audit.md describes both byte by byte, and
// docs/verify-audit.py checks them without any code of ours.
package attest

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/leastwise/leastwise/internal/store"
	"github.com/leastwise/leastwise/processor/record"
)

// title is the first line of a checkpoint.
const title = "leastwise audit log"

// Head is where a chain ended.
type Head struct {
	Topic     string
	Partition uint32
	Offset    int64
	Rows      uint64
	Hash      [32]byte
}

// Checkpoint is what was signed.
type Checkpoint struct {
	At    time.Time
	Heads []Head
}

// ErrCheckpoint says that a checkpoint is not what it should be.
var ErrCheckpoint = errors.New("not a checkpoint of an audit log")

// NewKey makes a site key: what signs, to be kept secret, and what verifies. name is the site's, without spaces and plus
// signs.
func NewKey(name string) (private, public string, err error) {
	private, public, err = note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", "", fmt.Errorf("make a key named %q: %w", name, err)
	}
	return private, public, nil
}

func (c *Checkpoint) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", title, c.At.UTC().Format(time.RFC3339))
	for _, h := range c.Heads {
		fmt.Fprintf(&b, "%s/%d %d %d %s\n", h.Topic, h.Partition, h.Offset, h.Rows, base64.StdEncoding.EncodeToString(h.Hash[:]))
	}
	return b.String()
}

// Sign gives the signed note.
func (c *Checkpoint) Sign(private string) ([]byte, error) {
	signer, err := note.NewSigner(strings.TrimSpace(private))
	if err != nil {
		return nil, fmt.Errorf("the site key: %w; make one with leastwise audit key", err)
	}
	return note.Sign(&note.Note{Text: c.text()}, signer)
}

// Open checks the signature of a checkpoint and reads it.
func Open(signed []byte, public string) (*Checkpoint, error) {
	verifier, err := note.NewVerifier(strings.TrimSpace(public))
	if err != nil {
		return nil, fmt.Errorf("the public key: %w", err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	lines := strings.Split(strings.TrimSuffix(opened.Text, "\n"), "\n")
	if len(lines) < 2 || lines[0] != title {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrCheckpoint, title)
	}
	c := &Checkpoint{}
	if c.At, err = time.Parse(time.RFC3339, lines[1]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	for _, line := range lines[2:] {
		h, err := parseHead(line)
		if err != nil {
			return nil, fmt.Errorf("%w: line %q: %w", ErrCheckpoint, line, err)
		}
		c.Heads = append(c.Heads, h)
	}
	return c, nil
}

func parseHead(line string) (h Head, err error) {
	fields := strings.Fields(line)
	if len(fields) != 4 || !strings.Contains(fields[0], "/") {
		return h, errors.New("expected TOPIC/PARTITION OFFSET ROWS HASH")
	}
	name := fields[0]
	slash := strings.LastIndexByte(name, '/')
	partition, err := strconv.ParseUint(name[slash+1:], 10, 32)
	if err != nil {
		return h, err
	}
	h.Topic, h.Partition = name[:slash], uint32(partition)
	if h.Offset, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
		return h, err
	}
	if h.Rows, err = strconv.ParseUint(fields[2], 10, 64); err != nil {
		return h, err
	}
	hash, err := base64.StdEncoding.DecodeString(fields[3])
	if err != nil || len(hash) != 32 {
		return h, errors.New("the hash is not 32 bytes of base64")
	}
	h.Hash = [32]byte(hash)
	return h, nil
}

// Row is one line of an export: a record as it went through Kafka, and the chain's hash after it.
type Row struct {
	Topic     string    `json:"topic"`
	Partition uint32    `json:"partition"`
	Offset    int64     `json:"offset"`
	At        time.Time `json:"at"`
	Key       []byte    `json:"key"`
	Value     []byte    `json:"value"`
	Hash      []byte    `json:"hash"`
}

// Walk proves every chain of the audit log from its beginning and gives where they end. each, if not nil, gets every row
// that was proven.
func Walk(ctx context.Context, db *store.DB, each func(Row) error) (*Checkpoint, error) {
	c := &Checkpoint{At: time.Now().UTC()}
	err := record.Chains(ctx, db, func(r record.Link) error {
		if n := len(c.Heads); n == 0 || c.Heads[n-1].Topic != r.Topic || c.Heads[n-1].Partition != r.Partition {
			c.Heads = append(c.Heads, Head{Topic: r.Topic, Partition: r.Partition})
		}
		h := &c.Heads[len(c.Heads)-1]
		h.Offset, h.Hash = r.Offset, r.Hash
		h.Rows++
		if each == nil {
			return nil
		}
		return each(Row{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, At: r.At, Key: []byte(r.Key), Value: []byte(r.Value), Hash: r.Hash[:]})
	})
	return c, err
}

// Holds proves that the log of today goes on from a checkpoint: every chain has the row at which it ended then, with the
// same hash, and as many rows before it. It fails with record.ErrChain.
func Holds(ctx context.Context, db *store.DB, old *Checkpoint) (now *Checkpoint, err error) {
	left := map[string]Head{}
	for _, h := range old.Heads {
		left[fmt.Sprintf("%s/%d", h.Topic, h.Partition)] = h
	}
	counts := map[string]uint64{}
	now, err = Walk(ctx, db, func(r Row) error {
		name := fmt.Sprintf("%s/%d", r.Topic, r.Partition)
		counts[name]++
		h, ok := left[name]
		if !ok || r.Offset != h.Offset {
			return nil
		}
		delete(left, name)
		if [32]byte(r.Hash) != h.Hash || counts[name] != h.Rows {
			return fmt.Errorf("%s offset %d is not what was signed at %s: %w", name, h.Offset, old.At.Format(time.RFC3339), record.ErrChain)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		return nil, fmt.Errorf("%s ended at offset %d when the checkpoint of %s was signed, and that row is not there: %w",
			name, left[name].Offset, old.At.Format(time.RFC3339), record.ErrChain)
	}
	return now, nil
}

// Export writes the whole log, a JSON object a line, and, as its last line, the signed checkpoint of it.
func Export(ctx context.Context, db *store.DB, to io.Writer, private string) (rows uint64, err error) {
	w := bufio.NewWriterSize(to, 1<<20)
	encoder := json.NewEncoder(w)
	c, err := Walk(ctx, db, func(r Row) error {
		rows++
		return encoder.Encode(r)
	})
	if err != nil {
		return rows, err
	}
	slices.SortFunc(c.Heads, func(a, b Head) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	signed, err := c.Sign(private)
	if err != nil {
		return rows, err
	}
	if err := encoder.Encode(map[string]string{"checkpoint": string(signed)}); err != nil {
		return rows, err
	}
	return rows, w.Flush()
}
