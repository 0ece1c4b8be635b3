package server

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
)

// alpnHTTP is what a server that answers HTTP offers, best first.
var alpnHTTP = [...]string{"h2", "http/1.1"}

// Harden returns a copy of cfg as every listener of ours uses it: TLS 1.2 and 1.3, of TLS 1.2 only the suites with
// forward secrecy and an AEAD, Go's key-exchange groups (the hybrid post-quantum one first), and a resumed session
// judged again by the client policy of today. ALPN names are offered when nextProtos has any; a client whose names
// are all unknown is not refused for them but goes without. Session-ticket keys stay as they are, that is rotated
// by crypto/tls unless cfg sets them.
func Harden(cfg *tls.Config, nextProtos ...string) *tls.Config {
	c := cfg.Clone()
	if c.MinVersion < tls.VersionTLS12 {
		c.MinVersion = tls.VersionTLS12
	}
	c.CipherSuites = suitesTLS12()
	c.NextProtos = nextProtos
	c.VerifyConnection = recheckResumed(c.ClientAuth, c.ClientCAs, cfg)

	if len(nextProtos) > 0 {
		plain := c.Clone()
		plain.NextProtos = nil
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if !overlap(hello.SupportedProtos, nextProtos) {
				return plain, nil // RFC 7301 section 3.2 would have us refuse; an echo has no protocol to insist on
			}
			return nil, nil
		}
	}
	return c
}

// suitesTLS12 are the TLS 1.2 suites with ECDHE and an AEAD. crypto/tls orders them by what the hardware does well.
func suitesTLS12() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// recheckResumed judges the client of a resumed session again. A ticket carries the verdict of the day it was issued;
// since then the chain may have expired or its CA may have been taken off the list (golang/go#77217).
func recheckResumed(
	auth tls.ClientAuthType, roots *x509.CertPool, cfg *tls.Config,
) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if cs.DidResume {
			if err := verifyClient(cs.PeerCertificates, auth, roots, cfg); err != nil {
				return err
			}
		}
		if cfg.VerifyConnection != nil {
			return cfg.VerifyConnection(cs)
		}
		return nil
	}
}

// verifyClient repeats for a stored chain what crypto/tls does for a presented one.
func verifyClient(chain []*x509.Certificate, auth tls.ClientAuthType, roots *x509.CertPool, cfg *tls.Config) error {
	if len(chain) == 0 {
		if auth == tls.RequireAnyClientCert || auth == tls.RequireAndVerifyClientCert {
			return errNoCertificate
		}
		return nil
	}
	if auth < tls.VerifyClientCertIfGiven {
		return nil
	}
	opts := x509.VerifyOptions{
		Roots:         roots,
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if cfg.Time != nil {
		opts.CurrentTime = cfg.Time()
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(opts); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	return nil
}
