package client

import (
	"net"
	"os"
	"sync/atomic"
	"time"
)

// maxFirst is how many of the first bytes of a peer are kept as evidence. A ServerHello with a hybrid key share is
// some 1,200 bytes, its fixed part and version well within the first 512 in all implementations met.
const maxFirst = 2048

// wire is the TCP connection below TLS: it counts, and keeps what the peer said first.
type wire struct {
	net.Conn

	in, out atomic.Int64
	first   []byte // written by Read until the handshake is over, not touched later
	greeted bool   // the handshake is over

	// hold keeps the socket open when the TLS layer closes it, so that what the peer had to say can still be read.
	hold atomic.Bool

	settling atomic.Bool // Read ends once the peer has said something
	spoke    atomic.Bool
}

func (w *wire) Read(b []byte) (int, error) {
	if w.settling.Load() && w.spoke.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := w.Conn.Read(b)
	w.in.Add(int64(n))
	if w.settling.Load() && n > 0 {
		w.spoke.Store(true)
	}
	if !w.greeted && len(w.first) < maxFirst {
		w.first = append(w.first, b[:min(n, maxFirst-len(w.first))]...)
	}
	return n, err
}

func (w *wire) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	w.out.Add(int64(n))
	return n, err
}

// Close closes the connection, or only ends what blocks on it while it is held.
func (w *wire) Close() error {
	if w.hold.Load() {
		return w.SetDeadline(past())
	}
	return w.Conn.Close()
}

// past is a deadline that ends what is blocked at once.
func past() time.Time { return time.Unix(1, 0) }
