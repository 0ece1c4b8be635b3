package commands

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/urfave/cli/v2"
)

// newApp builds the command tree. It is built anew for each run: flags keep state.
func newApp(e *env) *cli.App {
	var version versionOptions
	app := &cli.App{
		Name:            "tlsctl",
		Usage:           "mutual-TLS lab and connection doctor",
		Reader:          e.stdin,
		Writer:          e.stdout,
		ErrWriter:       e.stderr,
		HideVersion:     true, // cli's own -v is a shared global
		ExitErrHandler:  func(*cli.Context, error) {},
		OnUsageError:    onUsageError,
		HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "version", Usage: "print the version", Destination: &version.short},
		},
		Action: func(c *cli.Context) error {
			if version.short && c.NArg() == 0 {
				return runVersion(e, version)
			}
			return rejectUnknown(c, c.App.Commands)
		},
		DisableSliceFlagSeparator: true,
		Commands:                  allCommands(e),
	}
	prepare(app.Commands)
	return app
}

// prepare sets on every command what urfave/cli does not inherit, and gives each flag its environment variable.
func prepare(cmds []*cli.Command) {
	for _, c := range cmds {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true
		for _, f := range c.Flags {
			setEnvVar(f)
		}
		if len(c.Subcommands) > 0 && c.Action == nil {
			subs := c.Subcommands
			c.Action = func(ctx *cli.Context) error { return rejectUnknown(ctx, subs) }
		}
		prepare(c.Subcommands)
	}
}

// setEnvVar names the variable after the flag alone, so that one setting serves every command that has the flag.
// cli.Flag offers no setter, but all its flag types have the field.
func setEnvVar(f cli.Flag) {
	field := reflect.ValueOf(f).Elem().FieldByName("EnvVars")
	field.Set(reflect.ValueOf([]string{envName(f.Names()[0])}))
}

func envName(flag string) string {
	return "TLSCTL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// rejectUnknown is the Action of the program and of each group: what is left over names no command.
func rejectUnknown(c *cli.Context, cmds []*cli.Command) error {
	self := strings.TrimSpace(c.Command.HelpName)
	if self == "" {
		self = c.App.Name
	}
	if c.NArg() == 0 {
		return &usageError{msg: self + ": which command?", hint: "one of " + names(cmds) + "; see '" + self + " --help'"}
	}
	return unknownCommand(self, c.Args().First(), cmds)
}

func unknownCommand(self, name string, cmds []*cli.Command) error {
	hint := "see '" + self + " --help'"
	if near := cli.SuggestCommand(cmds, name); near != "" && !strings.Contains(near, `""`) {
		hint = near + " " + hint
	}
	return &usageError{msg: fmt.Sprintf("unknown command %q", name), hint: hint}
}

func names(cmds []*cli.Command) string {
	var all []string
	for _, c := range cmds {
		all = append(all, c.Name)
	}
	return strings.Join(all, ", ")
}

// onUsageError replaces cli's own, which prints the help to stdout.
func onUsageError(c *cli.Context, err error, _ bool) error {
	name := "tlsctl"
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	msg := strings.Replace(err.Error(), " for flag -", " for flag --", 1)
	return &usageError{msg: msg, hint: "see '" + name + " --help'"}
}
