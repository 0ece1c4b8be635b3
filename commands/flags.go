package commands

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tlsctl/tlsctl/commands/internal/render"
)

// outputOptions are the flags that every command has.
type outputOptions struct {
	Format    render.Format
	Color     render.ColorMode
	Quiet     bool
	LogLevel  slog.Level
	LogFormat string
}

// outputFlags binds the flags of every command to o. A command that streams also offers ndjson.
func outputFlags(o *outputOptions, streams bool) []cli.Flag {
	o.Format, o.Color, o.LogFormat = render.FormatText, "auto", "text"
	return []cli.Flag{
		&cli.GenericFlag{
			Name: "output", Aliases: []string{"o"}, Usage: "write the answer as `FORMAT`: " + strings.Join(render.Formats(streams), ", "),
			Value: render.FormatValue(&o.Format, streams),
		},
		&cli.GenericFlag{
			Name: "color", Usage: "colour the text `WHEN`: auto, always, never",
			Value: &o.Color,
		},
		&cli.BoolFlag{
			Name: "quiet", Aliases: []string{"q"}, Usage: "leave out notes and next steps on stderr", Destination: &o.Quiet,
		},
		&cli.GenericFlag{
			Name: "log-level", Usage: "log from `LEVEL` upwards: debug, info, warn, error", Value: (*levelValue)(&o.LogLevel),
		},
		&cli.GenericFlag{
			Name: "log-format", Usage: "log to stderr as `FORMAT`: text, json", Value: newEnum(&o.LogFormat, "text", "json"),
		},
	}
}

// flags joins the flags of a command with the shared ones.
func flags(groups ...[]cli.Flag) []cli.Flag {
	var all []cli.Flag
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// enumValue is a flag.Value that refuses, while the arguments are parsed, what is not in its list.
type enumValue struct {
	dst     *string
	allowed []string
}

func newEnum(dst *string, allowed ...string) *enumValue { return &enumValue{dst, allowed} }

// Set implements flag.Value.
func (v *enumValue) Set(s string) error {
	for _, a := range v.allowed {
		if s == a {
			*v.dst = s
			return nil
		}
	}
	return fmt.Errorf("not one of %s", strings.Join(v.allowed, ", "))
}

// String implements flag.Value.
func (v *enumValue) String() string {
	if v == nil || v.dst == nil {
		return ""
	}
	return *v.dst
}

// levelValue is a flag.Value over a slog.Level.
type levelValue slog.Level

// Set implements flag.Value.
func (v *levelValue) Set(s string) error {
	switch s {
	case "debug", "info", "warn", "error":
		return (*slog.Level)(v).UnmarshalText([]byte(s))
	}
	return fmt.Errorf("not one of debug, info, warn, error")
}

// String implements flag.Value.
func (v *levelValue) String() string { return strings.ToLower(slog.Level(*v).String()) }

// oneArg returns the command's single argument; name says what it should have been.
func oneArg(c *cli.Context, name string) (string, error) {
	switch c.NArg() {
	case 0:
		return "", usagef("%s: <%s> is missing", c.Command.Name, name)
	case 1:
		return c.Args().First(), nil
	}
	return "", usagef("%s: one <%s> expected, got %d: %q", c.Command.Name, name, c.NArg(), c.Args().Slice())
}

// noArgs refuses what is left over on the command line.
func noArgs(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("%s: unexpected argument %q", c.Command.Name, c.Args().First())
	}
	return nil
}

// examples is a command's Description: an explanation, then at least two command lines to copy.
func examples(text string, lines ...string) string {
	var b strings.Builder
	if text != "" {
		b.WriteString(text + "\n\n")
	}
	b.WriteString("Examples:")
	for _, l := range lines {
		b.WriteString("\n   " + l)
	}
	return b.String()
}
