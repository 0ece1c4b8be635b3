package probe_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

func TestClassifyTypes(t *testing.T) {
	op := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	sys := func(e syscall.Errno) error { return op(os.NewSyscallError("connect", e)) }
	own := &probe.Error{Op: probe.PhaseRead, Kind: probe.KindEchoMismatch}
	tests := []struct {
		name string
		op   probe.Phase
		err  error
		want probe.Kind
		side probe.Side
	}{
		{"refused", probe.PhaseConnect, sys(syscall.ECONNREFUSED), probe.KindRefused, probe.SidePeer},
		{"no route", probe.PhaseConnect, sys(syscall.EHOSTUNREACH), probe.KindUnreachable, probe.SideNetwork},
		{"no net", probe.PhaseConnect, sys(syscall.ENETUNREACH), probe.KindUnreachable, probe.SideNetwork},
		{"kernel gave up", probe.PhaseConnect, sys(syscall.ETIMEDOUT), probe.KindTimeout, probe.SideNetwork},
		{"reset", probe.PhaseRead, sys(syscall.ECONNRESET), probe.KindReset, probe.SidePeer},
		{"pipe", probe.PhaseWrite, sys(syscall.EPIPE), probe.KindReset, probe.SidePeer},
		{"no descriptor", probe.PhaseConnect, sys(syscall.EMFILE), probe.KindDescriptors, probe.SideLocal},
		{"no descriptor in the system", probe.PhaseConnect, sys(syscall.ENFILE), probe.KindDescriptors, probe.SideLocal},
		{"no port", probe.PhaseConnect, sys(syscall.EADDRNOTAVAIL), probe.KindPorts, probe.SideLocal},
		{"in use", probe.PhaseListen, sys(syscall.EADDRINUSE), probe.KindAddressInUse, probe.SideLocal},
		{"low port", probe.PhaseListen, sys(syscall.EACCES), probe.KindPermission, probe.SideLocal},
		{"unknown errno", probe.PhaseRead, sys(syscall.EINVAL), probe.KindIO, probe.SideLocal},
		{"no such name", probe.PhaseConnect, op(&net.DNSError{IsNotFound: true}), probe.KindDNS, probe.SideNetwork},
		{"resolver silent", probe.PhaseResolve, &net.DNSError{IsTimeout: true}, probe.KindTimeout, probe.SideNetwork},
		{"deadline", probe.PhaseRead, os.ErrDeadlineExceeded, probe.KindTimeout, probe.SidePeer},
		{"context deadline", probe.PhaseHandshake, context.DeadlineExceeded, probe.KindTimeout, probe.SidePeer},
		{"connect deadline", probe.PhaseConnect, op(context.DeadlineExceeded), probe.KindTimeout, probe.SideNetwork},
		{"cancelled", probe.PhaseRead, fmt.Errorf("x: %w", context.Canceled), probe.KindInterrupted, probe.SideLocal},
		{"end", probe.PhaseRead, io.EOF, probe.KindEarlyClose, probe.SidePeer},
		{"end within a record", probe.PhaseRead, io.ErrUnexpectedEOF, probe.KindEarlyClose, probe.SidePeer},
		{"closed here", probe.PhaseRead, net.ErrClosed, probe.KindInterrupted, probe.SideLocal},
		{"anything", probe.PhaseRead, errors.New("odd"), probe.KindIO, probe.SideLocal},
		{"classified before", probe.PhaseWrite, fmt.Errorf("x: %w", own), probe.KindEchoMismatch, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := probe.Classify(tt.op, "h:1", tt.err)
			if got.Kind != tt.want || got.Side != tt.side {
				t.Errorf("got %q by %q, want %q by %q", got.Kind, got.Side, tt.want, tt.side)
			}
		})
	}
	if got := probe.Classify(probe.PhaseRead, "", nil); got != nil {
		t.Errorf("got %v for no error", got)
	}
	if got := probe.Classify(probe.PhaseConnect, "h:1", op(&net.DNSError{})); got.Op != probe.PhaseResolve {
		t.Errorf("got phase %q for a DNS error, want resolve", got.Op)
	}
}

func TestClassifyNotTLS(t *testing.T) {
	tests := []struct {
		name, first, want string
		err               error
		server            bool
	}{
		{"http", "HTTP/1.1 400 Bad Request\r\nServer: x\r\n", `HTTP, not TLS: "HTTP/1.1 400 Bad Request"`,
			tls.RecordHeaderError{RecordHeader: [5]byte{'H', 'T', 'T', 'P', '/'}}, false},
		{"header alone", "", `HTTP, not TLS: "HTTP/"`,
			tls.RecordHeaderError{RecordHeader: [5]byte{'H', 'T', 'T', 'P', '/'}}, false},
		{"smtp", "220 mail ESMTP\r\n", `an SMTP or FTP greeting, not TLS: "220 mail ESMTP"`, tls.RecordHeaderError{}, false},
		{"word, then closed", "no\n", `something else than TLS: "no"`, io.EOF, false},
		{"word, then silent", "no", `something else than TLS: "no"`, os.ErrDeadlineExceeded, false},
		{"binary", "\x00\x01\x02\x03\x04\x05", "something else than TLS: 00 01 02 03 04 05", tls.RecordHeaderError{}, false},
		{"plain client", "GET / HTTP/1.1\r\n", "the client spoke with a plain HTTP request, not TLS", tls.RecordHeaderError{}, true},
		{"long", strings.Repeat("x", 5000), `"` + strings.Repeat("x", 64) + `"`, tls.RecordHeaderError{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := probe.Facts{Server: tt.server, FirstBytes: []byte(tt.first)}
			got := f.Classify(probe.PhaseHandshake, "h:1", tt.err)
			if got.Kind != probe.KindNotTLS || !strings.Contains(got.Detail, tt.want) {
				t.Errorf("got %q, %q, want not_tls with %q", got.Kind, got.Detail, tt.want)
			}
		})
	}
}

func TestClassifyVersions(t *testing.T) {
	tests := []struct {
		name     string
		facts    probe.Facts
		want     probe.Kind
		evidence string
	}{
		{"server chose 1.0", probe.Facts{Versions: []uint16{tls.VersionTLS10}}, probe.KindProtocolVersion, "the server chose TLS 1.0"},
		{"client offers 1.0 and 1.1", probe.Facts{Server: true, Versions: []uint16{tls.VersionTLS10, tls.VersionTLS11}},
			probe.KindProtocolVersion, "nothing newer than TLS 1.1"},
		{"client offers a draft", probe.Facts{Server: true, Versions: []uint16{0x7f1c, tls.VersionTLS12}}, probe.KindIO, ""},
		{"nothing known", probe.Facts{}, probe.KindIO, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.facts.Classify(probe.PhaseHandshake, "h:1", errors.New("tls: something of versions"))
			if got.Kind != tt.want || !strings.Contains(got.Detail, tt.evidence) {
				t.Errorf("got %q, %q, want %q, %q", got.Kind, got.Detail, tt.want, tt.evidence)
			}
		})
	}
}

func TestClassifyBrokenOff(t *testing.T) {
	given := newAuthority(t, "ca").leaf("me", only(x509.ExtKeyUsageServerAuth))
	own := probe.NewChain(given.Certificate)
	tests := []struct {
		name  string
		facts probe.Facts
		want  string
	}{
		{"bytes", probe.Facts{Sent: 7, Received: 3}, "after 7 bytes sent and 3 received"},
		{"no certificate given", probe.Facts{CertRequested: true}, "none was given, which is probably why"},
		{"wrong one given", probe.Facts{CertRequested: true, Own: own},
			"probably why: its extended key usage is serverAuth, not clientAuth"},
		{"a server", probe.Facts{Server: true, CertRequested: true}, "after 0 bytes sent and 0 received"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.facts.Classify(probe.PhaseWrite, "h:1", syscall.ECONNRESET)
			if got.Kind != probe.KindReset || !strings.HasSuffix(got.Detail, tt.want) {
				t.Errorf("got %q, %q, want reset, %q", got.Kind, got.Detail, tt.want)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	e := &probe.Error{Op: probe.PhaseRead, Addr: "h:1", Kind: probe.KindReset, Detail: "why", Err: io.EOF}
	if got, want := e.Error(), "read h:1: why: EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(e, io.EOF) {
		t.Error("the cause is not reachable")
	}
	if got, want := (&probe.Error{Op: probe.PhaseRead, Kind: probe.KindReset}).Error(), "read: reset"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// ends holds what each end of a handshake over loopback made of it.
type ends struct{ client, server *probe.Error }

// meet performs a handshake and one round trip with real sockets, so that the alerts are those of the wire, and
// classifies what each end saw with the facts that a careful caller has.
func meet(t *testing.T, clientCfg, serverCfg *tls.Config) ends {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	served := make(chan *probe.Error, 1)
	go func() { served <- serveOne(ln, serverCfg) }()

	facts := probe.Facts{WantName: clientCfg.ServerName}
	cfg := clientCfg.Clone()
	cfg.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		facts.CertRequested, facts.AcceptableCAs = true, info.AcceptableCAs
		if len(clientCfg.Certificates) == 0 {
			return &tls.Certificate{}, nil
		}
		facts.Own = probe.NewChain(clientCfg.Certificates[0].Certificate)
		return &clientCfg.Certificates[0], nil
	}
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(raw, cfg)
	op := probe.PhaseHandshake
	if err = conn.Handshake(); err == nil {
		op = probe.PhaseRead
		_, err = io.ReadFull(conn, make([]byte, 2))
	}
	got := ends{client: facts.Classify(op, ln.Addr().String(), err)}
	_ = raw.Close()
	got.server = <-served
	return got
}

func serveOne(ln net.Listener, cfg *tls.Config) *probe.Error {
	raw, err := ln.Accept()
	if err != nil {
		return probe.Classify(probe.PhaseAccept, "", err)
	}
	defer raw.Close()
	facts := probe.Facts{Server: true}
	cfg = cfg.Clone()
	cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		facts.Versions = h.SupportedVersions
		return nil, nil
	}
	if len(cfg.Certificates) > 0 {
		facts.Own = probe.NewChain(cfg.Certificates[0].Certificate)
	}
	conn := tls.Server(raw, cfg)
	if err := conn.Handshake(); err != nil {
		_ = raw.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, raw)
		return facts.Classify(probe.PhaseHandshake, "", err)
	}
	if _, err := conn.Write([]byte("ok")); err != nil {
		return facts.Classify(probe.PhaseWrite, "", err)
	}
	return nil
}

func TestClassifyHandshakes(t *testing.T) {
	ca, foreign := newAuthority(t, "lab ca"), newAuthority(t, "foreign ca")
	inter := ca.sub("inter", func(*x509.Certificate) {})
	narrow := ca.sub("narrow", only(x509.ExtKeyUsageClientAuth))
	impostor := newAuthority(t, "lab ca")
	good := ca.leaf("good", nil)
	tests := []struct {
		name           string
		client, server tls.Certificate // the zero one: none
		clientKind     probe.Kind
		side           probe.Side
		detail         string
		serverKind     probe.Kind
	}{
		{"all well", good, good, "", "", "", ""},
		{"no client certificate", tls.Certificate{}, good, probe.KindClientMissing, probe.SidePeer,
			"the server asked for a client certificate and none was given; it accepts those issued by: CN=lab ca", probe.KindClientMissing},
		{"foreign client", foreign.leaf("me", nil), good, probe.KindClientUnknownCA, probe.SidePeer,
			`"CN=me": its issuer "CN=foreign ca" is not among the CAs that the server accepts (CN=lab ca)`, probe.KindClientUnknownCA},
		{"impostor client", impostor.leaf("me", nil), good, probe.KindClientUnknownCA, probe.SidePeer,
			`it does not know its issuer "CN=lab ca"`, probe.KindClientUnknownCA},
		{"client without its intermediate", inter.leaf("me", nil), good, probe.KindClientUnknownCA, probe.SidePeer,
			`its issuer "CN=inter" is not among`, probe.KindClientUnknownCA},
		{"expired client", ca.leaf("me", expired), good, probe.KindClientExpired, probe.SidePeer,
			`"CN=me": it expired at`, probe.KindClientExpired},
		{"early client", ca.leaf("me", early), good, probe.KindClientExpired, probe.SidePeer,
			"it is not valid before", probe.KindClientExpired},
		{"server certificate as client", ca.leaf("me", only(x509.ExtKeyUsageServerAuth)), good, probe.KindClientUsage,
			probe.SidePeer, "its extended key usage is serverAuth, not clientAuth", probe.KindClientUsage},
		{"foreign server", good, foreign.leaf("srv", nil), probe.KindServerUnknownCA, probe.SideLocal,
			`its issuer "CN=foreign ca" is not among the trusted CAs`, probe.KindServerInvalid},
		{"server without its intermediate", good, inter.leaf("srv", nil), probe.KindServerUnknownCA, probe.SideLocal,
			"sent only its own certificate", probe.KindServerInvalid},
		{"server with an unknown chain", good, foreign.sub("f2", func(*x509.Certificate) {}).leaf("srv", nil, foreign),
			probe.KindServerUnknownCA, probe.SideLocal, `ends at the issuer "CN=f2"`, probe.KindServerInvalid},
		{"expired server", good, ca.leaf("srv", expired), probe.KindServerExpired, probe.SideLocal,
			`"CN=srv": it expired at`, probe.KindServerExpired},
		{"early server", good, ca.leaf("srv", early), probe.KindServerExpired, probe.SideLocal,
			"it is not valid before", probe.KindServerExpired},
		{"server of another name", good, ca.leaf("srv", func(c *x509.Certificate) { c.DNSNames = []string{"a.example", "b.example"} }),
			probe.KindServerName, probe.SideLocal, `not for "localhost" but for: dns:a.example, dns:b.example, ip:127.0.0.1`,
			probe.KindServerInvalid},
		{"client certificate as server", good, ca.leaf("srv", only(x509.ExtKeyUsageClientAuth)), probe.KindServerUsage,
			probe.SideLocal, "its extended key usage is clientAuth, not serverAuth", probe.KindServerUsage},
		{"CA not for servers", good, narrow.leaf("srv", nil, narrow), probe.KindServerUsage, probe.SideLocal,
			`a CA above certificate "CN=srv" does not allow serverAuth`, probe.KindServerInvalid},
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tt := range tests {
			t.Run(tls.VersionName(version)+"/"+tt.name, func(t *testing.T) {
				clientCfg := &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", MaxVersion: version}
				if tt.client.Certificate != nil {
					clientCfg.Certificates = []tls.Certificate{tt.client}
				}
				got := meet(t, clientCfg, &tls.Config{
					Certificates: []tls.Certificate{tt.server}, ClientCAs: ca.pool(), ClientAuth: tls.RequireAndVerifyClientCert,
				})
				if tt.clientKind == "" {
					if got.client != nil || got.server != nil {
						t.Errorf("got %v and %v, want success", got.client, got.server)
					}
					return
				}
				check(t, "client", got.client, tt.clientKind, tt.detail)
				check(t, "server", got.server, tt.serverKind, "")
				if got.client != nil && got.client.Side != tt.side {
					t.Errorf("got side %q, want %q", got.client.Side, tt.side)
				}
			})
		}
	}
}

func check(t *testing.T, who string, got *probe.Error, kind probe.Kind, detail string) {
	t.Helper()
	if got == nil {
		t.Errorf("%s: no error, want %q", who, kind)
		return
	}
	if got.Kind != kind || !strings.Contains(got.Detail, detail) {
		t.Errorf("%s: got %q, %q (%v), want %q, %q", who, got.Kind, got.Detail, got.Err, kind, detail)
	}
}

func TestClassifyNoCommonGround(t *testing.T) {
	ca := newAuthority(t, "lab ca")
	cert := ca.leaf("good", nil)
	base := func() *tls.Config {
		return &tls.Config{RootCAs: ca.pool(), ServerName: "localhost", Certificates: []tls.Certificate{cert}}
	}
	edit := func(f func(*tls.Config)) *tls.Config { c := base(); f(c); return c }
	max12 := func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
	tests := []struct {
		name           string
		client, server *tls.Config
		want           probe.Kind
	}{
		{"client too old", edit(max12), edit(func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }), probe.KindProtocolVersion},
		{"server too old", edit(func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }), edit(max12), probe.KindProtocolVersion},
		{"no suite", edit(func(c *tls.Config) {
			max12(c)
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		}), edit(func(c *tls.Config) {
			max12(c)
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
		}), probe.KindCipher},
		{"no group", edit(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }),
			edit(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }), probe.KindCipher},
		{"no application protocol", edit(func(c *tls.Config) { c.NextProtos = []string{"a"} }),
			edit(func(c *tls.Config) { c.NextProtos = []string{"b"} }), probe.KindAlert},
		{"old versions only", edit(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }),
			base(), probe.KindProtocolVersion},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := meet(t, tt.client, tt.server)
			check(t, "client", got.client, tt.want, "")
			if tt.name == "old versions only" {
				check(t, "server", got.server, tt.want, "the client offers nothing newer than TLS 1.1")
			}
		})
	}
}
