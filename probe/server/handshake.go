package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// pendingSet holds the handshakes under way, oldest first. When there are too many the oldest is closed: a client that
// means it is done within a few round trips, one that stalls is the oldest soon.
type pendingSet struct {
	limit int

	mu    sync.Mutex
	order list.List
}

func (p *pendingSet) add(w *wire) *list.Element {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.order.Len() >= p.limit {
		p.evictLocked()
	}
	return p.order.PushBack(w)
}

// remove takes a handshake out that is over. It returns false when it had been pushed out.
func (p *pendingSet) remove(el *list.Element) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if el.Value == nil {
		return false
	}
	p.order.Remove(el)
	el.Value = nil
	return true
}

func (p *pendingSet) evictOldest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.evictLocked()
}

func (p *pendingSet) evictLocked() {
	if el := p.order.Front(); el != nil {
		if w, ok := p.order.Remove(el).(*wire); ok {
			w.closeBecause(closedForRoom)
		}
		el.Value = nil
	}
}

// handshakeGrace is how long a handshake may still take when a drain begins.
const handshakeGrace = time.Second

// handshaking is a connection whose handshake is under way.
type handshaking struct{ w *wire }

func (h handshaking) startDrain(by time.Time) {
	h.w.limitRead(earlier(time.Now().Add(handshakeGrace), by))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// handle is the life of a connection. Handshake and service have a goroutine each: the handshake grows its stack to
// several times what serving needs, and only its end gives that back.
func (s *Server) handle(raw net.Conn) {
	c := &conn{s: s, w: newWire(raw, s.o.IdleTimeout, &s.buffers), start: time.Now()}
	if c.handshake() {
		go c.serve()
	}
}

// handshake returns true when the connection is to be served; otherwise it has come to its end.
func (c *conn) handshake() (served bool) {
	s, w := c.s, c.w
	el := s.pending.add(w)
	defer func() {
		s.pending.remove(el)
		if v := recover(); v != nil {
			c.panicked(v, debug.Stack())
			served = false
		}
	}()
	by := c.start.Add(s.o.HandshakeTimeout)
	_ = w.SetReadDeadline(by)
	w.limitWrites(by)
	s.track(w, handshaking{w})

	c.tls = tls.Server(w, s.tls)
	err := c.tls.HandshakeContext(context.Background()) // a context would close without a word
	if err != nil {
		c.refuse(err)
		return false
	}
	c.shakeTime = time.Since(c.start)
	if !s.pending.remove(el) {
		c.refuse(net.ErrClosed) // pushed out at the last moment
		return false
	}
	w.shake = nil
	w.limitRead(time.Time{})
	w.limitWrites(time.Time{})
	return true
}
