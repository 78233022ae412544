package scan

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/valyala/fastjson"

	"github.com/leastwise/leastwise/collectors/source"
)

// guessLines is how many lines are looked at to tell a file's source.
const guessLines = 20

// guess tells a file's source by its content, "" if it is of none that is known.
func guess(path string) (string, error) {
	reader, err := source.Open(path)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", path, err)
	}
	defer reader.Close()
	lines := source.NewLines(reader, 0)
	for range guessLines {
		line, err := lines.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		if isVault(line.Bytes) {
			return "vault", nil
		}
		if err != nil {
			break
		}
	}
	return "", nil
}

// isVault: an audit entry has a time, a type, and a request or a response beside them.
func isVault(line []byte) bool {
	start := bytes.IndexByte(line, '{') // devices may put a prefix before the entry
	if start < 0 || start > 128 {
		return false
	}
	v, err := fastjson.ParseBytes(line[start:])
	if err != nil {
		return false
	}
	return v.Exists("time") && v.Exists("type") && (v.Exists("request") || v.Exists("response") || v.Exists("auth"))
}
