package commands

import (
	"io"
	"time"

	"github.com/tlsctl/tlsctl/commands/internal/render"
)

// env is what a command sees of the world. Nothing below it touches os.Stdout, the clock or the environment.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookupEnv      func(string) (string, bool)
	now            func() time.Time
	errOutput      outputOptions // how to report a failure, known before the flags are parsed
}

// printer writes the command's answer to stdout in the format asked for.
func (e *env) printer(o outputOptions) *render.Printer {
	return render.NewPrinter(e.stdout, o.Format, render.Detect(e.stdout, o.Color, e.lookupEnv))
}

// palette decides about colour on stderr; stdout may differ.
func (e *env) palette(o outputOptions) *render.Palette {
	return render.NewPalette(render.Colorful(o.Color, e.lookupEnv, e.stderr))
}
