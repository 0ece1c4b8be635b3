package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// PipeResult says how a [Conn.Pipe] went.
type PipeResult struct {
	Sent       int64 `json:"sent_bytes"`
	Received   int64 `json:"received_bytes"`
	PeerClosed bool  `json:"peer_closed"` // the peer ended the stream; else it was silent too long after our end
	InputEnded bool  `json:"input_ended"` // all of the input was sent before that
}

// pipe is the state that the two directions share.
type pipe struct {
	c      *Conn
	in     io.Reader
	ended  atomic.Bool // the input is used up and the sending side closed
	sent   chan error  // one result of the sending side
	result PipeResult
}

// Pipe sends in to the peer and the peer's bytes to out until the peer ends the stream. When in ends, the sending
// side is closed and the peer has o.Timeout to go on after each of its bytes. in is read by a goroutine that outlives
// Pipe when in blocks.
func (c *Conn) Pipe(ctx context.Context, in io.Reader, out io.Writer) (PipeResult, error) {
	stop := c.watch(ctx)
	defer stop()
	c.readBy(ctx, time.Time{})
	p := &pipe{c: c, in: in, sent: make(chan error, 1)}
	go p.send(ctx)
	err := p.receive(ctx, out)
	p.result.Sent, p.result.Received = c.sent.Load(), c.received.Load()
	p.result.InputEnded = p.ended.Load()
	return p.result, err
}

func (p *pipe) send(ctx context.Context) {
	err := p.copyIn(ctx)
	wait := p.c.o.Timeout
	if err == nil {
		p.c.writeBy(ctx, time.Now().Add(p.c.o.Timeout))
		err = p.c.tls.CloseWrite()
		p.ended.Store(err == nil)
	}
	if err != nil {
		wait = grace
	}
	p.sent <- err
	p.c.readBy(ctx, time.Now().Add(wait))
}

// inputError is an error of the input rather than the connection.
type inputError struct{ err error }

func (e inputError) Error() string { return "read input: " + e.err.Error() }
func (e inputError) Unwrap() error { return e.err }

func (p *pipe) copyIn(ctx context.Context) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := p.in.Read(buf)
		if n > 0 {
			p.c.writeBy(ctx, time.Now().Add(p.c.o.Timeout))
			if err := p.c.write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return inputError{err}
		}
	}
}

func (p *pipe) receive(ctx context.Context, out io.Writer) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := p.c.read(buf)
		if n > 0 {
			if _, err := out.Write(buf[:n]); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			p.heard()
			if p.ended.Load() {
				p.c.readBy(ctx, time.Now().Add(p.c.o.Timeout))
			}
		}
		if err != nil {
			return p.finish(ctx, err)
		}
	}
}

func (p *pipe) heard() {
	p.c.mu.Lock()
	p.c.heard = true
	p.c.mu.Unlock()
}

// finish makes the result of both directions from how the receiving one ended.
func (p *pipe) finish(ctx context.Context, readErr error) error {
	c := p.c
	if isAlert(readErr) {
		return c.fail(ctx, probe.PhaseRead, readErr)
	}
	select {
	case err := <-p.sent:
		if err != nil {
			return p.sendError(ctx, err)
		}
	default:
	}
	switch {
	case errors.Is(readErr, io.EOF):
		p.result.PeerClosed = true
		return nil
	case errors.Is(readErr, os.ErrDeadlineExceeded) && ctx.Err() == nil && c.received.Load() > 0:
		c.warn(fmt.Sprintf("the peer did not close its side; it was taken as done after %v of silence", c.o.Timeout))
		return nil
	}
	return c.fail(ctx, probe.PhaseRead, readErr)
}

func (p *pipe) sendError(ctx context.Context, err error) error {
	if in, ok := errors.AsType[inputError](err); ok {
		return &probe.Error{Op: probe.PhaseWrite, Addr: p.c.o.Addr, Kind: probe.KindIO, Side: probe.SideLocal, Err: in}
	}
	return p.c.fail(ctx, probe.PhaseWrite, err)
}

// Settle waits up to d for the first thing that the server says after the handshake. With TLS 1.3 that is when it has
// judged the client's certificate: session tickets, or the alert that refuses it. Silence is no error. It does nothing
// where the handshake has told already.
func (c *Conn) Settle(ctx context.Context, d time.Duration) error {
	r := c.Report()
	if !r.ClientAuth.Requested || r.ClientAuth.Accepted != nil {
		return nil
	}
	stop := c.watch(ctx)
	defer stop()
	c.wire.settling.Store(true)
	defer c.wire.settling.Store(false)
	c.readBy(ctx, time.Now().Add(d))
	buf := make([]byte, 16<<10)
	n, err := c.tls.Read(buf)
	c.received.Add(int64(n))
	c.pending = buf[:n]
	if err != nil && (!errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil) {
		return c.fail(ctx, probe.PhaseRead, err)
	}
	if n > 0 || c.wire.spoke.Load() {
		c.mu.Lock()
		c.heard = true
		c.mu.Unlock()
	}
	c.readBy(ctx, time.Time{})
	return nil
}
