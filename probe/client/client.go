// Package client opens TLS connections the way a doctor would: every phase is measured and bounded, the client
// certificate that was given is always sent, and a failure says which side broke off and why.
//
// [Dial] opens a connection, [Conn.Exchange] sends a message and waits for its answer, [Conn.Pipe] joins the
// connection to two streams, [DialHTTP] speaks HTTP over it, and [Run] spreads many messages over several connections.
package client

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// DefaultTimeout bounds each phase when [Options] does not.
const DefaultTimeout = 5 * time.Second

// DefaultMaxReply bounds the bytes of one reply when [Options] does not.
const DefaultMaxReply = 16 << 20

// Dialer opens a connection to an address of the form ip:port. *net.Dialer is one.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Resolver finds the addresses of a name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options says whom to call and how.
type Options struct {
	Addr     string        // host:port
	TLS      *tls.Config   // required; the first of Certificates is the client's. ServerName "": the host of Addr
	Timeout  time.Duration // bound of each phase; 0: [DefaultTimeout]. The whole is bounded by the context
	MaxReply int64         // bound of one reply in bytes; 0: [DefaultMaxReply]
	Dialer   Dialer        // nil: a *net.Dialer
	Resolver Resolver      // nil: [net.DefaultResolver]
	Log      *slog.Logger  // nil: silent
}

func (o Options) withDefaults() Options {
	if o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxReply <= 0 {
		o.MaxReply = DefaultMaxReply
	}
	if o.Dialer == nil {
		o.Dialer = &net.Dialer{}
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Report is what is known of a connection and of the last exchange over it.
type Report struct {
	Peer       probe.Peer   `json:"peer"`
	ClientAuth ClientAuth   `json:"client_auth"`
	Timing     probe.Timing `json:"timing"`
	Warnings   []string     `json:"warnings,omitempty"` // may hold untrusted text
}

// ClientAuth says what the server asked of the client and what it got.
type ClientAuth struct {
	Requested     bool        `json:"requested"`                // the server asked for a certificate
	AcceptableCAs []string    `json:"acceptable_cas,omitempty"` // whose certificates it said that it accepts
	Sent          *probe.Cert `json:"sent,omitempty"`           // what it got
	Accepted      *bool       `json:"accepted,omitempty"`       // absent while the server has not said so
}

// Exchanger sends messages over one connection: a [Conn], or a [Web] that wraps them in HTTP requests.
type Exchanger interface {
	Exchange(ctx context.Context, m Message) (Reply, error)
	Report() Report
	Close() error
}
