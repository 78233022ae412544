package source

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// fingerprintSize is how much of a file's beginning tells it from others. It holds the first records whole, with their
// times: two logs of one busy client begin alike for many hundred bytes.
const fingerprintSize = 4 << 10

// Checkpoint says up to where a log has been published. The file is found again by what it is, not by its name: by
// device, inode and beginning, or by its beginning alone once it was copied or packed.
type Checkpoint struct {
	Path   string `json:"path"`
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	// Fingerprint is the SHA-256 of the first FingerprintSize bytes, unpacked.
	Fingerprint     string `json:"fingerprint"`
	FingerprintSize int64  `json:"fingerprint_size"`
	// Offset of the first byte that was not published, in the unpacked file.
	Offset int64 `json:"offset"`
	// Modified is when the file was last written to, as far as seen: files changed later come after it.
	Modified time.Time `json:"modified"`
}

// LoadCheckpoint returns nil without error if there is none yet. A file that can not be read is an error: to begin at
// the start or the end of the log is for the operator to decide, by removing it.
func LoadCheckpoint(path string) (*Checkpoint, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	var c Checkpoint
	if err = json.Unmarshal(text, &c); err == nil && c.Offset < 0 {
		err = errors.New("its offset is negative")
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s is damaged (%w); remove it to read the log from its start again, which is safe: events are counted once", path, err)
	}
	return &c, nil
}

// Save replaces the checkpoint at path, all or nothing: a crash leaves the old or the new one.
func (c *Checkpoint) Save(path string) error {
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if err := ReplaceFile(path, append(text, '\n')); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

// ReplaceFile writes a file all or nothing, and returns when that is on disk: a crash leaves the old or the new one.
func ReplaceFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// fingerprint of the first size bytes of r; fewer if r ends.
func fingerprint(r io.Reader, size int64) (sum string, n int64, err error) {
	h := sha256.New()
	n, err = io.Copy(h, io.LimitReader(r, size))
	return hex.EncodeToString(h.Sum(nil)), n, err
}
