package probe

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
)

// NewCert describes a certificate. A nil certificate gives an empty description.
func NewCert(c *x509.Certificate) Cert {
	if c == nil {
		return Cert{}
	}
	sum := sha256.Sum256(c.Raw)
	return Cert{
		Subject:   NameText(c.RawSubject),
		Issuer:    NameText(c.RawIssuer),
		Serial:    serialText(c),
		SANs:      sanTexts(c),
		NotBefore: c.NotBefore.UTC(),
		NotAfter:  c.NotAfter.UTC(),
		SHA256:    hex.EncodeToString(sum[:]),
	}
}

// NewPeer describes the other end of a TLS connection as of the end of its handshake.
func NewPeer(cs tls.ConnectionState, addr string) Peer {
	p := Peer{Addr: addr, ALPN: cs.NegotiatedProtocol, Resumed: cs.DidResume}
	if cs.Version != 0 {
		p.Version = tls.VersionName(cs.Version)
		p.Cipher = tls.CipherSuiteName(cs.CipherSuite)
	}
	if cs.CurveID != 0 {
		p.Group = cs.CurveID.String()
	}
	for _, c := range cs.PeerCertificates {
		p.Chain = append(p.Chain, NewCert(c))
	}
	return p
}

// NameText renders a DER-encoded distinguished name ("CN=ca,O=lab"), its bytes in hexadecimal when it cannot be
// parsed, and "(empty)" when it has no part. It may hold untrusted text.
func NameText(der []byte) string {
	var seq pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &seq); err != nil || len(rest) > 0 {
		return hex.EncodeToString(der)
	}
	if len(seq) == 0 {
		return "(empty)"
	}
	return seq.String()
}

// serialText is the serial number in hexadecimal as openssl prints it: whole bytes, upper case.
func serialText(c *x509.Certificate) string {
	if c.SerialNumber == nil {
		return ""
	}
	b := c.SerialNumber.Bytes()
	if len(b) == 0 {
		b = []byte{0}
	}
	sign := ""
	if c.SerialNumber.Sign() < 0 {
		sign = "-"
	}
	return sign + strings.ToUpper(hex.EncodeToString(b))
}

// sanTexts lists the subject alternative names, each with its type ("dns:localhost").
func sanTexts(c *x509.Certificate) []string {
	var out []string
	for _, n := range c.DNSNames {
		out = append(out, "dns:"+n)
	}
	for _, ip := range c.IPAddresses {
		out = append(out, "ip:"+ip.String())
	}
	for _, n := range c.EmailAddresses {
		out = append(out, "email:"+n)
	}
	for _, u := range c.URIs {
		out = append(out, "uri:"+u.String())
	}
	return out
}

// maxListed bounds how many names of a peer's list a sentence repeats.
const maxListed = 5

// listText joins names for a sentence, the first few only.
func listText(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	if n := len(names); n > maxListed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), n-maxListed)
	}
	return strings.Join(names, ", ")
}
