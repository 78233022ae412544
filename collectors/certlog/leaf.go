package certlog

import (
	"time"

	"github.com/leastwise/leastwise/collectors/jsonrecord"
	"github.com/leastwise/leastwise/collectors/source"
	"golang.org/x/crypto/cryptobyte"
)

// Types of entries, RFC 6962 section 3.1.
const (
	entryX509    = 0
	entryPrecert = 1
)

// leaf is a MerkleTreeLeaf, RFC 6962 section 3.4.
type leaf struct {
	at       time.Time
	leafType uint8
	entry    uint16
	// der is a certificate, or the TBSCertificate of a precertificate.
	der []byte
	// issuerKeyHash is the SHA-256 of the public key of a precertificate's issuer.
	issuerKeyHash []byte
}

// known is whether the leaf is of a type that this release reads; of others only the time is known.
func (l *leaf) known() bool { return l.leafType == 0 && l.entry <= entryPrecert }

// latest is the last millisecond that a timestamp message can hold.
var latest = uint64(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).UnixMilli())

// parseLeaf keeps references to raw.
func parseLeaf(raw []byte) (l leaf, bad *source.Malformed) {
	s := cryptobyte.String(raw)
	var version uint8
	if !s.ReadUint8(&version) {
		return l, jsonrecord.Malformed("the leaf is empty")
	}
	if version != 0 {
		return l, jsonrecord.Malformed("the leaf is not of version 1")
	}
	if !s.ReadUint8(&l.leafType) {
		return l, &source.Malformed{Reason: source.ReasonTruncated, Detail: "the leaf is cut off"}
	}
	if l.leafType != 0 {
		return l, nil
	}
	var at uint64
	if !s.ReadUint64(&at) || !s.ReadUint16(&l.entry) {
		return l, &source.Malformed{Reason: source.ReasonTruncated, Detail: "the leaf is cut off"}
	}
	if at > latest {
		return l, jsonrecord.Malformed("the leaf's time is after the year 9999")
	}
	l.at = time.UnixMilli(int64(at)).UTC()
	if l.entry > entryPrecert {
		return l, nil
	}
	var der, extensions cryptobyte.String
	if l.entry == entryPrecert && !s.ReadBytes(&l.issuerKeyHash, 32) ||
		!s.ReadUint24LengthPrefixed(&der) || !s.ReadUint16LengthPrefixed(&extensions) {
		return l, &source.Malformed{Reason: source.ReasonTruncated, Detail: "the leaf is cut off"}
	}
	if !s.Empty() {
		return l, jsonrecord.Malformed("bytes follow the leaf")
	}
	l.der = der
	return l, nil
}

// firstOfChain is the certificate that the extra data of a certificate entry name as the issuer's; nil if there is none.
func firstOfChain(extra []byte) []byte {
	var chain, first cryptobyte.String
	s := cryptobyte.String(extra)
	if !s.ReadUint24LengthPrefixed(&chain) || !s.Empty() || !chain.ReadUint24LengthPrefixed(&first) {
		return nil
	}
	return first
}
