package commands

import (
	"log/slog"

	"github.com/tlsctl/tlsctl/commands/internal/render"
)

// logger writes to stderr. Both handlers leave no control or bidi character in what they write: the text handler
// quotes what unicode.IsPrint refuses, the JSON one is wrapped, for encoding/json lets DEL, C1 and bidi pass.
func (e *env) logger(o outputOptions) *slog.Logger {
	h := &slog.HandlerOptions{Level: o.LogLevel}
	if o.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(render.LogWriter(e.stderr), h))
	}
	return slog.New(slog.NewTextHandler(e.stderr, h))
}
