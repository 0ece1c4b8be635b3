package client

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// Conn is a TLS connection that knows how it came about. One exchange at a time may run on it.
type Conn struct {
	o     Options
	start time.Time // of everything
	wire  *wire
	tls   *tls.Conn
	auth  *clientAuth

	sent, received atomic.Int64 // application bytes

	buf     []byte // of the last reply
	pending []byte // application bytes that came while the connection settled

	span   span // of the exchange that runs; its write beside touches it until it is joined
	broken atomic.Bool

	mu     sync.Mutex
	report Report
	last   span // of the last exchange
	heard  bool // the peer has sent application data, or what only follows the acceptance of the client
}

// Dial resolves, connects and performs the handshake. Each phase may take o.Timeout, all of them together as long as
// ctx lives. A failure is a *[probe.Error].
//
// With TLS 1.3 a server judges the client's certificate after the handshake: a nil error does not say that it was
// accepted. The first exchange tells, or [Conn.Settle].
func Dial(ctx context.Context, o Options) (*Conn, error) {
	o = o.withDefaults()
	c := &Conn{o: o, start: time.Now()}
	addrs, took, err := o.resolve(ctx)
	if err != nil {
		return nil, err
	}
	c.report.Timing.ResolveUS = took
	won, err := o.connect(ctx, addrs)
	if err != nil {
		return nil, err
	}
	c.report.Timing.ConnectUS = probe.Microseconds(won.took)
	c.wire = &wire{Conn: won.conn}
	if err := c.handshake(ctx); err != nil {
		_ = won.conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) handshake(ctx context.Context) error {
	cfg, auth := clientConfig(c.o)
	c.auth = auth
	c.tls = tls.Client(c.wire, cfg)
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	start := time.Now()
	// Held, so that what the server said before a write failed is still there to be read.
	c.wire.hold.Store(true)
	err := c.tls.HandshakeContext(ctx)
	if err != nil {
		err = c.handshakeError(ctx, err)
	}
	c.wire.hold.Store(false)
	c.wire.greeted = true
	if err != nil {
		return err
	}
	cs := c.tls.ConnectionState()
	c.report.Timing.HandshakeUS = probe.Microseconds(time.Since(start))
	c.report.Timing.TotalUS = time.Since(c.start).Microseconds()
	c.report.Peer = probe.NewPeer(cs, c.wire.RemoteAddr().String())
	c.report.ClientAuth = auth.describe(cs.Version)
	c.report.Warnings = auth.warnings()
	c.o.Log.Debug("handshake done", "peer", c.report.Peer.Addr, "version", c.report.Peer.Version,
		"cipher", c.report.Peer.Cipher, "client_cert_requested", auth.facts.CertRequested)
	return nil
}

// grace is how long an alert is waited for when a write has failed.
const grace = time.Second

// handshakeError classifies why the handshake failed. When a write failed, what the server had said before is read
// first: it is not encrypted yet where it can come to that.
func (c *Conn) handshakeError(ctx context.Context, err error) error {
	facts := c.facts()
	e := facts.Classify(probe.PhaseHandshake, c.o.Addr, because(ctx, err))
	if e.Kind != probe.KindReset {
		return e
	}
	_ = c.wire.SetReadDeadline(time.Now().Add(grace))
	buf := make([]byte, maxFirst)
	n, _ := c.wire.Conn.Read(buf)
	if a, ok := plainAlert(buf[:n]); ok {
		err = &net.OpError{Op: "remote error", Err: a}
		return facts.Classify(probe.PhaseHandshake, c.o.Addr, err)
	}
	return e
}

// plainAlert looks for an alert among the records in b.
func plainAlert(b []byte) (tls.AlertError, bool) {
	const header = 5
	for len(b) >= header {
		if a, ok := probe.PlainAlert(b); ok {
			return a, true
		}
		b = b[min(len(b), header+int(b[3])<<8+int(b[4])):]
	}
	return 0, false
}

// because prefers the reason why ctx ended over the deadline or the closed connection that its end brought about.
func because(ctx context.Context, err error) error {
	cause := ctx.Err()
	if cause == nil || !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return cause
}

func isAlert(err error) bool {
	_, ok := probe.Alert(err)
	return ok
}

// facts collects what is known of the connection now.
func (c *Conn) facts() probe.Facts {
	f := c.auth.snapshot()
	f.FirstBytes = c.wire.first
	f.Sent, f.Received = c.sent.Load(), c.received.Load()
	if v := probe.HelloVersion(c.wire.first); v != 0 {
		f.Versions = []uint16{v}
	}
	return f
}

// fail classifies an error of an exchange.
func (c *Conn) fail(ctx context.Context, op probe.Phase, err error) *probe.Error {
	c.broken.Store(true)
	return c.facts().Classify(op, c.o.Addr, because(ctx, err))
}

// Report says what is known of the connection and of the last exchange.
func (c *Conn) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.report
	c.last.fill(&r.Timing, c.start)
	if r.ClientAuth.Requested && c.heard {
		accepted := true
		r.ClientAuth.Accepted = &accepted
	}
	return r
}

func (c *Conn) warn(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Warnings = append(c.report.Warnings, text)
}

// linger is how long the peer's own goodbye is waited for.
const linger = 250 * time.Millisecond

// Close says goodbye, waits for the peer to do the same for a quarter of a second, and closes the connection: closed at
// once, the peer's goodbye would meet a closed socket and be answered by a reset. A connection that has failed is
// closed at once.
func (c *Conn) Close() error {
	if c.broken.Load() {
		return c.wire.Conn.Close()
	}
	_ = c.wire.Conn.SetDeadline(time.Now().Add(linger))
	if err := c.tls.CloseWrite(); err == nil {
		_, _ = io.CopyN(io.Discard, c.tls, c.o.MaxReply)
	}
	return c.wire.Conn.Close()
}
