package vault

import (
	"bytes"

	"github.com/valyala/fastjson"
)

var (
	responseEnd = []byte(`"type":"response"}`)
	idStart     = []byte(`"id":"`)
	plainMount  = []byte(`"mount_class":"secret"`)
)

// tells are names whose presence makes a response worth reading: a failure, a lease, a certificate, a wrapped answer, a
// token with counted uses, and mounts whose answers are about credentials. They stand in quotes, and quotes inside a JSON
// string are escaped, so nothing that an agent writes can hide one; at worst a line is read in full for nothing.
var tells = [][]byte{
	[]byte(`"error"`), []byte(`"lease_id"`), []byte(`"wrap_info"`), []byte(`"secret":`), []byte(`"serial_number"`),
	[]byte(`"remaining_uses"`), []byte(`"mount_type":"system"`), []byte(`"mount_type":"pki"`), []byte(`"mount_type":"ssh"`),
}

const idLength = 36 // of a request id, a UUID

// saidAlready tells the response line of a call to a secrets engine whose request line was decoded shortly before and
// that can add nothing to it. It is half of a busy log, so it is looked at without being taken apart; that it is JSON is
// checked all the same.
func (d *Decoder) saidAlready(text []byte) bool {
	if !d.opts.Pairing || !bytes.HasSuffix(text, responseEnd) || !bytes.Contains(text, plainMount) || !d.decodedShortlyBefore(text) {
		return false
	}
	for _, tell := range tells {
		if bytes.Contains(text, tell) {
			return false
		}
	}
	return fastjson.ValidateBytes(text) == nil
}

func (d *Decoder) decodedShortlyBefore(text []byte) bool {
	for {
		i := bytes.Index(text, idStart)
		if i < 0 || len(text) < i+len(idStart)+idLength+1 {
			return false
		}
		text = text[i+len(idStart):]
		if text[idLength] == '"' && d.recent.hasBytes(text[:idLength]) {
			return true
		}
	}
}
