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
)

// kind is a source that scan reads.
type kind struct {
	name      string
	decoder   func(s *scanner) source.Decoder
	records   func(r io.Reader, max int) source.Reader
	recognise func(record []byte) bool
}

// kinds in the order in which their names are told.
var kinds = []kind{
	{vault.System, func(*scanner) source.Decoder { return vault.NewDecoder(vault.Options{}) }, vault.Records, vault.Recognise},
	{cloudtrail.System, func(*scanner) source.Decoder { return cloudtrail.NewDecoder(cloudtrail.Options{}) }, cloudtrail.Records, cloudtrail.Recognise},
	{gcpaudit.System, func(s *scanner) source.Decoder {
		return gcpaudit.NewDecoder(gcpaudit.Options{Facts: s.fact, Assets: s.assets})
	}, gcpaudit.Records, gcpaudit.Recognise},
	{spire.System, func(*scanner) source.Decoder { return spire.NewDecoder(spire.Options{}) }, spire.Records, spire.Recognise},
	{certlog.System, func(*scanner) source.Decoder { return certlog.NewDecoder(certlog.Options{}) }, certlog.Records, certlog.Recognise},
	{jwtregistry.System, func(*scanner) source.Decoder { return jwtregistry.NewDecoder(jwtregistry.Options{}) }, jwtregistry.Records, jwtregistry.Recognise},
	{agentusage.System, func(*scanner) source.Decoder { return agentusage.NewDecoder(agentusage.Options{}) }, agentusage.Records, agentusage.Recognise},
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
				if errors.Is(err, io.EOF) && len(line.Bytes) > 0 && k.recognise(line.Bytes) { // the last line has no end
					n++
				}
				break
			}
		}
		if n > most {
			best, most = k, n
		}
	}
	return best, most > 0
}
