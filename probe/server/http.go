package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

const (
	maxHeaderBytes = 64 << 10
	maxStreams     = 100 // of one HTTP/2 connection
)

// fronts are the two net/http servers behind the listener, one for each version of HTTP: the drain differs.
type fronts struct{ h1, h2 *front }

// front is a net/http server that is handed connections one by one.
type front struct {
	srv  *http.Server
	ln   *handover
	done chan struct{}
}

func newFronts(s *Server) fronts {
	return fronts{h1: s.newFront(protoHTTP1), h2: s.newFront(protoHTTP2)}
}

func (s *Server) newFront(proto string) *front {
	var protocols http.Protocols
	// The connection comes decrypted, so for net/http it is a plain one; ALPN has been settled here.
	protocols.SetHTTP1(proto == protoHTTP1)
	protocols.SetUnencryptedHTTP2(proto == protoHTTP2)
	return &front{
		ln:   &handover{conns: make(chan net.Conn), closed: make(chan struct{})},
		done: make(chan struct{}),
		srv: &http.Server{
			Handler:                      handler{s},
			DisableGeneralOptionsHandler: true,
			Protocols:                    &protocols,
			ReadHeaderTimeout:            s.o.HandshakeTimeout,
			IdleTimeout:                  s.o.IdleTimeout,
			MaxHeaderBytes:               maxHeaderBytes,
			HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
			ErrorLog:                     slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
			ConnState:                    connState,
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				return context.WithValue(ctx, connKey{}, c)
			},
		},
	}
}

// connKey is the context key under which a request finds its *httpConn.
type connKey struct{}

func (f fronts) start() {
	for _, f := range []*front{f.h1, f.h2} {
		go func() {
			defer close(f.done)
			_ = f.srv.Serve(f.ln)
		}()
	}
}

// drain tells HTTP/2 clients to go away. HTTP/1 connections are drained one by one, see httpConn.startDrain:
// http.Server.Shutdown closes an idle one although a request may have arrived on it.
func (f fronts) drain(ctx context.Context) {
	go func() { _ = f.h2.srv.Shutdown(ctx) }()
}

func (f fronts) stop() {
	for _, f := range []*front{f.h1, f.h2} {
		_ = f.srv.Close()
		<-f.done
	}
}

// handover is a listener whose connections are put in by the server.
type handover struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handover) Addr() net.Addr { return &net.TCPAddr{} }

// put hands a connection over, unless nobody takes any more.
func (h *handover) put(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.closed:
		return false
	}
}

// httpConn is the decrypted side of a connection as net/http sees it. Its Close only says that net/http is done.
type httpConn struct {
	c       *conn
	prefix  []byte // read already
	drains  bool   // HTTP/1: comes to its end by itself
	in, out atomic.Uint64
	served  atomic.Uint64

	waiting  atomic.Bool // for a request
	tooLarge atomic.Bool // a body was refused

	closeOnce sync.Once
	closed    chan struct{}
	mu        sync.Mutex
	readErr   error
}

// serveHTTP hands the connection to net/http and waits until it is done with it.
func (c *conn) serveHTTP(proto string, first []byte) (End, *probe.Error) {
	c.protocol = proto
	h := &httpConn{c: c, prefix: bytes.Clone(first), drains: proto == protoHTTP1, closed: make(chan struct{})}
	h.waiting.Store(true)
	if c.big != nil {
		c.s.buffers.give(c.big)
		c.big = nil
	}
	front := c.s.fronts.h1
	if proto == protoHTTP2 {
		front = c.s.fronts.h2
		_ = c.w.SetReadDeadline(time.Now().Add(c.s.o.HandshakeTimeout)) // for the preface
	}
	c.s.track(c.w, h)
	if !front.ln.put(h) {
		return EndDrained, nil
	}
	<-h.closed
	c.in, c.out, c.requests = c.in+h.in.Load(), c.out+h.out.Load(), h.served.Load()
	return h.end()
}

// end says how the connection came to its end.
func (h *httpConn) end() (End, *probe.Error) {
	h.mu.Lock()
	err := h.readErr
	h.mu.Unlock()
	switch {
	case h.tooLarge.Load():
		return EndTooLarge, h.c.cause(probe.PhaseRead, probe.KindTooLarge, probe.SidePeer, errBodyTooLarge)
	case err == nil && h.c.s.draining.Load():
		return EndDrained, nil
	case err == nil:
		return EndClosed, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return EndError, h.c.lateCause(probe.PhaseRead, err)
	}
	return h.c.readEnded(err)
}

// startDrain lets a connection that waits for a request take one that has arrived, and no other.
func (h *httpConn) startDrain(time.Time) {
	if h.drains && h.waiting.Load() {
		h.c.w.limitRead(time.Now().Add(quiet))
	}
}

// connState follows an HTTP/1 connection from request to request.
func connState(c net.Conn, state http.ConnState) {
	h, ok := c.(*httpConn)
	if !ok || !h.drains {
		return
	}
	switch state {
	case http.StateActive:
		h.waiting.Store(false)
		if h.c.s.draining.Load() {
			h.c.w.limitRead(time.Time{})
		}
	case http.StateIdle:
		h.waiting.Store(true)
		if h.c.s.draining.Load() {
			h.c.w.limitRead(time.Now().Add(quiet))
		}
	}
}

func (h *httpConn) Read(p []byte) (int, error) {
	if len(h.prefix) > 0 {
		n := copy(p, h.prefix)
		h.prefix = h.prefix[n:]
		h.in.Add(uint64(n))
		return n, nil
	}
	n, err := h.c.tls.Read(p)
	h.in.Add(uint64(n))
	if err != nil {
		h.noteReadErr(err)
	}
	return n, err
}

// noteReadErr keeps why the peer could not be read any more. While a request is answered net/http interrupts its own
// read by an expired deadline: that is no reason.
func (h *httpConn) noteReadErr(err error) {
	if isTimeout(err) && !h.waiting.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.closed: // it is our own doing
	default:
		h.readErr = err
	}
}

func (h *httpConn) Write(p []byte) (int, error) {
	n, err := h.c.tls.Write(p)
	h.out.Add(uint64(n))
	return n, err
}

// Close says that net/http is done: the rest is the owner's.
func (h *httpConn) Close() error {
	h.closeOnce.Do(func() {
		h.mu.Lock()
		close(h.closed)
		h.mu.Unlock()
		h.c.w.limitWrites(time.Now().Add(goodbyeTime))
		h.c.w.limitRead(past())
	})
	return nil
}

// CloseWrite ends the answers; net/http uses it after one that the client does not wait for.
func (h *httpConn) CloseWrite() error {
	if err := h.c.tls.CloseWrite(); err != nil {
		return err
	}
	return h.c.w.CloseWrite()
}

func (h *httpConn) LocalAddr() net.Addr               { return h.c.w.LocalAddr() }
func (h *httpConn) RemoteAddr() net.Addr              { return h.c.w.RemoteAddr() }
func (h *httpConn) SetDeadline(t time.Time) error     { return h.c.w.SetReadDeadline(t) }
func (h *httpConn) SetReadDeadline(t time.Time) error { return h.c.w.SetReadDeadline(t) }
func (h *httpConn) SetWriteDeadline(time.Time) error  { return nil } // see wire.Write
