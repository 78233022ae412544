package spire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"unicode/utf8"
)

const (
	maxLabel = 256
	// maxNames bounds the texts that are kept for when they come again.
	maxNames = 8192
)

// name gives a text that is likely to come again, without a copy each time.
func (d *Decoder) name(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if known, ok := d.names[string(text)]; ok {
		return known
	}
	if len(d.names) >= maxNames {
		clear(d.names)
	}
	clear := cleanText(text, maxLabel)
	if len(text) <= maxLabel {
		d.names[string(text)] = clear
	}
	return clear
}

// spiffe gives a SPIFFE ID and the key of its identity; both are empty if the text is none.
func (d *Decoder) spiffe(text []byte) identity {
	if len(text) == 0 {
		return identity{}
	}
	if known, ok := d.ids[string(text)]; ok {
		return known
	}
	if !isSPIFFE(text) {
		return identity{}
	}
	if len(d.ids) >= maxNames {
		clear(d.ids)
	}
	id := cleanText(text, 2048)
	known := identity{id, d.identity + id}
	d.ids[string(text)] = known
	return known
}

// put adds a label to those of the event being made.
func (d *Decoder) put(name string, value []byte) {
	if len(value) == 0 {
		return
	}
	value = value[:min(len(value), maxLabel+utf8.UTFMax)] // cut for good when the map is made
	d.pending = append(d.pending, byte(len(name)))
	d.pending = append(d.pending, name...)
	d.pending = binary.LittleEndian.AppendUint16(d.pending, uint16(len(value)))
	d.pending = append(d.pending, value...)
}

var flagTrue = []byte("true")

// told is what lines have in common: the labels, who called, and whom they are about.
type told struct {
	labels          map[string]string
	caller, subject identity
}

// told gives what a line and the labels that were put say, and begins anew. Events with the same labels share one map:
// most lines of a log tell of the same few entries, agents and callers.
func (d *Decoder) told(e *entry) told {
	labels := len(d.pending)
	d.pending = append(append(append(d.pending, e.callerID...), ' '), e.spiffeID...)
	list := d.pending
	// The lengths tell the parts from each other.
	key := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(list, uint16(labels)), uint16(len(e.callerID)))
	d.pending = key[:0]
	if known, ok := d.same[string(key)]; ok {
		return known
	}
	if len(d.same) >= maxNames {
		clear(d.same)
	}
	made := told{caller: d.spiffe(e.callerID), subject: d.spiffe(e.spiffeID)}
	if list = list[:labels]; labels > 0 {
		made.labels = make(map[string]string, 8)
	}
	for len(list) > 0 {
		n := int(list[0])
		name := string(list[1 : 1+n])
		list = list[1+n:]
		n = int(binary.LittleEndian.Uint16(list))
		made.labels[name] = cleanText(list[2:2+n], maxLabel)
		list = list[2+n:]
	}
	if len(key) <= maxRemembered {
		d.same[string(key)] = made
	}
	return made
}

// maxRemembered is the longest that is remembered.
const maxRemembered = 4096

// cleanText cuts a text to a length without cutting a character, and replaces what protobuf and ClickHouse can not hold.
func cleanText(text []byte, limit int) string {
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit]
	}
	if bytes.IndexByte(text, 0) >= 0 {
		text = bytes.ReplaceAll(text, []byte{0}, []byte("\uFFFD"))
	}
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	return string(text)
}

const joinTokenPath = "/spire/agent/join_token/"

// withoutTokens replaces join tokens in parents and selectors by a hash: an entry may be made for an agent that has yet
// to attest, and then its id holds a token that is still good.
func withoutTokens(text []byte) []byte {
	if !bytes.Contains(text, []byte(joinTokenPath)) {
		return text
	}
	var out []byte
	for {
		before, rest, found := bytes.Cut(text, []byte(joinTokenPath))
		out = append(out, before...)
		if !found {
			return out
		}
		end := bytes.IndexAny(rest, ", ")
		if end < 0 {
			end = len(rest)
		}
		sum := sha256.Sum256(rest[:end])
		out = append(out, joinTokenPath+"sha256:"...)
		out = hex.AppendEncode(out, sum[:8])
		text = rest[end:]
	}
}

// safeSelectors leaves out join tokens and the values of environment variables.
func safeSelectors(text []byte) []byte {
	text = withoutTokens(text)
	if !bytes.Contains(text, []byte(":env:")) {
		return text
	}
	var out []byte
	for part := range bytes.SplitSeq(text, []byte(",")) {
		if len(out) > 0 {
			out = append(out, ',')
		}
		if at := bytes.Index(part, []byte(":env:")); at >= 0 {
			if equals := bytes.IndexByte(part[at:], '='); equals >= 0 {
				part = append(bytes.Clone(part[:at+equals]), "=(blanked)"...)
			} else {
				part = append(bytes.Clone(part[:at]), ":env:(blanked)"...)
			}
		}
		out = append(out, part...)
	}
	return out
}
