package server

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// wire is the network connection beneath TLS. It puts a limit on every write, lets a drain interrupt a blocked read,
// remembers during the handshake what the client said, and leaves the closing to its owner.
//
// Deadlines for writing are its own: crypto/tls and net/http set and clear theirs at will, among them the five seconds
// that a close_notify may take.
type wire struct {
	net.Conn
	stall   time.Duration // longest single write
	buffers *bufferPool

	in    atomic.Uint64 // bytes read
	reads atomic.Uint64 // reads that returned something

	drainTo atomic.Uint64 // in, as it was when a drain began, and what was queued then

	closed atomic.Int32 // a closer, when somebody else than the owner closed it

	shake *shake // what is known of the handshake; nil once it is done

	mu          sync.Mutex
	readNoLater time.Time // when set, no read deadline is later
	writeBy     time.Time // when set, no write deadline is later
}

func newWire(c net.Conn, stall time.Duration, buffers *bufferPool) *wire {
	return &wire{Conn: c, stall: stall, buffers: buffers, shake: new(shake)}
}

// Read reads from the network and keeps the books.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.in.Add(uint64(n))
		w.reads.Add(1)
		if w.shake != nil {
			if errTLS := w.shake.sawRead(p[:n]); errTLS != nil {
				return n, errTLS
			}
		}
	}
	return n, err
}

// Write writes to the network, for no longer than the stall limit.
func (w *wire) Write(p []byte) (int, error) {
	if w.shake != nil {
		w.shake.sawWrite(p)
	}
	w.mu.Lock()
	by := time.Now().Add(w.stall)
	if !w.writeBy.IsZero() && by.After(w.writeBy) {
		by = w.writeBy
	}
	err := w.Conn.SetWriteDeadline(by)
	w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

// SetWriteDeadline does nothing: see Write.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline sets the read deadline alone: see Write.
func (w *wire) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

// SetReadDeadline sets the deadline for reading, or the earlier one that limitRead has set.
func (w *wire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.readNoLater.IsZero() && (t.IsZero() || t.After(w.readNoLater)) {
		t = w.readNoLater
	}
	return w.Conn.SetReadDeadline(t)
}

// limitRead ends a blocked read at t and lets none start that waits longer, whatever others set.
// The zero time lifts the limit.
func (w *wire) limitRead(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readNoLater = t
	_ = w.Conn.SetReadDeadline(t)
}

// limitWrites lets no write go on for longer than until t, also not one that is under way.
func (w *wire) limitWrites(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeBy = t
	_ = w.Conn.SetWriteDeadline(t)
}

// CloseWrite sends FIN after what has been written; the other direction stays open.
func (w *wire) CloseWrite() error {
	if c, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Who closed a connection over the head of its owner.
const (
	closedForRoom int32 = iota + 1 // a newer handshake needed its place
	closedByKill                   // the server came to its end
)

// closeBecause closes the connection at once, whatever goes on with it.
func (w *wire) closeBecause(who int32) {
	w.closed.CompareAndSwap(0, who)
	_ = w.Conn.Close()
}

// queued is the number of bytes that the kernel has received and nobody has read, 0 when the system does not say.
func (w *wire) queued() uint64 {
	sc, ok := w.Conn.(syscall.Conn)
	if !ok {
		return 0
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	var n int
	if err := rc.Control(func(fd uintptr) { n = receiveQueue(fd) }); err != nil || n < 0 {
		return 0
	}
	return uint64(n)
}

// discardLimits bound how long a half-closed connection is read for the sake of the peer.
type discardLimits struct {
	until time.Time     // at the latest
	quiet time.Duration // after so long without a byte
	bytes int64         // after so many bytes; 0: no limit
}

// discard reads and throws away until the peer closes its side or a limit is reached. Closing a socket that holds
// unread bytes sends RST, and RST makes the peer drop what it has not yet read: the last alert or the last echo
// (RFC 9293 section 3.10.4 and RFC 1122 section 4.2.2.13).
func (w *wire) discard(lim discardLimits) {
	buf := w.buffers.take()
	defer w.buffers.give(buf)
	for total := int64(0); lim.bytes == 0 || total < lim.bytes; {
		now := time.Now()
		if !now.Before(lim.until) {
			return
		}
		by := now.Add(lim.quiet)
		if by.After(lim.until) {
			by = lim.until
		}
		if w.Conn.SetReadDeadline(by) != nil {
			return
		}
		n, err := w.Conn.Read(buf[:])
		if err != nil {
			return
		}
		total += int64(n)
	}
}

// past is a deadline that has expired.
func past() time.Time { return time.Unix(1, 0) }

// isTimeout says whether err is an expired deadline.
func isTimeout(err error) bool { return os.IsTimeout(err) }
