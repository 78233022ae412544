package daemon

import (
	"fmt"
	"io"
	"log/slog"
)

// NewLogger writes to w in format "json" (the default, one object a line) or
// "text", from level "debug", "info" (the default), "warn" or "error" up.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var options slog.HandlerOptions
	switch level {
	case "debug":
		options.Level = slog.LevelDebug
	case "", "info":
		options.Level = slog.LevelInfo
	case "warn":
		options.Level = slog.LevelWarn
	case "error":
		options.Level = slog.LevelError
	default:
		return nil, fmt.Errorf("%w: log: level: got %q; expected debug, info, warn or error", ErrConfig, level)
	}
	switch format {
	case "", "json":
		return slog.New(slog.NewJSONHandler(w, &options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, &options)), nil
	default:
		return nil, fmt.Errorf("%w: log: format: got %q; expected json or text", ErrConfig, format)
	}
}

// Validate refuses an unknown level or format.
func (c LogConfig) Validate() error {
	_, err := NewLogger(io.Discard, c.Level, c.Format)
	return err
}
