package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// inlineWrite is how much is written before the answer is read. More is written beside the reading: an echo that is
// not read while its question is still being sent blocks both ends once the buffers between them are full.
const inlineWrite = 16 << 10

// Exchange sends a message and waits for the answer that it expects. A failure is a *[probe.Error]; the reply holds
// what came nevertheless. After a failure the connection is of no more use.
func (c *Conn) Exchange(ctx context.Context, m Message) (Reply, error) {
	stop := c.watch(ctx)
	defer stop()
	return c.exchange(ctx, m)
}

// watch ends what blocks on the connection when ctx ends.
func (c *Conn) watch(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.wire.Conn.SetDeadline(past()) })
}

// readBy bounds reading by t, or ends it at once when ctx has ended, whichever of the two came last.
func (c *Conn) readBy(ctx context.Context, t time.Time) {
	_ = c.wire.Conn.SetReadDeadline(t)
	if ctx.Err() != nil {
		_ = c.wire.Conn.SetReadDeadline(past())
	}
}

func (c *Conn) writeBy(ctx context.Context, t time.Time) {
	_ = c.wire.Conn.SetWriteDeadline(t)
	if ctx.Err() != nil {
		_ = c.wire.Conn.SetWriteDeadline(past())
	}
}

// span holds when the steps of an exchange were done.
type span struct{ start, written, first, last time.Time }

func (c *Conn) exchange(ctx context.Context, m Message) (Reply, error) {
	g := newGauge(m)
	c.buf = c.buf[:0]
	written, err := c.send(ctx, m, g.expect == ExpectNone && m.Last)
	switch {
	case err != nil:
		return Reply{}, err
	case g.expect == ExpectNone && !m.Last:
		err = c.join(ctx, nil, written)
	case g.expect == ExpectNone:
		err = c.join(ctx, c.readNone(ctx), written)
	default:
		err = c.join(ctx, c.readReply(ctx, &g), written)
	}
	c.span.last = time.Now()
	c.note()
	reply := Reply{Data: c.buf, RTT: c.span.last.Sub(c.span.start), Echo: g.same()}
	if err == nil {
		err = g.verdict(c.o.Addr, c.buf)
	}
	return reply, err
}

// send writes the payload, at once when it is short, else beside the reading of the answer; the channel then says how
// it ended. With finish the sending side is closed after it.
func (c *Conn) send(ctx context.Context, m Message, finish bool) (<-chan error, error) {
	c.span = span{start: time.Now()}
	c.writeBy(ctx, c.span.start.Add(c.o.Timeout))
	if len(m.Payload) > inlineWrite || finish {
		written := make(chan error, 1)
		c.readBy(ctx, c.span.start.Add(2*c.o.Timeout)) // the write moves it when it is done
		go c.writeBeside(ctx, m.Payload, finish, written)
		return written, nil
	}
	if err := c.write(m.Payload); err != nil {
		return nil, c.writeFailed(ctx, err)
	}
	c.span.written = time.Now()
	c.readBy(ctx, c.span.written.Add(c.o.Timeout))
	return nil, nil
}

func (c *Conn) write(b []byte) error {
	n, err := c.tls.Write(b)
	c.sent.Add(int64(n))
	return err
}

// writeBeside writes while the answer is read, and gives the rest of the answer its time from the end of the write.
func (c *Conn) writeBeside(ctx context.Context, b []byte, finish bool, done chan<- error) {
	err := c.write(b)
	if err == nil && finish {
		err = c.tls.CloseWrite()
	}
	c.span.written = time.Now()
	wait := c.o.Timeout
	if err != nil {
		wait = grace
	}
	c.readBy(ctx, c.span.written.Add(wait))
	done <- err
}

// join waits for the write beside and settles which of two errors is the news: what the peer said (an alert, or a
// reset with what is known of it) over our not being able to write any more.
func (c *Conn) join(ctx context.Context, readErr error, written <-chan error) error {
	if written == nil {
		return readErr
	}
	if readErr != nil {
		c.writeBy(ctx, past()) // nobody reads it any more
	}
	writeErr := <-written
	switch {
	case readErr == nil && writeErr != nil:
		c.warn("the peer answered before it had read all of the payload: " + writeErr.Error())
		return nil
	case readErr == nil, writeErr == nil, isAlert(readErr), errors.Is(writeErr, os.ErrDeadlineExceeded) && !timedOut(readErr):
		return readErr
	case timedOut(readErr):
		return c.fail(ctx, probe.PhaseWrite, writeErr)
	}
	return readErr
}

func timedOut(err error) bool {
	e, ok := errors.AsType[*probe.Error](err)
	return ok && e.Kind == probe.KindTimeout
}

// writeFailed reads what the peer had said before a write failed: with TLS 1.3 the alert that refuses the client's
// certificate is still unread when the first write meets the closed connection.
func (c *Conn) writeFailed(ctx context.Context, err error) error {
	c.readBy(ctx, time.Now().Add(grace))
	buf := make([]byte, 4<<10)
	for rest := c.o.MaxReply; rest > 0; {
		n, readErr := c.read(buf)
		rest -= int64(n)
		if isAlert(readErr) {
			return c.fail(ctx, probe.PhaseRead, readErr)
		}
		if readErr != nil {
			break
		}
	}
	return c.fail(ctx, probe.PhaseWrite, err)
}

// read reads application data, first what came while the connection settled.
func (c *Conn) read(b []byte) (int, error) {
	if len(c.pending) > 0 {
		n := copy(b, c.pending)
		c.pending = c.pending[n:]
		return n, nil
	}
	n, err := c.tls.Read(b)
	c.received.Add(int64(n))
	return n, err
}

// readReply reads into c.buf until the gauge says that the answer is complete.
func (c *Conn) readReply(ctx context.Context, g *gauge) error {
	var stop time.Time
	for !g.complete() {
		c.buf = room(c.buf, g.want(), c.o.MaxReply)
		n, err := c.read(c.buf[len(c.buf):min(cap(c.buf), len(c.buf)+g.want())])
		if n > 0 {
			if g.got == 0 {
				c.span.first = time.Now()
			}
			g.add(c.buf[len(c.buf) : len(c.buf)+n])
			c.buf = c.buf[:len(c.buf)+n]
		}
		if int64(len(c.buf)) > c.o.MaxReply {
			return c.tooLong()
		}
		if err != nil {
			return c.replyEnded(ctx, g, err)
		}
		if g.hasty() && !g.complete() {
			now := time.Now()
			if stop.IsZero() {
				stop = now.Add(c.o.Timeout)
			}
			c.readBy(ctx, earlier(now.Add(quiet), stop))
		}
	}
	return nil
}

func (c *Conn) tooLong() error {
	return &probe.Error{
		Op: probe.PhaseRead, Addr: c.o.Addr, Kind: probe.KindTooLarge, Side: probe.SideLocal,
		Detail: fmt.Sprintf("the reply is longer than the limit of %d bytes", c.o.MaxReply),
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// replyEnded decides whether an answer that ended before its mark is one.
func (c *Conn) replyEnded(ctx context.Context, g *gauge, err error) error {
	ended := errors.Is(err, io.EOF)
	silent := errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil
	switch {
	case g.got == 0 || !ended && !silent:
	case g.hasty():
		return nil
	case g.expect == ExpectAny:
		if silent {
			c.warn(fmt.Sprintf("nothing marked the end of the reply; it was taken as complete after %v of silence", c.o.Timeout))
		}
		return nil
	}
	e := c.fail(ctx, probe.PhaseRead, err)
	if e.Kind == probe.KindEarlyClose && g.got > 0 {
		e.Detail = fmt.Sprintf("the peer closed the connection after %d of %d bytes of the reply", g.got, len(g.payload))
	}
	return e
}

// readNone waits for the peer to end the stream without a word.
func (c *Conn) readNone(ctx context.Context) error {
	var b [512]byte
	n, err := c.read(b[:])
	c.buf = append(c.buf, b[:n]...)
	switch {
	case n > 0:
		c.span.first = time.Now()
		return &probe.Error{
			Op: probe.PhaseRead, Addr: c.o.Addr, Kind: probe.KindEchoMismatch, Side: probe.SidePeer,
			Detail: "a reply came where none was expected",
		}
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		return nil
	}
	return c.fail(ctx, probe.PhaseRead, err)
}

// note keeps the times of an exchange for the report.
func (c *Conn) note() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = c.span
	c.heard = c.heard || !c.span.first.IsZero()
}

// fill puts the times of the last exchange into a report.
func (s span) fill(t *probe.Timing, start time.Time) {
	if s.last.IsZero() {
		return
	}
	if !s.written.IsZero() {
		t.WriteUS = probe.Microseconds(s.written.Sub(s.start))
	}
	if !s.first.IsZero() {
		t.FirstByteUS = probe.Microseconds(max(0, s.first.Sub(s.written))) // an echo of much begins before all is written
		t.ReadUS = probe.Microseconds(s.last.Sub(s.first))
	}
	t.TotalUS = s.last.Sub(start).Microseconds()
}
