package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/tlsctl/tlsctl/commands/internal/render"
)

// The exit codes. They are a contract with scripts.
const (
	exitOK          = 0
	exitNo          = 1 // the check's answer is no
	exitUsage       = 2 // wrong usage or configuration
	exitFailed      = 3 // could not be done
	exitInterrupted = 130
)

// failure is everything that a person or a script is told about an error. Its JSON is the "error" of -o json.
type failure struct {
	Kind    string `json:"kind"`            // stable word
	Phase   string `json:"phase,omitempty"` // where in the connection's life, for connections
	Side    string `json:"side,omitempty"`  // who refused or broke off: local, peer, network
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	code    int
	printed bool // the answer is on stdout already: add no second document
}

// usageError is wrong usage or configuration: exit code 2.
type usageError struct {
	kind string // "" is "usage"
	msg  string
	hint string // "" points to --help
}

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &usageError{msg: fmt.Sprintf(format, args...)} }

// verdictError says that a check was made and its answer is no: exit code 1. The report has been printed before.
type verdictError struct {
	kind string
	msg  string
	hint string
}

func (e *verdictError) Error() string { return e.msg }

// hintError gives an error what to do about it, where the place that returns it knows more than exit.go.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// withHint returns err with a hint; nil stays nil.
func withHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hintError{err, hint}
}

// reportedError marks an error whose report, error object included, is on stdout already: in -o json there must be
// no second document. It still is written to stderr and still decides about the exit code.
type reportedError struct{ err error }

func (e *reportedError) Error() string { return e.err.Error() }
func (e *reportedError) Unwrap() error { return e.err }

// describe turns any error into what is said about it. It is the only place that knows exit codes.
func describe(err error) failure {
	f, known := describeKnown(err)
	if !known {
		f = describeSystem(err)
	}
	if f.Message == "" {
		f.Message = err.Error()
	}
	var h *hintError
	if errors.As(err, &h) {
		f.Hint = h.hint
	}
	var rep *reportedError
	f.printed = errors.As(err, &rep)
	return f
}

// describeKnown covers the errors of our own packages.
func describeKnown(err error) (failure, bool) {
	var verdict *verdictError
	if errors.As(err, &verdict) {
		return failure{Kind: verdict.kind, Hint: verdict.hint, code: exitNo, printed: true}, true
	}
	var usage *usageError
	if errors.As(err, &usage) {
		f := failure{Kind: "usage", Hint: usage.hint, code: exitUsage}
		if usage.kind != "" {
			f.Kind = usage.kind
		}
		return f, true
	}
	if f, ok := describeProbe(err); ok {
		return f, true
	}
	return describePKI(err)
}

// describeSystem covers what the operating system, the context or urfave/cli say.
func describeSystem(err error) failure {
	var coder cli.ExitCoder
	switch {
	case errors.Is(err, context.Canceled):
		return failure{Kind: "interrupted", Message: "interrupted", code: exitInterrupted}
	case errors.Is(err, context.DeadlineExceeded):
		return failure{Kind: "timeout", code: exitFailed}
	case errors.As(err, &coder):
		return failure{Kind: "usage", code: exitUsage}
	case errors.Is(err, syscall.EPIPE):
		return failure{Kind: "io", Message: "write the answer: broken pipe", code: exitFailed}
	case errors.Is(err, fs.ErrPermission):
		return failure{Kind: "permission", code: exitFailed}
	case errors.Is(err, os.ErrNotExist):
		return failure{Kind: "missing", code: exitUsage}
	}
	return failure{Kind: "io", code: exitFailed}
}

// exit reports err and returns the exit code. With -o json the error is the one document on stdout, unless a report
// is there already; people read it on stderr in any case.
func (e *env) exit(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	f := describe(err)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		f.Kind, f.code = "interrupted", exitInterrupted
	}
	if !f.printed {
		e.emitFailure(f)
	}
	hint := f.Hint
	if hint == "" && f.code == exitUsage {
		hint = "see 'tlsctl --help'"
	}
	pal := e.palette(e.errOutput)
	text := fmt.Sprintf("%s %s\n", pal.Bad("tlsctl:"), render.Clean(oneLine(f.Message)))
	if hint != "" {
		text += fmt.Sprintf("%s %s\n", pal.Dim("tlsctl: hint:"), render.Clean(oneLine(hint)))
	}
	_, _ = io.WriteString(e.stderr, text) // nobody is left to tell when this fails
	return f.code
}

// emitFailure writes the failure as the one document of a machine-readable format. That stdout itself may be what
// failed is no reason to say nothing: stderr follows.
func (e *env) emitFailure(f failure) {
	switch e.errOutput.Format {
	case render.FormatJSON, render.FormatYAML, render.FormatNDJSON:
		doc := struct {
			Error failure `json:"error"`
		}{f}
		_ = e.printer(e.errOutput).Emit(doc, func(*render.Doc) {})
	}
}

// oneLine keeps a message on one line, so that it can be found with grep.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
