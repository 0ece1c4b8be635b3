package commands

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/tlsctl/tlsctl/commands/internal/render"
)

// optionalValue lists the flags that may stand without a value, and what they mean then.
func optionalValue(name string) (string, bool) {
	if name == "json" || name == "ndjson" {
		return "-", true // read standard input
	}
	return "", false
}

// normalizeArgs brings the arguments into the one order that urfave/cli parses: commands, flags, "--", the rest.
// It stops at the first non-flag otherwise, so that "send host:1 --json x" would ignore --json
// (urfave/cli#427). Nothing after "--" is touched. An unknown flag is an error here, with a suggestion.
func normalizeArgs(app *cli.App, args []string) ([]string, error) {
	if len(args) == 0 {
		return []string{app.Name}, nil
	}
	p := argParser{path: args[:1:1], cmds: app.Commands, root: app.Flags}
	rest := args[1:]
	for len(rest) > 0 && rest[0] != "--" {
		n, err := p.take(rest)
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		p.operands = append(p.operands, rest[1:]...)
	}
	out := append(p.path, p.flags...)
	if len(p.operands) > 0 {
		out = append(append(out, "--"), p.operands...)
	}
	return out, p.check()
}

// argParser walks the arguments once.
type argParser struct {
	path     []string       // the program and the commands found
	flags    []string       // flags with their values, in the order given
	operands []string       // everything else
	cmds     []*cli.Command // the commands that may follow
	root     []cli.Flag     // the flags of the program itself
	leaf     *cli.Command   // the command found so far
	unknown  string         // first flag that the command does not have
}

// take consumes one argument, or a flag and its value, and says how many arguments that was.
func (p *argParser) take(rest []string) (int, error) {
	arg := rest[0]
	if len(arg) < 2 || arg[0] != '-' {
		p.operand(arg)
		return 1, nil
	}
	name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	f := p.find(name)
	if f == nil {
		if p.unknown == "" {
			p.unknown = arg
		}
		p.flags = append(p.flags, arg)
		return 1, nil
	}
	if hasValue || !takesValue(f) {
		p.flags = append(p.flags, arg)
		return 1, nil
	}
	if standIn, ok := optionalValue(f.Names()[0]); ok && !p.isValue(rest[1:]) {
		p.flags = append(p.flags, "--"+f.Names()[0]+"="+standIn)
		return 1, nil
	}
	if len(rest) == 1 || rest[1] == "--" {
		return 0, &usageError{msg: "flag needs a value: " + arg, hint: "see '" + p.self() + " --help'"}
	}
	p.flags = append(p.flags, arg, rest[1])
	return 2, nil
}

// operand is either the next command or an argument of the last one.
func (p *argParser) operand(arg string) {
	if len(p.operands) == 0 {
		for _, c := range p.cmds {
			if c.HasName(arg) {
				p.path, p.leaf, p.cmds = append(p.path, arg), c, c.Subcommands
				return
			}
		}
	}
	p.operands = append(p.operands, arg)
}

// isValue says whether the next argument is a value for a flag that may stand alone: a known flag or "--" is none.
func (p *argParser) isValue(rest []string) bool {
	if len(rest) == 0 || rest[0] == "--" {
		return false
	}
	if len(rest[0]) < 2 || rest[0][0] != '-' {
		return true
	}
	name, _, _ := strings.Cut(strings.TrimLeft(rest[0], "-"), "=")
	return p.find(name) == nil
}

// find returns the flag called name. Before the command is known, any command's flag will do.
func (p *argParser) find(name string) cli.Flag {
	sets := [][]cli.Flag{p.root}
	if p.leaf != nil && len(p.cmds) == 0 {
		sets[0] = p.leaf.Flags
	} else {
		sets = append(sets, flagsBelow(p.cmds)...)
	}
	for _, set := range append(sets, []cli.Flag{cli.HelpFlag}) {
		for _, f := range set {
			for _, n := range f.Names() {
				if n == name {
					return f
				}
			}
		}
	}
	return nil
}

func flagsBelow(cmds []*cli.Command) [][]cli.Flag {
	var all [][]cli.Flag
	for _, c := range cmds {
		all = append(append(all, c.Flags), flagsBelow(c.Subcommands)...)
	}
	return all
}

func (p *argParser) self() string {
	return strings.Join(append([]string{"tlsctl"}, p.path[1:]...), " ")
}

// check reports an unknown command or flag; the command comes first, for its flags are not known without it.
func (p *argParser) check() error {
	if len(p.cmds) > 0 && len(p.operands) > 0 {
		return unknownCommand(p.self(), p.operands[0], p.cmds)
	}
	if p.unknown == "" {
		return nil
	}
	name, _, _ := strings.Cut(strings.TrimLeft(p.unknown, "-"), "=")
	hint := "see '" + p.self() + " --help'"
	if p.leaf != nil {
		if near := cli.SuggestFlag(p.leaf.Flags, name, false); near != "" {
			hint = fmt.Sprintf("did you mean %s? %s", near, hint)
		}
	}
	return &usageError{msg: fmt.Sprintf("unknown flag %q", p.unknown), hint: hint}
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}

// outputFor finds out how a failure is to be reported before the flags are parsed, for it may be they that are wrong.
// A word that is no format counts as text.
func outputFor(app *cli.App, args []string, lookupEnv func(string) (string, bool)) outputOptions {
	var o outputOptions
	set := func(name, value string) {
		switch name {
		case "output", "o":
			if render.FormatValue(&o.Format, true).Set(value) != nil {
				o.Format = render.FormatText
			}
		case "color":
			_ = o.Color.Set(value) // a wrong word is reported by the parser
		}
	}
	for _, name := range []string{"output", "color"} {
		if v, ok := lookupEnv(envName(name)); ok && v != "" {
			set(name, v)
		}
	}
	argv, err := normalizeArgs(app, args)
	if err != nil {
		argv = args
	}
	for i, arg := range argv {
		if arg == "--" {
			break
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !hasValue && i+1 < len(argv) {
			value = argv[i+1]
		}
		if strings.HasPrefix(arg, "-") {
			set(name, value)
		}
	}
	return o
}
