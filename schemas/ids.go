package schemas

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrKey says that a text is no credential or identity key.
var ErrKey = errors.New("not a key of the form system/instance/type/id")

// EventID names an event for ever: the first 16 bytes of the SHA-256 of the four parts, each preceded by its length
// (so that no two different quadruples are written alike). recordID is the source's own id of the record; index counts
// the events made from that record. The same record read again, elsewhere, in another order, gives the same id.
func EventID(system, instance, recordID string, index uint32) [16]byte {
	buf := make([]byte, 0, 256)
	buf = append(binary.AppendUvarint(buf, uint64(len(system))), system...)
	buf = append(binary.AppendUvarint(buf, uint64(len(instance))), instance...)
	buf = append(binary.AppendUvarint(buf, uint64(len(recordID))), recordID...)
	buf = binary.BigEndian.AppendUint32(buf, index)
	sum := sha256.Sum256(buf)
	return [16]byte(sum[:16])
}

// Key names a credential or an identity: system/instance/type/id. System, instance and type hold no slash; the id may.
type Key struct {
	System, Instance, Type, ID string
}

// String joins the four parts. Slashes in the first three become underscores, so that ParseKey gives back four parts.
func (k Key) String() string {
	return clean(k.System) + "/" + clean(k.Instance) + "/" + clean(k.Type) + "/" + k.ID
}

func clean(part string) string {
	if strings.IndexByte(part, '/') < 0 {
		return part
	}
	return strings.ReplaceAll(part, "/", "_")
}

// ParseKey splits a key. It fails with ErrKey if one of the four parts is missing.
func ParseKey(text string) (Key, error) {
	parts := strings.SplitN(text, "/", 4)
	if len(parts) != 4 || parts[0] == "" || parts[1] == "" || parts[2] == "" || parts[3] == "" {
		return Key{}, fmt.Errorf("%q: %w", text, ErrKey)
	}
	return Key{parts[0], parts[1], parts[2], parts[3]}, nil
}

// LinkID is the topic key of a link: a hash of what it joins, in hex.
func LinkID(kind, from, to string) string {
	id := EventID(kind, from, to, 0)
	return hex.EncodeToString(id[:])
}
