package probe

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Chain is a certificate as it was presented: the leaf first, then what came with it.
type Chain []*x509.Certificate

// NewChain parses the DER of a certificate to present. It returns nil when there is none or when it does not parse.
func NewChain(der [][]byte) Chain {
	var c Chain
	for _, b := range der {
		cert, err := x509.ParseCertificate(b)
		if err != nil {
			return nil
		}
		c = append(c, cert)
	}
	return c
}

// IssuedByAny tells whether a certificate of the chain was issued by one of the CAs with these DER names. An empty
// list means any CA (RFC 8446 section 4.2.4).
func (c Chain) IssuedByAny(names [][]byte) bool {
	if len(names) == 0 {
		return true
	}
	for _, cert := range c {
		for _, n := range names {
			if bytes.Equal(cert.RawIssuer, n) {
				return true
			}
		}
	}
	return false
}

func (c Chain) leaf() *x509.Certificate {
	if len(c) == 0 {
		return nil
	}
	return c[0]
}

func (c Chain) leafText() string {
	leaf := c.leaf()
	if leaf == nil {
		return "the certificate"
	}
	return fmt.Sprintf("certificate %q", NameText(leaf.RawSubject))
}

// topIssuer is the name of the CA that would have to be trusted for the chain to be.
func (c Chain) topIssuer() []byte {
	if c.leaf() == nil {
		return nil
	}
	top := c[0]
	for _, next := range c[1:] {
		if !bytes.Equal(top.RawIssuer, next.RawSubject) {
			break
		}
		top = next
	}
	return top.RawIssuer
}

func (f Facts) now() time.Time {
	if f.Now.IsZero() {
		return time.Now()
	}
	return f.Now
}

// OwnFault says what is wrong with the certificate that this process presented, as far as it can see for itself, ""
// when nothing is: the start of a refusal's explanation, and a warning while the refusal has not come.
func (f Facts) OwnFault() string {
	why, _ := f.ownFault()
	return why
}

// ownFault says what is wrong with the certificate that this process presented, as far as it can see for itself: ""
// and no kind when nothing is.
func (f Facts) ownFault() (string, fault) {
	leaf := f.Own.leaf()
	if leaf == nil {
		return "", faultNone
	}
	if s := validityFault(leaf, f.now()); s != "" {
		return s, faultExpired
	}
	want, name := x509.ExtKeyUsageClientAuth, "clientAuth"
	if f.Server {
		want, name = x509.ExtKeyUsageServerAuth, "serverAuth"
	}
	if s := usageFault(leaf, want, name); s != "" {
		return s, faultUsage
	}
	if !f.Own.IssuedByAny(f.AcceptableCAs) {
		return fmt.Sprintf("its issuer %q is not among the CAs that the server accepts (%s)",
			NameText(f.Own.topIssuer()), listText(NameTexts(f.AcceptableCAs))), faultUnknownCA
	}
	return "", faultNone
}

func validityFault(c *x509.Certificate, now time.Time) string {
	switch {
	case now.After(c.NotAfter):
		return fmt.Sprintf("it expired at %s", c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Sprintf("it is not valid before %s", c.NotBefore.UTC().Format(time.RFC3339))
	}
	return ""
}

// usageFault says why a certificate lacks an extended key usage. One without the extension serves any purpose.
func usageFault(c *x509.Certificate, want x509.ExtKeyUsage, name string) string {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return ""
	}
	var has []string
	for _, u := range c.ExtKeyUsage {
		if u == want || u == x509.ExtKeyUsageAny {
			return ""
		}
		has = append(has, usageText(u))
	}
	for _, oid := range c.UnknownExtKeyUsage {
		has = append(has, oid.String())
	}
	return fmt.Sprintf("its extended key usage is %s, not %s", strings.Join(has, ", "), name)
}

func usageText(u x509.ExtKeyUsage) string {
	switch u {
	case x509.ExtKeyUsageServerAuth:
		return "serverAuth"
	case x509.ExtKeyUsageClientAuth:
		return "clientAuth"
	case x509.ExtKeyUsageCodeSigning:
		return "codeSigning"
	case x509.ExtKeyUsageEmailProtection:
		return "emailProtection"
	case x509.ExtKeyUsageTimeStamping:
		return "timeStamping"
	case x509.ExtKeyUsageOCSPSigning:
		return "OCSPSigning"
	}
	return fmt.Sprintf("usage %d", u)
}

// NameTexts renders DER names, see [NameText].
func NameTexts(names [][]byte) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, NameText(n))
	}
	return out
}

// verification recognises that this process did not accept the peer's certificate.
func (f Facts) verification(e *Error) bool {
	chain := f.Peer
	if v, ok := errors.AsType[*tls.CertificateVerificationError](e.Err); ok && len(v.UnverifiedCertificates) > 0 {
		chain = v.UnverifiedCertificates
	}
	fl, detail := f.verifyFault(e.Err, chain)
	if fl == faultNone {
		return false
	}
	e.Kind, e.Side, e.Detail = fl.kind(!f.Server), SideLocal, detail
	return true
}

// verifyFault tells by the types of crypto/x509 what is wrong with the peer's chain.
func (f Facts) verifyFault(err error, chain Chain) (fault, string) {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return f.invalidFault(invalid)
	}
	if host, ok := errors.AsType[x509.HostnameError](err); ok {
		return faultName, f.hostDetail(host)
	}
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if chain == nil && unknown.Cert != nil {
			chain = Chain{unknown.Cert}
		}
		return faultUnknownCA, f.untrustedDetail(chain)
	}
	if isOtherVerifyError(err) {
		return faultOther, chain.leafText() + " does not pass the checks"
	}
	return faultNone, ""
}

func isOtherVerifyError(err error) bool {
	for _, is := range []func(error) bool{
		isType[x509.SystemRootsError], isType[x509.UnhandledCriticalExtension], isType[x509.ConstraintViolationError],
		isType[x509.InsecureAlgorithmError], isType[*tls.CertificateVerificationError],
	} {
		if is(err) {
			return true
		}
	}
	return false
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func (f Facts) invalidFault(e x509.CertificateInvalidError) (fault, string) {
	one := Chain{e.Cert}
	switch e.Reason {
	case x509.Expired:
		if s := validityFault(e.Cert, f.now()); s != "" {
			return faultExpired, one.leafText() + ": " + s
		}
		return faultExpired, one.leafText() + " is outside its validity"
	case x509.IncompatibleUsage:
		want, name := x509.ExtKeyUsageServerAuth, "serverAuth"
		if f.Server {
			want, name = x509.ExtKeyUsageClientAuth, "clientAuth"
		}
		if s := usageFault(e.Cert, want, name); s != "" {
			return faultUsage, one.leafText() + ": " + s
		}
		return faultUsage, fmt.Sprintf("a CA above %s does not allow %s", one.leafText(), name)
	}
	return faultOther, one.leafText() + " does not pass the checks"
}

func (f Facts) hostDetail(e x509.HostnameError) string {
	var names []string
	if e.Certificate != nil {
		names = sanTexts(e.Certificate)
	}
	return fmt.Sprintf("the certificate is not for %q but for: %s", e.Host, listText(names))
}

// untrustedDetail says what is missing between the peer's chain and the CAs that this process trusts.
func (f Facts) untrustedDetail(chain Chain) string {
	leaf := chain.leaf()
	if leaf == nil {
		return "it does not lead to a CA that is trusted here"
	}
	top := chain.topIssuer()
	self := bytes.Equal(leaf.RawIssuer, leaf.RawSubject)
	switch {
	case self && leaf.CheckSignatureFrom(leaf) == nil, self && !leaf.IsCA:
		return chain.leafText() + " is self-signed and not itself among the trusted ones"
	case f.trusts(top):
		return fmt.Sprintf("%s names %q as its issuer, which is trusted here, but was signed with another key: "+
			"a CA of the same name made anew", chain.leafText(), NameText(top))
	case len(chain) == 1:
		return fmt.Sprintf("the peer sent only its own certificate %q, and its issuer %q is not among the trusted CAs (%s): "+
			"either an intermediate is missing there or the CA is another one",
			NameText(leaf.RawSubject), NameText(leaf.RawIssuer), f.trustedText())
	}
	return fmt.Sprintf("the chain of %q ends at the issuer %q, which is not among the trusted CAs (%s)",
		NameText(leaf.RawSubject), NameText(top), f.trustedText())
}

func (f Facts) trusts(name []byte) bool {
	for _, t := range f.Trusted {
		if bytes.Equal(t, name) {
			return true
		}
	}
	return false
}

func (f Facts) trustedText() string {
	if len(f.Trusted) == 0 {
		return "those of the system"
	}
	return listText(NameTexts(f.Trusted))
}
