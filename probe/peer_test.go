package probe_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tlsctl/tlsctl/probe"
)

func TestNewCert(t *testing.T) {
	ca := newAuthority(t, "lab ca")
	leaf := ca.leaf("me\x1b[2J", func(c *x509.Certificate) {
		c.SerialNumber = big.NewInt(0x0102ab)
		c.EmailAddresses = []string{"me@example.org"}
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "lab", Path: "/me"}}
		c.IPAddresses = []net.IP{net.IPv6loopback}
	})
	got := probe.NewCert(leaf.Leaf)
	if len(got.SHA256) != 64 || strings.ToLower(got.SHA256) != got.SHA256 {
		t.Errorf("got fingerprint %q", got.SHA256)
	}
	got.SHA256 = ""
	want := probe.Cert{
		Subject: "CN=me\x1b[2J", Issuer: "CN=lab ca", Serial: "0102AB",
		SANs:      []string{"dns:localhost", "ip:::1", "email:me@example.org", "uri:spiffe://lab/me"},
		NotBefore: leaf.Leaf.NotBefore, NotAfter: leaf.Leaf.NotAfter,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := probe.NewCert(nil); got.Subject != "" {
		t.Errorf("got %+v for no certificate", got)
	}
}

func TestSerialOfOddCertificates(t *testing.T) {
	for serial, want := range map[int64]string{0: "00", 1: "01", -255: "-FF", 4096: "1000"} {
		if got := probe.NewCert(&x509.Certificate{SerialNumber: big.NewInt(serial)}).Serial; got != want {
			t.Errorf("%d: got %q, want %q", serial, got, want)
		}
	}
}

func TestNameText(t *testing.T) {
	tests := []struct{ name, der, want string }{
		{"empty sequence", "\x30\x00", "(empty)"},
		{"no name", "\x01\x02", "0102"},
		{"trailing bytes", "\x30\x00\x00", "300000"},
		{"name", name(t, pkix.Name{CommonName: "a", Organization: []string{"b"}}), "CN=a,O=b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := probe.NameText([]byte(tt.der)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func name(t *testing.T, n pkix.Name) string {
	t.Helper()
	cert := newAuthority(t, "x").sub("y", func(c *x509.Certificate) { c.Subject = n })
	return string(cert.cert.RawSubject)
}

func TestNewPeer(t *testing.T) {
	ca := newAuthority(t, "lab ca")
	leaf := ca.leaf("srv", nil)
	got := probe.NewPeer(tls.ConnectionState{
		Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, CurveID: tls.X25519MLKEM768,
		NegotiatedProtocol: "h2", DidResume: true, PeerCertificates: []*x509.Certificate{leaf.Leaf, ca.cert},
	}, "h:1")
	want := probe.Peer{
		Addr: "h:1", Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Group: "X25519MLKEM768", ALPN: "h2", Resumed: true,
		Chain: []probe.Cert{probe.NewCert(leaf.Leaf), probe.NewCert(ca.cert)},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := probe.NewPeer(tls.ConnectionState{}, "h:1"); got.Version != "" || got.Cipher != "" || got.Group != "" {
		t.Errorf("got %+v for no handshake", got)
	}
}

func TestLongListsAreCutShort(t *testing.T) {
	var names [][]byte
	for i := range 9 {
		names = append(names, []byte(name(t, pkix.Name{CommonName: fmt.Sprint("ca", i)})))
	}
	f := probe.Facts{CertRequested: true, AcceptableCAs: names}
	err := &net.OpError{Op: "remote error", Err: tls.AlertError(116)}
	got := f.Classify(probe.PhaseRead, "h:1", err)
	if !strings.HasSuffix(got.Detail, "CN=ca0, CN=ca1, CN=ca2, CN=ca3, CN=ca4 and 4 more") {
		t.Errorf("got %q", got.Detail)
	}
}
