package client

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync"

	"github.com/tlsctl/tlsctl/probe"
)

// clientAuth watches the handshake for what the server asks of the client, and answers it.
type clientAuth struct {
	given    *tls.Certificate // nil: none
	insecure error            // why the server's certificate would have been refused, without InsecureSkipVerify

	mu    sync.Mutex
	facts probe.Facts
}

// clientConfig makes the configuration of a handshake from the caller's.
func clientConfig(o Options) (*tls.Config, *clientAuth) {
	cfg := o.TLS.Clone()
	if cfg.ServerName == "" {
		host, _, _ := net.SplitHostPort(o.Addr)
		cfg.ServerName = host
	}
	a := &clientAuth{facts: probe.Facts{WantName: cfg.ServerName}}
	if cfg.Time != nil {
		a.facts.Now = cfg.Time()
	}
	if cfg.RootCAs != nil {
		a.facts.Trusted = cfg.RootCAs.Subjects() //nolint:staticcheck // a file's pool, for which it is complete
	}
	if len(cfg.Certificates) > 0 {
		a.given = &cfg.Certificates[0]
	}
	// Left to Certificates, crypto/tls withholds one whose issuer is not in the server's list, without a word.
	cfg.GetClientCertificate = a.answer
	if cfg.InsecureSkipVerify {
		a.watchInsecure(cfg)
	}
	return cfg, a
}

// answer is called when the server asks for a certificate: it sends what was given, come what may.
func (a *clientAuth) answer(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.facts.CertRequested, a.facts.AcceptableCAs = true, info.AcceptableCAs
	if a.given == nil {
		return &tls.Certificate{}, nil
	}
	a.facts.Own = probe.NewChain(a.given.Certificate)
	any := tls.CertificateRequestInfo{SignatureSchemes: info.SignatureSchemes, Version: info.Version}
	a.facts.OwnUnusable = any.SupportsCertificate(a.given)
	return a.given, nil
}

// watchInsecure makes the checks that InsecureSkipVerify leaves out, to tell rather than to refuse.
func (a *clientAuth) watchInsecure(cfg *tls.Config) {
	before, roots, name, clock := cfg.VerifyConnection, cfg.RootCAs, cfg.ServerName, cfg.Time
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: roots, DNSName: name, Intermediates: x509.NewCertPool()}
		if clock != nil {
			opts.CurrentTime = clock()
		}
		for _, c := range cs.PeerCertificates[min(1, len(cs.PeerCertificates)):] {
			opts.Intermediates.AddCert(c)
		}
		if len(cs.PeerCertificates) > 0 {
			if _, err := cs.PeerCertificates[0].Verify(opts); err != nil {
				a.insecure = &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
			}
		}
		if before != nil {
			return before(cs)
		}
		return nil
	}
}

func (a *clientAuth) snapshot() probe.Facts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.facts
}

// describe says what was asked and sent. Up to TLS 1.2 a finished handshake means that the server accepted it.
func (a *clientAuth) describe(version uint16) ClientAuth {
	f := a.snapshot()
	d := ClientAuth{Requested: f.CertRequested, AcceptableCAs: probe.NameTexts(f.AcceptableCAs)}
	if len(f.Own) > 0 {
		sent := probe.NewCert(f.Own[0])
		d.Sent = &sent
	}
	if d.Requested && version < tls.VersionTLS13 {
		d.Accepted = new(bool)
		*d.Accepted = true
	}
	return d
}

// warnings says what went well but is likely not meant to be as it is.
func (a *clientAuth) warnings() []string {
	f := a.snapshot()
	var out []string
	if a.insecure != nil {
		why := f.Classify(probe.PhaseHandshake, "", a.insecure)
		out = append(out, fmt.Sprintf("the server certificate was not verified; it would have been refused (%s): %s",
			why.Kind, why.Detail))
	}
	switch why := f.OwnFault(); {
	case why != "":
		out = append(out, fmt.Sprintf("the client certificate was sent, but %s", why))
	case a.given != nil && !f.CertRequested:
		out = append(out, "the server did not ask for a client certificate, so the one given was not sent")
	}
	return out
}
