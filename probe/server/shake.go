package server

import (
	"crypto/tls"
	"slices"
)

// Record types of RFC 8446 section 5.1, and the first byte of an SSL 2.0 ClientHello (RFC 5246 appendix E.2).
const (
	recordChangeCipherSpec = 20
	recordAlert            = 21
	recordHandshake        = 22
	recordHeaderSize       = 5
	helloSSL2              = 0x80
)

// emptyCertificateMax is the size, in bytes, of the largest record that a client opens its last flight with when it has
// no certificate. TLS 1.3: Certificate 8, Finished 52, content type and tag 17; TLS 1.2: Certificate 7. The smallest
// certificate there is, Ed25519 without any extension, is larger than that by itself.
const emptyCertificateMax = 128

// maxPrefix is how many of the first bytes are kept for the explanation.
const maxPrefix = 64

// shake is what can be learned about a handshake from outside crypto/tls. Several of its refusals are plain texts;
// which of them happened is told here by what the two sides had said until then.
type shake struct {
	prefix  [maxPrefix]byte // the first bytes
	nprefix int

	hello      bool // a ClientHello was understood
	helloSeen  helloFacts
	answered   bool // a ServerHello or HelloRetryRequest was sent
	header     [recordHeaderSize]byte
	nheader    int
	bodyLeft   int // bytes of the present record that are still to come
	flight     int // size of the first record, CCS apart, that the client sent since we last wrote
	prevFlight int // the same, before that write
}

// helloFacts are the parts of a ClientHello that a refusal may be about.
type helloFacts struct {
	versions      []uint16
	commonVersion bool
}

// sawHello notes the ClientHello.
func (s *shake) sawHello(hello *tls.ClientHelloInfo, cfg *tls.Config) {
	s.hello = true
	s.helloSeen = helloFacts{
		versions: hello.SupportedVersions,
		commonVersion: slices.ContainsFunc(hello.SupportedVersions, func(v uint16) bool {
			return v >= cfg.MinVersion && (cfg.MaxVersion == 0 || v <= cfg.MaxVersion)
		}),
	}
}

// sawRead notes what came from the client, and stops at a first byte that cannot begin a handshake: crypto/tls would
// wait for five of them.
func (s *shake) sawRead(p []byte) error {
	s.nprefix += copy(s.prefix[s.nprefix:], p)
	if first := s.prefix[0]; first != recordHandshake && first != recordAlert && first != helloSSL2 {
		return errNotTLS
	}
	for len(p) > 0 {
		if s.bodyLeft > 0 {
			n := min(s.bodyLeft, len(p))
			s.bodyLeft -= n
			p = p[n:]
			continue
		}
		n := copy(s.header[s.nheader:], p)
		s.nheader += n
		p = p[n:]
		if s.nheader == recordHeaderSize {
			s.sawHeader()
		}
	}
	return nil
}

func (s *shake) sawHeader() {
	s.nheader = 0
	s.bodyLeft = int(s.header[3])<<8 | int(s.header[4])
	if s.flight == 0 && s.header[0] != recordChangeCipherSpec {
		s.flight = s.bodyLeft
	}
}

// sawWrite notes that it is the client's turn again.
func (s *shake) sawWrite(p []byte) {
	if len(p) > 0 && p[0] == recordHandshake {
		s.answered = true
	}
	if s.flight != 0 {
		s.prevFlight, s.flight = s.flight, 0
	}
}

// withoutCertificate says whether the client's last flight was too short for a certificate.
func (s *shake) withoutCertificate() bool {
	last := s.flight
	if last == 0 { // the alert that refuses has been written since
		last = s.prevFlight
	}
	return s.answered && last > 0 && last <= emptyCertificateMax
}
