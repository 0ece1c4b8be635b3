package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"

	"github.com/tlsctl/tlsctl/probe"
)

// knowledge is what a server knows of itself when it explains a failure.
type knowledge struct {
	auth    tls.ClientAuthType
	own     probe.Chain
	trusted [][]byte
}

func knowledgeOf(cfg *tls.Config) knowledge {
	k := knowledge{auth: cfg.ClientAuth}
	if len(cfg.Certificates) > 0 {
		k.own = probe.NewChain(cfg.Certificates[0].Certificate)
	}
	if cfg.ClientCAs != nil {
		k.trusted = cfg.ClientCAs.Subjects() //nolint:staticcheck // incomplete only for the pool of the system
	}
	return k
}

// requiresCertificate says whether a client without a certificate is refused.
func (k knowledge) requiresCertificate() bool {
	return k.auth == tls.RequireAnyClientCert || k.auth == tls.RequireAndVerifyClientCert
}

// handshakeFailure says why a handshake failed, in a word, on whose account, and with which evidence.
func (k knowledge) handshakeFailure(addr string, err error, s *shake, peer []*x509.Certificate) *probe.Error {
	f := probe.Facts{
		Server: true, Own: k.own, Peer: peer, Trusted: k.trusted,
		Versions: s.helloSeen.versions, FirstBytes: s.prefix[:s.nprefix],
	}
	if errors.Is(err, io.ErrClosedPipe) {
		err = net.ErrClosed
	}
	e := f.Classify(probe.PhaseHandshake, addr, err)
	switch {
	case s.prefix[0] == helloSSL2 && e.Kind == probe.KindNotTLS:
		e.Kind, e.Side, e.Detail = probe.KindProtocolVersion, probe.SideLocal, "the client speaks SSL 2.0"
	case e.Kind == probe.KindNotTLS:
		e.Side = probe.SideLocal // it is this side that ends it
	case e.Kind == probe.KindEarlyClose && !s.hello:
		e.Detail = "the client closed the connection before its ClientHello was complete"
	case e.Kind == probe.KindIO:
		k.explain(e, s)
	}
	return e
}

// explain covers what crypto/tls refuses by a mere text: the stage that the handshake had reached tells which it was.
func (k knowledge) explain(e *probe.Error, s *shake) {
	switch {
	case errors.Is(e.Err, errNoCertificate):
		e.Kind = probe.KindClientMissing
	case isLocalAlert(e.Err):
		e.Kind = probe.KindAlert
		if !s.hello {
			e.Detail = "the first record is not a ClientHello"
		}
	case !s.hello:
		e.Kind, e.Detail = probe.KindNotTLS, "the first record is not a ClientHello"
	case !s.helloSeen.commonVersion:
		e.Kind = probe.KindProtocolVersion
	case !s.answered:
		e.Kind = probe.KindCipher
	case k.requiresCertificate() && s.withoutCertificate():
		e.Kind, e.Err = probe.KindClientMissing, errNoCertificate
	default:
		e.Kind = probe.KindClientInvalid
	}
}

// lateCause says what went wrong after the handshake.
func (c *conn) lateCause(op probe.Phase, err error) *probe.Error {
	if errors.Is(err, io.ErrClosedPipe) {
		err = net.ErrClosed
	}
	f := probe.Facts{Server: true, Sent: int64(c.out), Received: int64(c.in)}
	e := f.Classify(op, c.addr(), err)
	if e.Kind == probe.KindIO && isLocalAlert(err) {
		e.Kind = probe.KindAlert
	}
	return e
}

// isLocalAlert says whether crypto/tls ended the connection because of what the peer sent.
func isLocalAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "local error"
}

func (c *conn) cause(op probe.Phase, kind probe.Kind, side probe.Side, err error) *probe.Error {
	return &probe.Error{Op: op, Addr: c.addr(), Kind: kind, Side: side, Err: err}
}
