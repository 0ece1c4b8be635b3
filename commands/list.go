package commands

import "github.com/urfave/cli/v2"

// allCommands lists every command, in the order in which help shows them.
func allCommands(e *env) []*cli.Command {
	return []*cli.Command{
		newVersionCmd(e),
	}
}
