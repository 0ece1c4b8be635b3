package server

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// refusal tries to use a connection and returns the error by which it found out that it may not.
func refusal(addr string, cfg *tls.Config, payload []byte) error {
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return err
	}
	defer closeAll(c)
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, errWrite := c.Write(payload)
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return err
	}
	return errWrite
}

func isAlert(err error, want tls.AlertError) bool {
	return err != nil && strings.HasSuffix(err.Error(), "remote error: "+want.Error())
}

// refusals are the ways in which a client certificate can be wrong, the alert that says so, and the word for it.
func refusals(t testing.TB, ca *authority) []refusalCase {
	t.Helper()
	other := newAuthority(t, "foreign CA")
	impostor := newAuthority(t, "test CA")
	late := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	early := func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }
	usage := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	broken := ca.client(t, "broken")
	broken.Certificate = [][]byte{[]byte(strings.Repeat("not a certificate", 20))}
	wrongKey := ca.client(t, "wrong key")
	wrongKey.PrivateKey = newKey(t)
	return []refusalCase{
		{"none", tls.Certificate{}, probe.KindClientMissing, 116, 40},
		{"foreign CA", other.client(t, "stranger"), probe.KindClientUnknownCA, 48, 48},
		{"CA of the same name", impostor.client(t, "impostor"), probe.KindClientUnknownCA, 48, 48},
		{"expired", ca.issue(t, "late", late), probe.KindClientExpired, 45, 45},
		{"not yet valid", ca.issue(t, "early", early), probe.KindClientExpired, 45, 45},
		{"for servers", ca.issue(t, "usage", usage), probe.KindClientUsage, 42, 42},
		{"not a certificate", broken, probe.KindClientInvalid, 50, 50},
		{"of another key", wrongKey, probe.KindClientInvalid, 51, 51},
	}
}

type refusalCase struct {
	name           string
	cert           tls.Certificate
	kind           probe.Kind
	alert, alert12 tls.AlertError
}

func TestRefusedClientLearnsWhy(t *testing.T) {
	r := newRig(t, nil)
	for _, tc := range refusals(t, r.ca) {
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(tc.name+" "+tls.VersionName(v), func(t *testing.T) {
				cfg := r.clientConfig(tc.cert)
				cfg.MinVersion, cfg.MaxVersion = v, v
				want := tc.alert
				if v == tls.VersionTLS12 {
					want = tc.alert12
				}
				if err := refusal(r.addr, cfg, []byte("{}\n")); !isAlert(err, want) {
					t.Errorf("the client sees %v, want alert %v", err, want)
				}
				rep := r.next()
				if rep.End != EndRefused || rep.Error == nil || rep.Error.Kind != tc.kind {
					t.Fatalf("report = %q %+v, want refused, %s", rep.End, rep.Error, tc.kind)
				}
				if rep.Error.Side != probe.SideLocal || rep.Error.Phase != probe.PhaseHandshake {
					t.Errorf("side, phase = %s, %s, want local, handshake", rep.Error.Side, rep.Error.Phase)
				}
			})
		}
	}
}

func TestLogNamesTheRefusedCertificate(t *testing.T) {
	r := newRig(t, nil)
	cert := newAuthority(t, "foreign CA").client(t, "stranger")
	if err := refusal(r.addr, r.clientConfig(cert), nil); err == nil {
		t.Fatal("a stranger was let in")
	}
	rep := r.next()
	log := r.log.String()
	for _, want := range []string{
		"msg=refused", "cause=client_unknown_ca", `subject="CN=stranger"`, `issuer="CN=foreign CA"`,
		"serial=" + rep.Chain[0].Serial, "sha256=" + rep.Chain[0].SHA256,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

// A client that has written a lot before it reads must still read the alert: bare crypto/tls closes at once, and the
// unread bytes turn that into a reset.
func TestRefusalSurvivesLargeWrites(t *testing.T) {
	r := newRig(t, nil)
	const tries, atOnce = 300, 8
	stranger := newAuthority(t, "foreign CA").client(t, "stranger")
	payload := make([]byte, 1<<20)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		wrong = map[string]int{}
	)
	slots := make(chan struct{}, atOnce)
	for i := range tries {
		cert, want := tls.Certificate{}, tls.AlertError(116)
		if i%2 == 0 {
			cert, want = stranger, 48
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := refusal(r.addr, r.clientConfig(cert), payload); !isAlert(err, want) {
				mu.Lock()
				wrong[fmt.Sprint(err)]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(wrong) > 0 {
		t.Errorf("of %d refused clients some did not see the alert: %v", tries, wrong)
	}
}

func TestClientRefusesTheServer(t *testing.T) {
	r := newRig(t, nil)
	cfg := r.clientConfig(r.ca.client(t, "client"))
	cfg.RootCAs = newAuthority(t, "foreign CA").pool()
	if err := refusal(r.addr, cfg, nil); err == nil {
		t.Fatal("the client trusts a foreign CA")
	}
	rep := r.next()
	if rep.End != EndBroken || rep.Error == nil || rep.Error.Kind != probe.KindServerInvalid {
		t.Fatalf("report = %q %+v, want broken, server_invalid", rep.End, rep.Error)
	}
	if rep.Error.Side != probe.SidePeer {
		t.Errorf("side = %s, want peer", rep.Error.Side)
	}
}

func TestVersionAndCipherRefusals(t *testing.T) {
	r := newRig(t, nil)
	cert := r.ca.client(t, "client")
	t.Run("TLS 1.1", func(t *testing.T) {
		cfg := r.clientConfig(cert)
		cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		if err := refusal(r.addr, cfg, nil); !isAlert(err, 70) {
			t.Errorf("the client sees %v, want a protocol_version alert", err)
		}
		if rep := r.next(); rep.Error == nil || rep.Error.Kind != probe.KindProtocolVersion {
			t.Errorf("report = %+v, want protocol_version", rep.Error)
		}
	})
	t.Run("CBC only", func(t *testing.T) {
		cfg := r.clientConfig(cert)
		cfg.MaxVersion = tls.VersionTLS12
		cfg.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
		}
		if err := refusal(r.addr, cfg, nil); !isAlert(err, 40) {
			t.Errorf("the client sees %v, want a handshake_failure alert", err)
		}
		if rep := r.next(); rep.Error == nil || rep.Error.Kind != probe.KindCipher {
			t.Errorf("report = %+v, want cipher", rep.Error)
		}
	})
	t.Run("SSL 2.0", func(t *testing.T) {
		talk(t, r.addr, "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"+strings.Repeat("\x00", 40))
		if rep := r.next(); rep.Error == nil || rep.Error.Kind != probe.KindProtocolVersion {
			t.Errorf("report = %+v, want protocol_version", rep.Error)
		}
	})
}

// talk sends text in the clear and returns the whole answer.
func talk(t *testing.T, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(c)
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("after %q the connection ended with %v", text, err)
	}
	return string(answer)
}

func TestPlainTextIsAnswered(t *testing.T) {
	r := newRig(t, nil)
	for _, tc := range []struct {
		name, text, want string
	}{
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
		{"HTTP with a body", "POST / HTTP/1.1\r\n\r\n" + strings.Repeat("x", 1<<20), "HTTP/1.1 400 Bad Request\r\n"},
		{"HEAD", "HEAD / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
		{"OPTIONS", "OPTIONS * HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
		{"text", "hello\n", "this port speaks TLS"},
		{"two bytes of text", "x\n", "this port speaks TLS"},
		{"binary", "\x00\x01\x02\x03", "\x15\x03\x03\x00\x02\x02\x0a"},
		{"a record with no ClientHello", "\x16\x03\x01\x00\x04\xff\x00\x00\x00", "\x15\x03\x01\x00\x02\x02\x0a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := talk(t, r.addr, tc.text); !strings.HasPrefix(got, tc.want) {
				t.Errorf("answer = %q, want %q", got, tc.want)
			}
			if rep := r.next(); rep.End != EndRefused || rep.Error == nil || rep.Error.Kind == "" {
				t.Errorf("report = %q %+v, want refused and a cause", rep.End, rep.Error)
			}
		})
	}
}

func TestPlainHTTPAnswerIsHTTP(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		req, err := http.NewRequest(method, "http://x/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(plainHTTP([]byte(method+" ")))), req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		explained := string(body) == speaksTLS
		if err != nil || resp.StatusCode != http.StatusBadRequest || explained != (method == http.MethodGet) {
			t.Errorf("%s: status %d, body %q, %v", method, resp.StatusCode, body, err)
		}
	}
}

func TestClosedBeforeHello(t *testing.T) {
	r := newRig(t, nil)
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	closeAll(c)
	rep := r.next()
	if rep.End != EndBroken || rep.Error == nil || rep.Error.Kind != probe.KindEarlyClose {
		t.Errorf("report = %+v, want early_close", rep.Error)
	}
}
