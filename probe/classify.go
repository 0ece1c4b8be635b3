package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Facts is what the reporting process knows about a connection beyond the error that ended it. The same alert has
// other causes when no certificate was given than when an expired one was, so the more facts, the better the word.
// The zero value is a client that knows nothing.
type Facts struct {
	Server bool      // this process accepted the connection; the roles of the certificates change places
	Now    time.Time // when certificates are judged; zero: the present

	CertRequested bool     // a client: the server asked for a certificate
	AcceptableCAs [][]byte // the DER names of the CAs that the server named then; empty: any
	Own           Chain   // the certificate that this process presented, nil when none
	OwnUnusable   error    // why the peer's signature schemes rule out our key, nil when they do not

	Peer       Chain   // the certificate that the peer presented, as far as known without the error
	Trusted    [][]byte // the DER subjects of the CAs that this process trusts; empty: not known
	WantName   string   // the name that the peer's certificate must hold
	Versions   []uint16 // the TLS versions that the peer offered (a server) or chose (a client)
	FirstBytes []byte   // the first bytes that came from the peer

	Sent, Received int64 // how many bytes went each way, for a reset or an early close
}

// Classify finds the cause of an error of net, crypto/tls or net/http that met a client in phase op with addr. It
// returns nil for nil, and an *Error in err as it is. [Facts.Classify] says more.
func Classify(op Phase, addr string, err error) *Error {
	return Facts{}.Classify(op, addr, err)
}

// Classify finds the cause of err by its type and by the facts, never by its words (but see [Alert]).
func (f Facts) Classify(op Phase, addr string, err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Op: op, Addr: addr, Kind: KindIO, Side: SideLocal, Err: err}
	for _, rule := range []func(*Error) bool{
		f.interrupted, f.remoteAlert, f.verification, f.missing, f.notTLS, f.dns, f.errno, f.timeout, f.ended, f.version,
		f.unusable,
	} {
		if rule(e) {
			break
		}
	}
	return e
}

func (f Facts) interrupted(e *Error) bool {
	if !errors.Is(e.Err, context.Canceled) {
		return false
	}
	e.Kind = KindInterrupted
	return true
}

// textNoClientCert is what a crypto/tls server returns when a required client certificate is absent. It has no type;
// a test holds the text against the toolchain.
const textNoClientCert = "tls: client didn't provide a certificate"

// missing recognises a server's own refusal of a client without a certificate.
func (f Facts) missing(e *Error) bool {
	if !f.Server || e.Op != PhaseHandshake || e.Err.Error() != textNoClientCert {
		return false
	}
	e.Kind, e.Detail = KindClientMissing, "the client gave no certificate and one is required"
	return true
}

// notTLS recognises a peer that answers in another protocol, also one that says a few words and then closes or waits.
func (f Facts) notTLS(e *Error) bool {
	first := f.FirstBytes
	header, ok := errors.AsType[tls.RecordHeaderError](e.Err)
	if ok && len(first) < len(header.RecordHeader) {
		first = header.RecordHeader[:]
	}
	if !ok && (e.Op != PhaseHandshake || looksLikeTLS(f.FirstBytes)) {
		return false
	}
	e.Kind, e.Side, e.Detail = KindNotTLS, SidePeer, f.foreignProtocol(first)
	return true
}

func (f Facts) dns(e *Error) bool {
	d, ok := errors.AsType[*net.DNSError](e.Err)
	if !ok {
		return false
	}
	e.Op, e.Kind, e.Side = PhaseResolve, KindDNS, SideNetwork
	if d.IsTimeout {
		e.Kind = KindTimeout
	}
	return true
}

func (f Facts) errno(e *Error) bool {
	n, ok := errors.AsType[syscall.Errno](e.Err)
	if !ok {
		return false
	}
	kind, ok := errnoKind(n)
	if !ok {
		return false
	}
	e.Kind = kind
	switch kind {
	case KindRefused:
		e.Side = SidePeer
	case KindReset:
		e.Side, e.Detail = SidePeer, f.brokenOff(e.Op, "the peer reset the connection")
	case KindUnreachable, KindTimeout:
		e.Side = SideNetwork
	}
	return true
}

func (f Facts) timeout(e *Error) bool {
	ne, ok := errors.AsType[net.Error](e.Err)
	if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, os.ErrDeadlineExceeded) && (!ok || !ne.Timeout()) {
		return false
	}
	e.Kind, e.Side = KindTimeout, SidePeer
	switch e.Op {
	case PhaseResolve, PhaseConnect:
		e.Side = SideNetwork
	case PhaseHandshake:
		e.Detail = "the connection was accepted, but the handshake was not finished in time"
		if f.Received == 0 && len(f.FirstBytes) == 0 {
			e.Detail = "the connection was accepted, but not a byte came in answer to the first flight of the handshake"
		}
		if f.Server {
			e.Detail = "the client did not finish the handshake in time"
		}
	case PhaseRead, PhaseWrite:
		e.Detail = fmt.Sprintf("the peer was silent after %d bytes sent and %d received", f.Sent, f.Received)
	}
	return true
}

// ended recognises the end of the stream where more was expected, and our own closing.
func (f Facts) ended(e *Error) bool {
	switch {
	case errors.Is(e.Err, io.EOF), errors.Is(e.Err, io.ErrUnexpectedEOF):
		e.Kind, e.Side, e.Detail = KindEarlyClose, SidePeer, f.brokenOff(e.Op, "the peer closed the connection")
	case errors.Is(e.Err, net.ErrClosed):
		e.Kind = KindInterrupted
	default:
		return false
	}
	return true
}

// brokenOff says when a connection broke off and, where the facts allow, guesses at why.
func (f Facts) brokenOff(op Phase, what string) string {
	s := fmt.Sprintf("%s after %d bytes sent and %d received", what, f.Sent, f.Received)
	if op == PhaseHandshake {
		s = what + " during the handshake"
	}
	if f.Server || !f.CertRequested {
		return s
	}
	if f.Own == nil {
		return s + "; it had asked for a client certificate and none was given, which is probably why"
	}
	if why, _ := f.ownFault(); why != "" {
		return s + "; the client certificate is probably why: " + why
	}
	return s
}

// version recognises that the two sides have no TLS version in common where only this process noticed: a server
// that answers with TLS 1.1, or a client that offers nothing newer.
func (f Facts) version(e *Error) bool {
	if e.Op != PhaseHandshake || len(f.Versions) == 0 {
		return false
	}
	newest := f.Versions[0]
	for _, v := range f.Versions {
		if v >= tls.VersionTLS12 && v <= tls.VersionTLS13 {
			return false
		}
		newest = max(newest, v)
	}
	e.Kind = KindProtocolVersion
	e.Detail = fmt.Sprintf("the server chose %s", tls.VersionName(newest))
	if f.Server {
		e.Detail = fmt.Sprintf("the client offers nothing newer than %s", tls.VersionName(newest))
	}
	return true
}

// unusable recognises a client certificate whose key can make no signature that the server accepts.
func (f Facts) unusable(e *Error) bool {
	if f.OwnUnusable == nil || e.Op != PhaseHandshake {
		return false
	}
	e.Kind = KindClientInvalid
	e.Detail = fmt.Sprintf("the server accepts no signature that %s can make", f.Own.leafText())
	return true
}
