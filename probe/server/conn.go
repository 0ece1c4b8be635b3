package server

import (
	"crypto/tls"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/tlsctl/tlsctl/probe"
	"github.com/tlsctl/tlsctl/probe/frame"
)

// How a connection is brought to its end.
const (
	goodbyeTime   = time.Second            // for a close_notify to a peer that does not read
	lingerQuiet   = 500 * time.Millisecond // without a byte from the peer after our FIN
	lingerTime    = 2 * time.Second        // for bytes from the peer after our FIN; in a drain what is left of it
	refusalLinger = 500 * time.Millisecond // after a failed handshake, all in all
	refusalBytes  = 16 << 20               // the same, in bytes
)

// conn is one connection of a server, from accept to its report.
type conn struct {
	s   *Server
	w   *wire
	tls *tls.Conn

	start     time.Time
	shakeTime time.Duration
	protocol  string // as in Report
	slot      bool   // holds one of MaxConns

	lines    frame.Lines
	requests uint64
	in, out  uint64

	stream     stream // what echo reads and writes: tls, in tests also others
	small      [512]byte
	big        *buffer // while bytes come in
	armedUntil time.Time
	talking    bool // sent something while a drain went on
	ended      bool
}

// serve is the life of a connection after its handshake.
func (c *conn) serve() {
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v, debug.Stack())
		}
	}()
	c.stream = c.tls
	c.lines.Max = c.s.o.MaxFrame
	if c.slot = c.s.takeSlot(); !c.slot {
		c.finish(c.refuseBusy())
		return
	}
	c.finish(c.dispatch())
}

// dispatch serves the connection by mode, ALPN and first bytes.
func (c *conn) dispatch() (End, *probe.Error) {
	switch alpn := c.tls.ConnectionState().NegotiatedProtocol; {
	case alpn != "":
		return c.serveHTTP(alpn, nil)
	case c.s.o.Mode == ModeHTTP:
		return c.serveHTTP(protoHTTP1, nil)
	case c.s.o.Mode == ModeEcho:
		return c.serveEcho(nil)
	}
	c.s.track(c.w, reading{c})
	first, v, err := c.sniff()
	switch {
	case err != nil && len(first) == 0:
		return c.readEnded(err)
	case v == isHTTP:
		return c.serveHTTP(protoHTTP1, first)
	}
	return c.serveEcho(first)
}

// finish says goodbye, closes the connection and reports it.
func (c *conn) finish(end End, cause *probe.Error) {
	if c.w.closed.Load() != 0 {
		end, cause = EndCut, nil
	}
	c.close(end, cause)
	if c.w.closed.Load() != 0 {
		end, cause = EndCut, nil // while it said goodbye
	}
	c.over(end, cause)
}

// close sends close_notify and FIN, and reads until the peer has done the same: a close that makes the kernel send RST
// takes from the peer what it has not read yet.
func (c *conn) close(end End, cause *probe.Error) {
	defer c.w.Conn.Close() //nolint:errcheck // there is nobody left to tell
	if end == EndCut || cause != nil && (cause.Kind == probe.KindReset || cause.Kind == probe.KindInterrupted) {
		return
	}
	now := time.Now()
	goodbye, lim := now.Add(goodbyeTime), discardLimits{until: now.Add(lingerTime), quiet: lingerQuiet}
	if by, draining := c.s.drainEnd(); draining {
		lim.until = by
		if c.talking { // it will read all of its echo before it sees the end
			goodbye, lim.quiet = by, lingerTime
		}
	}
	c.w.limitWrites(goodbye)
	_ = c.tls.CloseWrite()
	_ = c.w.CloseWrite()
	c.w.discard(lim)
}

// over gives back what the connection held and reports it.
func (c *conn) over(end End, cause *probe.Error) {
	if c.ended {
		return
	}
	c.ended = true
	defer c.s.wg.Done()
	c.s.forget(c.w)
	if c.big != nil {
		c.s.buffers.give(c.big)
		c.big = nil
	}
	if c.slot {
		c.s.giveSlot()
	}
	c.s.report(c.describe(end, cause))
}

// panicked ends a connection whose goroutine panicked. The server goes on.
func (c *conn) panicked(v any, stack []byte) {
	_ = c.w.Conn.Close()
	c.s.o.Log.Error("panic in a connection", "peer", c.addr(), "panic", fmt.Sprint(v), "stack", string(stack))
	c.over(EndPanic, nil)
}

func (c *conn) addr() string {
	if a := c.w.Conn.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// drainEnd is when the present drain ends, if there is one.
func (s *Server) drainEnd() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drainBy, s.draining.Load()
}
