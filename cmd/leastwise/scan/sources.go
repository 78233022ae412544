package scan

import (
	"bytes"
	"errors"
	"io"

	"github.com/leastwise/leastwise/collectors/agentusage"
	"github.com/leastwise/leastwise/collectors/certlog"
	"github.com/leastwise/leastwise/collectors/cloudtrail"
	"github.com/leastwise/leastwise/collectors/gcpaudit"
	"github.com/leastwise/leastwise/collectors/jwtregistry"
	"github.com/leastwise/leastwise/collectors/source"
	"github.com/leastwise/leastwise/collectors/spire"
	"github.com/leastwise/leastwise/collectors/vault"
	pb "github.com/leastwise/leastwise/schemas/leastwisev1"
)

// kind is a source that scan reads.
type kind struct {
	name      string
	decoder   func(noticed) source.Decoder
	records   func(r io.Reader, max int) source.Reader
	recognise func(record []byte) bool
	// alone: what its decoder says of a record does not depend on other records, so that files may be decoded side by side.
	alone bool
}

// noticed takes what decoders learn besides events.
type noticed struct {
	fact   func(*pb.Fact)
	assets *gcpaudit.Assets
}

// kinds in the order in which their names are told.
var kinds = []kind{
	{vault.System, func(noticed) source.Decoder { return vault.NewDecoder(vault.Options{}) }, vault.Records, vault.Recognise, false},
	{cloudtrail.System, func(n noticed) source.Decoder { return cloudtrail.NewDecoder(cloudtrail.Options{Facts: n.fact}) }, cloudtrail.Records, cloudtrail.Recognise, true},
	{gcpaudit.System, func(n noticed) source.Decoder {
		return gcpaudit.NewDecoder(gcpaudit.Options{Facts: n.fact, Assets: n.assets})
	}, gcpaudit.Records, gcpaudit.Recognise, false},
	{spire.System, func(noticed) source.Decoder { return spire.NewDecoder(spire.Options{}) }, spire.Records, spire.Recognise, false},
	{certlog.System, func(noticed) source.Decoder { return certlog.NewDecoder(certlog.Options{}) }, certlog.Records, certlog.Recognise, false},
	{jwtregistry.System, func(noticed) source.Decoder { return jwtregistry.NewDecoder(jwtregistry.Options{}) }, jwtregistry.Records, jwtregistry.Recognise, false},
	{agentusage.System, func(noticed) source.Decoder { return agentusage.NewDecoder(agentusage.Options{}) }, agentusage.Records, agentusage.Recognise, false},
}

// Sources are the names that --source takes.
func Sources() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

func kindOf(name string) (kind, bool) {
	for _, k := range kinds {
		if k.name == name {
			return k, true
		}
	}
	return kind{}, false
}

const (
	peekBytes   = 256 << 10
	peekRecords = 20
)

// guess tells a file's source by its first records: the one that recognises the most. ok is false if none knows any.
func guess(head []byte) (best kind, ok bool) {
	most := 0
	for _, k := range kinds {
		reader := k.records(bytes.NewReader(head), 0)
		n := 0
		for range peekRecords {
			line, err := reader.Next()
			if err == nil && len(line.Bytes) > 0 && k.recognise(line.Bytes) {
				n++
			}
			if err != nil {
				// The last line may have no end, unless the head was cut from a longer log.
				if errors.Is(err, io.EOF) && len(line.Bytes) > 0 && len(head) < peekBytes && k.recognise(line.Bytes) {
					n++
				}
				break
			}
		}
		if n > most {
			best, most = k, n
		}
		if most == peekRecords {
			break // none can know more
		}
	}
	return best, most > 0
}
