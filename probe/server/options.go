// Package server accepts mutual-TLS connections, echoes what they send, and says of each who it was and how it ended.
//
// Start with [New] and [Server.Serve]. A connection is echoed byte for byte, or, when it speaks HTTP, answered with a
// JSON description of its request; see [Mode]. Cancelling the context of Serve drains: every message that has
// arrived gets its echo before the connection is closed.
package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Mode says what a connection is answered with.
type Mode string

// The modes of a [Server].
const (
	ModeAuto Mode = "auto" // HTTP by ALPN or by its request line, everything else is echoed
	ModeEcho Mode = "echo" // byte for byte, also what looks like HTTP
	ModeHTTP Mode = "http" // HTTP/1.1 and HTTP/2 only
)

// Defaults of [Options].
const (
	DefaultMaxConns         = 10_000
	DefaultMaxHandshakes    = 8_192
	DefaultMaxFrame         = 16 << 20
	DefaultIdleTimeout      = 5 * time.Minute
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultDrainTimeout     = 10 * time.Second
)

// Options says how to serve. TLS is required, a zero value elsewhere is the default of the same name.
type Options struct {
	TLS  *tls.Config // certificate, client CAs and client policy; see [Harden] for what is added
	Mode Mode

	MaxConns      int   // connections served at once; one more is told so and closed
	MaxHandshakes int   // handshakes at once; one more takes the place of the one that has taken longest
	MaxFrame      int64 // longest line of an echo and longest body of a request, in bytes

	IdleTimeout      time.Duration // without a byte from the peer, or with one that it does not read
	HandshakeTimeout time.Duration // from accept to the end of the handshake
	DrainTimeout     time.Duration // from the end of the context to the last close

	Log    *slog.Logger // nil: no log
	OnConn func(Report) // called once for each connection after its end, from its goroutine; may be nil
}

// withDefaults returns the options with every zero value replaced, or what is wrong with them.
func (o Options) withDefaults() (Options, error) {
	if o.TLS == nil {
		return o, errors.New("no TLS configuration")
	}
	switch o.Mode {
	case "":
		o.Mode = ModeAuto
	case ModeAuto, ModeEcho, ModeHTTP:
	default:
		return o, fmt.Errorf("unknown mode %q", o.Mode)
	}
	if o.MaxConns < 0 || o.MaxHandshakes < 0 || o.MaxFrame < 0 ||
		o.IdleTimeout < 0 || o.HandshakeTimeout < 0 || o.DrainTimeout < 0 {
		return o, errors.New("a limit is negative")
	}
	orDefault(&o.MaxConns, DefaultMaxConns)
	orDefault(&o.MaxHandshakes, DefaultMaxHandshakes)
	orDefault(&o.MaxFrame, DefaultMaxFrame)
	orDefault(&o.IdleTimeout, DefaultIdleTimeout)
	orDefault(&o.HandshakeTimeout, DefaultHandshakeTimeout)
	orDefault(&o.DrainTimeout, DefaultDrainTimeout)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
