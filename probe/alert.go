package probe

import (
	"crypto/tls"
	"errors"
	"net"
)

// The alert numbers of RFC 8446 section 6 and RFC 5246 section 7.2 that say something about a cause of ours.
const (
	alertHandshakeFailure    tls.AlertError = 40
	alertBadCertificate      tls.AlertError = 42
	alertUnsupportedCert     tls.AlertError = 43
	alertCertificateRevoked  tls.AlertError = 44
	alertCertificateExpired  tls.AlertError = 45
	alertCertificateUnknown  tls.AlertError = 46
	alertUnknownCA           tls.AlertError = 48
	alertAccessDenied        tls.AlertError = 49
	alertProtocolVersion     tls.AlertError = 70
	alertInsufficientSec     tls.AlertError = 71
	alertInternalError       tls.AlertError = 80
	alertInappropriateFall   tls.AlertError = 86
	alertUnrecognizedName    tls.AlertError = 112
	alertCertificateRequired tls.AlertError = 116
	alertNoApplicationProto  tls.AlertError = 120
)

// opRemoteAlert is the Op that crypto/tls gives to the *net.OpError around an alert of the peer.
const opRemoteAlert = "remote error"

// Alert returns the TLS alert that the peer sent, if err holds one.
//
// Over QUIC that is a [tls.AlertError]. Over TCP it is a *net.OpError around a type that crypto/tls does not export
// and that [errors.As] therefore cannot reach (golang/go#35234), but whose text is that of the AlertError of the same
// number: the one place where an error is told by its text.
func Alert(err error) (tls.AlertError, bool) {
	var a tls.AlertError
	if errors.As(err, &a) {
		return a, true
	}
	for ; err != nil; err = errors.Unwrap(err) {
		op, ok := errors.AsType[*net.OpError](err)
		if !ok {
			return 0, false
		}
		if op.Op == opRemoteAlert && op.Err != nil {
			return alertByText(op.Err.Error())
		}
		err = op
	}
	return 0, false
}

func alertByText(text string) (tls.AlertError, bool) {
	for n := range 256 {
		if a := tls.AlertError(n); a.Error() == text {
			return a, true
		}
	}
	return 0, false
}

// recordAlert and recordHandshake are the record types that can open a TLS connection.
const (
	recordAlert     = 21
	recordHandshake = 22
	recordHeaderLen = 5
)

// PlainAlert returns the alert in an unencrypted TLS record, if b starts with one. A client whose handshake broke at
// a write finds there what the server had said before it closed.
func PlainAlert(b []byte) (tls.AlertError, bool) {
	const level, fatal = recordHeaderLen, 2
	if len(b) < recordHeaderLen+2 || b[0] != recordAlert || b[1] != 3 || b[3] != 0 || b[4] != 2 || b[level] != fatal {
		return 0, false
	}
	return tls.AlertError(b[level+1]), true
}

// looksLikeTLS tells whether b can be the start of what a TLS peer sends first: a handshake or alert record of
// SSL 3.0 or later. Nothing at all can be.
func looksLikeTLS(b []byte) bool {
	return len(b) == 0 || (b[0] == recordHandshake || b[0] == recordAlert) && (len(b) == 1 || b[1] == 3)
}

// HelloVersion returns the TLS version that a ServerHello at the start of b chose, 0 when b holds none.
func HelloVersion(b []byte) uint16 {
	const (
		typeOff, versionOff, sessionOff = 5, 9, 43
		serverHello                     = 2
		extSupportedVersions            = 43
	)
	if len(b) <= sessionOff || b[0] != recordHandshake || b[typeOff] != serverHello {
		return 0
	}
	version := uint16(b[versionOff])<<8 | uint16(b[versionOff+1])
	rest := b[sessionOff:]
	skip := 1 + int(rest[0]) + 2 + 1 + 2 // session, cipher suite, compression, length of the extensions
	if len(rest) < skip {
		return version
	}
	for rest = rest[skip:]; len(rest) >= 4; {
		typ, n := uint16(rest[0])<<8|uint16(rest[1]), int(rest[2])<<8|int(rest[3])
		if len(rest) < 4+n {
			break
		}
		if typ == extSupportedVersions && n == 2 {
			return uint16(rest[4])<<8 | uint16(rest[5])
		}
		rest = rest[4+n:]
	}
	return version
}
