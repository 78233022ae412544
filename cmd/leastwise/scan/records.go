package scan

import (
	"errors"
	"fmt"
	"io"

	"github.com/leastwise/leastwise/collectors/source"
)

// Records calls fn with every record of a file, split as the source's collector splits it: packed files and archives are
// unpacked. A record longer than max is given as its hash; 0 is source.DefaultMaxLine. The line is valid until fn returns.
func Records(path, from string, max int, fn func(source.Line) error) error {
	k, ok := kindOf(from)
	if !ok {
		return fmt.Errorf("%w: unknown source %q", ErrUsage, from)
	}
	return each(path, func(_ string, content io.Reader) error {
		records := k.records(content, max)
		for {
			line, err := records.Next()
			if err != nil && !errors.Is(err, io.EOF) {
				return fmt.Errorf("read %s: %w", path, err)
			}
			if line.Length > 0 {
				if failed := fn(line); failed != nil {
					return failed
				}
			}
			if err != nil {
				return nil
			}
		}
	})
}
