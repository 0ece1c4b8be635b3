package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// The pauses of an accept loop that fails: the first, and the longest. Every failure doubles it.
const (
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
)

// sweepTime is how long connections are still taken that the kernel had completed when the drain began: closing the
// listener would answer them with RST.
const sweepTime = 20 * time.Millisecond

// accept hands connections out until ctx ends, and closes ln. No error ends it but a listener closed by somebody else:
// a server that gives up at its descriptor limit is worth less than one that waits.
func (s *Server) accept(ctx context.Context, ln net.Listener) error {
	defer ln.Close() //nolint:errcheck // the connections are what matters
	stop := context.AfterFunc(ctx, func() { interruptAccept(ln) })
	defer stop()
	var trouble episode
	for ctx.Err() == nil {
		c, err := ln.Accept()
		switch {
		case err == nil:
			trouble.over(s.o.Log)
			s.start(c)
		case ctx.Err() != nil:
		case errors.Is(err, net.ErrClosed):
			e := &probe.Error{Op: probe.PhaseAccept, Addr: ln.Addr().String(), Kind: probe.KindIO, Side: probe.SideLocal}
			e.Err = err
			return e
		default:
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				s.pending.evictOldest() // a stalled handshake must not cost a good client its descriptor
			}
			pause(ctx, trouble.failed(s.o.Log, err))
		}
	}
	s.sweep(ln)
	return nil
}

// start serves a connection in a goroutine of its own.
func (s *Server) start(c net.Conn) {
	s.wg.Add(1)
	go s.handle(c)
}

type deadliner interface{ SetDeadline(t time.Time) error }

// interruptAccept ends a blocked Accept, and leaves the listener open when it can.
func interruptAccept(ln net.Listener) {
	if d, ok := ln.(deadliner); ok && d.SetDeadline(past()) == nil {
		return
	}
	_ = ln.Close()
}

// sweep takes the connections that were complete before the drain began.
func (s *Server) sweep(ln net.Listener) {
	d, ok := ln.(deadliner)
	if !ok || s.isClosed() || d.SetDeadline(time.Now().Add(sweepTime)) != nil {
		return
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		s.start(c)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// episode is a run of failures of Accept: logged when it begins and when it is over.
type episode struct {
	failures int
	since    time.Time
	next     time.Duration
}

func (e *episode) failed(log *slog.Logger, err error) time.Duration {
	if e.failures == 0 {
		e.since, e.next = time.Now(), firstPause
		log.Warn("cannot accept connections, waiting", "kind", acceptKind(err), "error", err)
	}
	e.failures++
	d := e.next
	e.next = min(2*e.next, maxPause)
	return d
}

func (e *episode) over(log *slog.Logger) {
	if e.failures > 0 {
		after := time.Since(e.since).Round(time.Millisecond).String()
		log.Info("accepting connections again", "failures", e.failures, "after", after)
	}
	*e = episode{}
}

func acceptKind(err error) probe.Kind {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return probe.KindDescriptors
	case errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.ECONNRESET):
		return probe.KindReset
	}
	return probe.KindIO
}
