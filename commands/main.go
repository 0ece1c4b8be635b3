// Package commands is the command line: arguments, flags, environment variables, exit codes, hints and signals.
//
// [Main] is the whole program. Each subcommand is one file with an options struct, a constructor (newXCmd), a run
// function that knows nothing of urfave/cli (runX) and a text writer.
package commands

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Main runs the command line args (with the program's name first) and returns the exit code:
// 0 done, 1 the check's answer is no, 2 wrong usage or configuration, 3 could not be done, 130 interrupted.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal must end a drain that does not: once the first has been seen, the default action is back.
	context.AfterFunc(ctx, stop)
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, lookupEnv: os.LookupEnv, now: time.Now}
	return run(ctx, e, args)
}

// run is Main without the process around it, which is what tests call.
func run(ctx context.Context, e *env, args []string) int {
	app := newApp(e)
	e.errOutput = outputFor(app, args, e.lookupEnv)
	argv, err := normalizeArgs(app, args)
	if err == nil {
		err = app.RunContext(ctx, argv)
	}
	return e.exit(ctx, err)
}
