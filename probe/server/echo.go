package server

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

const (
	// hotFor is how long a connection keeps its large buffer without a byte from the peer.
	hotFor = time.Second
	// sniffFor is how long bytes are held back that may become an HTTP request line.
	sniffFor = 250 * time.Millisecond
	// quiet is how long a drain waits for more at the end of a message, patience within one.
	quiet    = 75 * time.Millisecond
	patience = time.Second
	// drainGrace is how long a peer that sends without a pause is still echoed in a drain.
	drainGrace = 250 * time.Millisecond

	protoEcho  = "echo"
	protoHTTP1 = "http/1.1"
	protoHTTP2 = "h2"
)

// stream is the decrypted side of a connection.
type stream interface {
	io.Reader
	io.Writer
}

// reading is a connection that waits for bytes to echo.
type reading struct{ c *conn }

// startDrain notes how far the peer had come, and wakes the connection.
func (r reading) startDrain(time.Time) {
	w := r.c.w
	w.drainTo.Store(w.in.Load() + w.queued())
	w.limitRead(past())
}

// sniff reads until it is clear whether the peer speaks HTTP, and returns what it read.
func (c *conn) sniff() ([]byte, verdict, error) {
	by := time.Now().Add(c.s.o.IdleTimeout)
	var (
		held  []byte
		woken bool
	)
	for {
		p, err := c.read(by)
		if isTimeout(err) && c.s.draining.Load() && !woken {
			woken = true // what has arrived is still looked at
			by = earlier(by, time.Now().Add(quiet))
			c.w.limitRead(by)
			continue
		}
		if len(held) == 0 {
			if v := sniff(p); v != undecided {
				return p, v, err // the usual case: nothing is copied
			}
			by = earlier(by, time.Now().Add(sniffFor))
		}
		held = append(held, p...)
		switch v := sniff(held); {
		case v != undecided && len(held) > 0:
			return held, v, err
		case err != nil:
			return held, isOther, err
		}
	}
}

// serveEcho sends back what comes, beginning with first, until the peer is done or the server is.
func (c *conn) serveEcho(first []byte) (End, *probe.Error) {
	c.protocol = protoEcho
	c.s.track(c.w, reading{c})
	if end, cause := c.echo(first); end != "" {
		return end, cause
	}
	by := time.Now().Add(c.s.o.IdleTimeout)
	for {
		p, err := c.read(by)
		if len(p) > 0 {
			if end, cause := c.echo(p); end != "" {
				return end, cause
			}
			by = time.Now().Add(c.s.o.IdleTimeout)
		}
		switch {
		case err == nil:
		case isTimeout(err) && c.s.draining.Load():
			return c.drainEcho()
		default:
			return c.readEnded(err)
		}
	}
}

// echo sends p back, and returns how the connection ends if it does.
func (c *conn) echo(p []byte) (End, *probe.Error) {
	if len(p) == 0 {
		return "", nil
	}
	c.in += uint64(len(p))
	n, errLong := c.lines.Feed(p)
	m, err := c.stream.Write(p[:n])
	c.out += uint64(m)
	switch {
	case err != nil:
		return c.writeEnded(err)
	case errLong != nil:
		return EndTooLarge, c.cause(probe.PhaseRead, probe.KindTooLarge, probe.SidePeer, errLong)
	}
	return "", nil
}

// read returns the next bytes, at most one record, valid until the next call. An idle connection waits with a small
// buffer; the first record that fills it gets a large one, which is given back after a second without another.
// It returns a time-out only at by, or in a drain.
func (c *conn) read(by time.Time) ([]byte, error) {
	if c.big != nil {
		c.arm(by, hotFor)
		n, err := c.stream.Read(c.big[:])
		if n > 0 || !isTimeout(err) || c.s.draining.Load() || !time.Now().Before(by) {
			return c.big[:n], err
		}
		c.s.buffers.give(c.big)
		c.big = nil
	}
	c.arm(by, 0)
	n, err := c.stream.Read(c.small[:])
	if n < len(c.small) || err != nil {
		return c.small[:n], err
	}
	return c.readRest(n)
}

// readRest moves what is in the small buffer to a large one and adds what has been decrypted already. The expired
// deadline keeps it from waiting for more: a record is sent back as one.
func (c *conn) readRest(n int) ([]byte, error) {
	c.big = c.s.buffers.take()
	copy(c.big[:], c.small[:n])
	c.armedUntil = past()
	_ = c.w.SetReadDeadline(c.armedUntil)
	m, err := c.stream.Read(c.big[n:])
	if isTimeout(err) {
		err = nil
	}
	return c.big[:n+m], err
}

// arm sets the read deadline to by, or to no later than from now on. While bytes keep coming that is not done for each
// of them: a deadline that has half of its time left will do.
func (c *conn) arm(by time.Time, within time.Duration) {
	now := time.Now()
	if within > 0 {
		if c.armedUntil.Sub(now) > within/2 && !c.armedUntil.After(by) {
			return
		}
		by = earlier(by, now.Add(within))
	}
	c.armedUntil = by
	_ = c.w.SetReadDeadline(by)
}

// drainEcho brings an echo to its end. Everything that had reached this host when the drain began is sent back; what
// comes after that is too, until there is a pause at the end of a message, or, from a peer that makes none, until
// drainGrace is over and a message ends. A peer that stops within a message is waited for, but not for long.
func (c *conn) drainEcho() (End, *probe.Error) {
	d := c.newEchoDrain()
	for {
		p, err := d.read()
		p, last := d.cut(p)
		if end, cause := c.echo(p); end != "" {
			return end, cause
		}
		switch {
		case last, isTimeout(err):
			return EndDrained, nil
		case err != nil:
			return c.readEnded(err)
		}
	}
}

// echoDrain is how far the drain of one echo has come.
type echoDrain struct {
	c        *conn
	target   uint64    // what had arrived on the wire when the drain began
	consumed bool      // all of that has been decrypted
	graceful time.Time // from here on the end of a message is the end
	hard     time.Time // from here on any moment is: the rest of the time is for the peer to read its echo
}

func (c *conn) newEchoDrain() *echoDrain {
	if c.big == nil {
		c.big = c.s.buffers.take()
	}
	now := time.Now()
	by, _ := c.s.drainEnd()
	return &echoDrain{
		c:        c,
		target:   c.w.drainTo.Load(),
		graceful: now.Add(min(drainGrace, by.Sub(now)/4)),
		hard:     now.Add(by.Sub(now) / 2),
	}
}

func (d *echoDrain) read() ([]byte, error) {
	c, wait := d.c, quiet
	if c.lines.Pending() > 0 {
		wait = patience
	}
	reached, reads := c.w.in.Load() >= d.target, c.w.reads.Load()
	c.w.limitRead(time.Now().Add(wait))
	n, err := c.stream.Read(c.big[:])
	// What crypto/tls had read ahead is used up once it goes back to the network.
	c.talking = c.talking || n > 0
	d.consumed = d.consumed || reached && c.w.reads.Load() != reads
	return c.big[:n], err
}

// cut returns what of p is still sent back, and whether that is the end.
func (d *echoDrain) cut(p []byte) ([]byte, bool) {
	now := time.Now()
	over := now.After(d.hard)
	if !over && (!d.consumed || now.Before(d.graceful)) {
		return p, false
	}
	if end := bytes.LastIndexByte(p, '\n'); end >= 0 {
		return p[:end+1], true
	}
	return p, over
}

// readEnded says how a connection ends that could not be read from.
func (c *conn) readEnded(err error) (End, *probe.Error) {
	switch {
	case errors.Is(err, io.EOF):
		return EndPeer, nil
	case isTimeout(err) && c.s.draining.Load():
		return EndDrained, nil
	case isTimeout(err):
		return EndIdle, nil
	}
	return EndError, c.lateCause(probe.PhaseRead, err)
}

// writeEnded says how a connection ends that could not be written to.
func (c *conn) writeEnded(err error) (End, *probe.Error) {
	return EndError, c.lateCause(probe.PhaseWrite, err)
}
