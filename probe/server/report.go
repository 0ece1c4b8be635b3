package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// End is a stable word for how a connection ended.
type End string

// The ways in which a connection ends. Only the last five have a [Failure] to explain them.
const (
	EndPeer     End = "peer_closed"  // the peer closed it, after everything that it sent was answered
	EndClosed   End = "closed"       // closed here after the last answer, as HTTP asks
	EndDrained  End = "drained"      // closed here because the server came to its end
	EndIdle     End = "idle_timeout" // closed here after too long without a byte
	EndBusy     End = "busy"         // closed here because there were too many
	EndCut      End = "cut"          // cut off by the end of the drain, by Close, or for a newer handshake
	EndPanic    End = "panic"        // a fault of this program, contained
	EndTooLarge End = "too_large"    // a message or body beyond the limit
	EndRefused  End = "refused"      // the handshake failed, because of the client
	EndBroken   End = "broken"       // the handshake failed, because the client refused, left or stalled
	EndError    End = "error"        // anything else
)

// Failure is the part of a [probe.Error] that a report holds.
type Failure struct {
	Kind    probe.Kind  `json:"kind"`
	Phase   probe.Phase `json:"phase"`
	Side    probe.Side  `json:"side"`
	Message string      `json:"message"` // may hold text of the peer
}

// Report is what is known of a connection after its end. Its texts come from the peer and are untrusted.
type Report struct {
	probe.Peer
	Identity    string   `json:"identity,omitempty"` // URI, else common name, else fingerprint of its certificate
	Protocol    string   `json:"protocol,omitempty"` // "echo", "http/1.1" or "h2"
	Messages    uint64   `json:"messages"`           // complete lines echoed, or HTTP requests answered
	BytesIn     uint64   `json:"bytes_in"`           // without TLS
	BytesOut    uint64   `json:"bytes_out"`          // without TLS
	HandshakeUS int64    `json:"handshake_us"`
	DurationUS  int64    `json:"duration_us"` // from accept to close
	End         End      `json:"end"`
	Error       *Failure `json:"error,omitempty"`
}

// describe makes the report of a connection.
func (c *conn) describe(end End, cause *probe.Error) Report {
	r := Report{
		Peer: probe.Peer{Addr: c.addr()}, Protocol: c.protocol, Messages: c.lines.Count() + c.requests,
		BytesIn: c.in, BytesOut: c.out, End: end,
		HandshakeUS: c.shakeTime.Microseconds(), DurationUS: time.Since(c.start).Microseconds(),
	}
	if c.tls != nil && end != EndPanic {
		cs := c.tls.ConnectionState()
		var verify *tls.CertificateVerificationError
		if cause != nil && errors.As(cause.Err, &verify) {
			cs.PeerCertificates = verify.UnverifiedCertificates
		}
		r.Peer = probe.NewPeer(cs, c.addr())
		r.Identity = identity(cs.PeerCertificates, r.Chain)
	}
	if cause != nil {
		r.Error = &Failure{Kind: cause.Kind, Phase: cause.Op, Side: cause.Side, Message: message(cause)}
	}
	return r
}

// identity is the name by which a client is known.
func identity(chain []*x509.Certificate, described []probe.Cert) string {
	switch {
	case len(chain) == 0 || len(described) == 0:
		return ""
	case len(chain[0].URIs) > 0:
		return chain[0].URIs[0].String()
	case chain[0].Subject.CommonName != "":
		return chain[0].Subject.CommonName
	}
	return described[0].SHA256
}

func message(e *probe.Error) string {
	switch {
	case e.Err == nil:
		return e.Detail
	case e.Detail == "":
		return e.Err.Error()
	}
	return e.Detail + ": " + e.Err.Error()
}

// report logs a connection's end in one line and hands it on.
func (s *Server) report(r Report) {
	level, text := slog.LevelInfo, "connection"
	switch r.End {
	case EndRefused:
		level, text = slog.LevelWarn, "refused"
	case EndBroken:
		level, text = slog.LevelWarn, "handshake failed"
	case EndError, EndTooLarge, EndBusy, EndCut:
		level = slog.LevelWarn
	case EndPanic:
		level = slog.LevelError
	}
	s.o.Log.LogAttrs(context.Background(), level, text, r.attrs()...)
	if s.o.OnConn != nil {
		s.o.OnConn(r)
	}
}

// attrs are the report as it is logged. Of a client that was refused they name the certificate.
func (r Report) attrs() []slog.Attr {
	a := []slog.Attr{slog.String("peer", r.Addr), slog.String("end", string(r.End))}
	add := func(key, value string) {
		if value != "" {
			a = append(a, slog.String(key, value))
		}
	}
	if r.Error != nil {
		add("cause", string(r.Error.Kind))
		add("side", string(r.Error.Side))
		add("error", r.Error.Message)
	}
	add("identity", r.Identity)
	if r.End == EndRefused && len(r.Chain) > 0 {
		leaf := r.Chain[0]
		add("subject", leaf.Subject)
		add("issuer", leaf.Issuer)
		add("serial", leaf.Serial)
		add("sha256", leaf.SHA256)
	}
	add("protocol", r.Protocol)
	add("version", r.Version)
	add("cipher", r.Cipher)
	add("group", r.Group)
	return append(a,
		slog.Bool("resumed", r.Resumed),
		slog.Uint64("messages", r.Messages),
		slog.Uint64("bytes_in", r.BytesIn),
		slog.Uint64("bytes_out", r.BytesOut),
		slog.String("duration", (time.Duration(r.DurationUS)*time.Microsecond).String()))
}
