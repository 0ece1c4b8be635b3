package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is what [Server.Serve] returns after [Server.Close].
var ErrClosed = errors.New("server closed")

// DrainError says that connections were still busy when the time for draining was over.
type DrainError struct {
	Cut int // connections that were cut off
}

// Error tells how many were cut off.
func (e *DrainError) Error() string {
	return fmt.Sprintf("drain timed out: %d connection(s) were cut off", e.Cut)
}

// Server serves one listener once.
type Server struct {
	o       Options
	tls     *tls.Config
	know    knowledge
	buffers bufferPool
	pending pendingSet
	active  atomic.Int64  // connections that hold one of MaxConns
	busy    chan struct{} // one token for each client that is being told that there is no room
	bodies  bodyBudget
	fronts  fronts

	draining atomic.Bool
	quit     chan struct{} // closed by Close
	quitOnce sync.Once

	mu      sync.Mutex
	conns   map[*wire]drainer // every open connection
	drainBy time.Time         // when draining: the end of it
	killed  bool
	wg      sync.WaitGroup // one for each open connection
}

// drainer is what a connection does in its present stage when the server wants it to come to an end.
type drainer interface {
	startDrain(by time.Time)
}

// maxBusy is how many clients at a time are told that there is no room; the rest is closed without a word.
const maxBusy = 256

// minBodies is the memory, in bytes, that all request bodies together may take, unless four of the largest need more.
const minBodies = 256 << 20

// New returns a server that is ready for [Server.Serve].
func New(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		o:     o,
		know:  knowledgeOf(o.TLS),
		busy:  make(chan struct{}, maxBusy),
		quit:  make(chan struct{}),
		conns: make(map[*wire]drainer),
	}
	s.pending.limit = o.MaxHandshakes
	s.bodies.limit = max(minBodies, 4*o.MaxFrame)
	s.tls = s.watched(Harden(o.TLS, offered(o.Mode)...))
	s.fronts = newFronts(s)
	return s, nil
}

// offered are the ALPN names of a mode.
func offered(m Mode) []string {
	if m == ModeEcho {
		return nil
	}
	return alpnHTTP[:]
}

// watched lets each connection see its own ClientHello.
func (s *Server) watched(cfg *tls.Config) *tls.Config {
	choose := cfg.GetConfigForClient
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if w, ok := hello.Conn.(*wire); ok && w.shake != nil {
			w.shake.sawHello(hello, cfg)
		}
		if choose == nil {
			return nil, nil
		}
		return choose(hello)
	}
	return cfg
}

// Serve accepts connections from ln until ctx ends, then drains and closes ln. It returns nil when every connection
// came to its own end, a [*DrainError] when some had to be cut off, and [ErrClosed] after [Server.Close].
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	s.fronts.start()
	err := s.accept(ctx, ln)
	cancel()
	errDrain := s.drain()
	s.fronts.stop()
	switch {
	case err != nil:
		return err
	case s.isClosed():
		return ErrClosed
	}
	return errDrain
}

// Close ends the server and all its connections at once. It may be called at any time and more than once.
func (s *Server) Close() {
	s.quitOnce.Do(func() { close(s.quit) })
}

func (s *Server) isClosed() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// drain asks every connection to come to an end and waits for it, up to the limit.
func (s *Server) drain() error {
	by := time.Now().Add(s.o.DrainTimeout)
	conns := s.markDraining(by)
	s.o.Log.Info("draining", "connections", len(conns), "timeout", s.o.DrainTimeout.String())
	for _, d := range conns {
		d.startDrain(by)
	}
	shutdown, cancel := context.WithDeadline(context.Background(), by)
	defer cancel()
	s.fronts.drain(shutdown)

	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-s.quit:
	case <-shutdown.Done():
	}
	cut := s.kill()
	<-done
	if cut == 0 {
		return nil
	}
	return &DrainError{Cut: cut}
}

func (s *Server) markDraining(by time.Time) []drainer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drainBy = by
	s.draining.Store(true)
	all := make([]drainer, 0, len(s.conns))
	for _, d := range s.conns {
		all = append(all, d)
	}
	return all
}

// kill closes what is still open.
func (s *Server) kill() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = true
	for w := range s.conns {
		w.closeBecause(closedByKill)
	}
	return len(s.conns)
}

// track registers the present stage of a connection, and passes on a drain that has begun.
func (s *Server) track(w *wire, d drainer) {
	s.mu.Lock()
	s.conns[w] = d
	draining, by, killed := s.draining.Load(), s.drainBy, s.killed
	s.mu.Unlock()
	if draining {
		d.startDrain(by)
	}
	if killed {
		w.closeBecause(closedByKill)
	}
}

func (s *Server) forget(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, w)
}

// takeSlot takes one of MaxConns, or says that there is none left.
func (s *Server) takeSlot() bool {
	if s.active.Add(1) > int64(s.o.MaxConns) {
		s.active.Add(-1)
		return false
	}
	return true
}

func (s *Server) giveSlot() { s.active.Add(-1) }
