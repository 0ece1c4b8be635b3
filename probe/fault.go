package probe

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"strconv"
)

// fault is what is wrong with a certificate, whoever presented it.
type fault int

const (
	faultNone fault = iota
	faultMissing
	faultExpired
	faultUnknownCA
	faultName
	faultUsage
	faultOther
)

// kind names the fault of a server's or a client's certificate.
func (f fault) kind(server bool) Kind {
	type pair struct{ server, client Kind }
	p, ok := map[fault]pair{
		faultMissing:   {KindServerInvalid, KindClientMissing},
		faultExpired:   {KindServerExpired, KindClientExpired},
		faultUnknownCA: {KindServerUnknownCA, KindClientUnknownCA},
		faultName:      {KindServerName, KindClientInvalid},
		faultUsage:     {KindServerUsage, KindClientUsage},
	}[f]
	if !ok {
		p = pair{KindServerInvalid, KindClientInvalid}
	}
	if server {
		return p.server
	}
	return p.client
}

// alertFault is what an alert says about the certificate that this process presented. Implementations do not agree:
// OpenSSL tells a wrong purpose with unsupported_certificate, Go with bad_certificate, GnuTLS with unknown_ca or
// certificate_unknown for most things, so the certificate itself is asked too (see ownFault).
func alertFault(a tls.AlertError) fault {
	switch a {
	case alertCertificateRequired:
		return faultMissing
	case alertCertificateExpired:
		return faultExpired
	case alertUnknownCA:
		return faultUnknownCA
	case alertBadCertificate, alertUnsupportedCert, alertCertificateRevoked, alertCertificateUnknown, alertAccessDenied:
		return faultOther
	}
	return faultNone
}

// remoteAlert recognises a TLS alert of the peer.
func (f Facts) remoteAlert(e *Error) bool {
	a, ok := Alert(e.Err)
	if !ok {
		return false
	}
	e.Kind, e.Side = KindAlert, SidePeer
	if f.certAlert(e, a) {
		return true
	}
	switch a {
	case alertHandshakeFailure, alertInsufficientSec:
		e.Kind, e.Detail = KindCipher, "the peer found no cipher suite, key-exchange group or signature scheme in common"
	case alertProtocolVersion, alertInappropriateFall:
		e.Kind, e.Detail = KindProtocolVersion, "the peer speaks none of the TLS versions that were offered"
	case alertUnrecognizedName:
		e.Kind, e.Detail = KindServerName, fmt.Sprintf("the server does not know the name %q", f.WantName)
	case alertNoApplicationProto:
		e.Detail = "the peer speaks none of the application protocols (ALPN) that were offered"
	case alertInternalError:
		e.Detail = "the peer reports an error of its own"
	}
	return true
}

// certAlert recognises an alert that refuses the certificate of this process, or the lack of one.
func (f Facts) certAlert(e *Error, a tls.AlertError) bool {
	said := alertFault(a)
	if f.Server {
		return f.serverCertAlert(e, a, said)
	}
	// Up to TLS 1.2 an absent certificate is a handshake_failure, and some servers say internal_error or whatever
	// their library made of it: asked, nothing given, refused is evidence enough.
	if f.CertRequested && f.Own == nil && (said != faultNone || a == alertHandshakeFailure) {
		e.Kind = KindClientMissing
		e.Detail = "the server asked for a client certificate and none was given" + f.acceptsText()
		return true
	}
	if said == faultNone {
		return f.unusableAlert(e, a)
	}
	f.refusedOwn(e, a, said)
	return true
}

// unusableAlert recognises a handshake_failure that follows a certificate whose key the server cannot use.
func (f Facts) unusableAlert(e *Error, a tls.AlertError) bool {
	return a == alertHandshakeFailure && f.unusable(e)
}

// refusedOwn fills e for a client certificate that the server refused.
func (f Facts) refusedOwn(e *Error, a tls.AlertError, said fault) {
	if said == faultMissing {
		e.Kind = KindClientMissing
		e.Detail = "the server requires a client certificate" + f.acceptsText()
		return
	}
	why, seen := f.ownFault()
	if said == faultOther && a == alertUnsupportedCert && seen == faultNone {
		why = "the server calls it unsupported, by its purpose or by its kind of key"
	}
	if said == faultOther && a == alertCertificateRevoked {
		why, seen = "the server says that it was revoked", faultNone
	}
	if said == faultOther && seen != faultNone {
		said = seen
	}
	if said != seen && seen != faultNone || why == "" {
		why = f.ownAccording(said, a)
	}
	e.Kind = said.kind(false)
	e.Detail = fmt.Sprintf("the server refused the client %s: %s", f.Own.leafText(), why)
}

// RefusedOwn is the cause of a refusal of this client's certificate that came without an alert, and a sentence on it.
func (f Facts) RefusedOwn() (Kind, string) {
	e := &Error{}
	f.refusedOwn(e, alertCertificateUnknown, faultOther)
	return e.Kind, e.Detail
}

// ownAccording says what the server thinks of our certificate where the certificate itself shows nothing.
func (f Facts) ownAccording(said fault, a tls.AlertError) string {
	leaf := f.Own.leaf()
	switch {
	case said == faultUnknownCA && leaf != nil && !bytes.Equal(f.Own.topIssuer(), leaf.RawIssuer):
		return fmt.Sprintf("it does not know the issuer %q of the chain%s", NameText(f.Own.topIssuer()), f.acceptsText())
	case said == faultUnknownCA && leaf != nil:
		return fmt.Sprintf("it does not know its issuer %q%s", NameText(leaf.RawIssuer), f.acceptsText())
	case said == faultExpired && leaf != nil:
		return fmt.Sprintf("expired by the server's clock or in one of its issuers, while it is valid until %s here",
			leaf.NotAfter.UTC().Format("2006-01-02T15:04:05Z"))
	}
	if a == alertCertificateUnknown {
		return "it does not say why"
	}
	return "alert " + strconv.Itoa(int(a)) + " tells no more"
}

// acceptsText names the CAs that the server asked for, when it named any.
func (f Facts) acceptsText() string {
	if len(f.AcceptableCAs) == 0 {
		return ""
	}
	return "; it accepts those issued by: " + listText(NameTexts(f.AcceptableCAs))
}

// serverCertAlert recognises a client that did not accept the certificate of this server.
func (f Facts) serverCertAlert(e *Error, a tls.AlertError, said fault) bool {
	if said == faultNone || said == faultMissing {
		return false
	}
	why, seen := f.ownFault()
	if said == faultOther && seen != faultNone {
		said = seen
	}
	if why == "" {
		why = "it does not lead to a CA that the client trusts, or is for other names than the one it called"
	}
	e.Kind = said.kind(true)
	e.Detail = fmt.Sprintf("the client refused the server %s with alert %d: %s", f.Own.leafText(), a, why)
	return true
}
