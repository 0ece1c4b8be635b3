package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

func TestDialReport(t *testing.T) {
	l := newLab(t)
	addr := listenTLS(t, l.serverConfig(), echo)
	_, port, _ := net.SplitHostPort(addr)
	o := l.options("localhost:" + port)
	o.TLS.ServerName = ""
	_, r, err := talk(t.Context(), o, Message{Payload: []byte("{}\n")})
	if err != nil {
		t.Fatal(err)
	}
	if r.Peer.Version != "TLS 1.3" || r.Peer.Addr != addr || r.Peer.Chain[0].Subject != "CN=server" {
		t.Errorf("got peer %+v", r.Peer)
	}
	if !r.ClientAuth.Requested || r.ClientAuth.Sent == nil || r.ClientAuth.Sent.Subject != "CN=client" {
		t.Errorf("got client auth %+v", r.ClientAuth)
	}
	if r.ClientAuth.Accepted == nil || !*r.ClientAuth.Accepted {
		t.Error("the acceptance of the client certificate is not reported")
	}
	if got := strings.Join(r.ClientAuth.AcceptableCAs, ";"); got != "CN=lab ca" {
		t.Errorf("got acceptable CAs %q", got)
	}
	for name, us := range map[string]*int64{
		"resolve": r.Timing.ResolveUS, "connect": r.Timing.ConnectUS, "handshake": r.Timing.HandshakeUS,
		"write": r.Timing.WriteUS, "first byte": r.Timing.FirstByteUS, "read": r.Timing.ReadUS,
	} {
		if us == nil {
			t.Errorf("no time for %s", name)
		} else if *us > r.Timing.TotalUS {
			t.Errorf("%s took %d of %d", name, *us, r.Timing.TotalUS)
		}
	}
	if len(r.Warnings) != 0 {
		t.Errorf("got warnings %q", r.Warnings)
	}
}

func TestDialFailures(t *testing.T) {
	l := newLab(t)
	closed := listen(t, func(net.Conn) {})
	unused, _ := net.Listen("tcp", "127.0.0.1:0")
	free := unused.Addr().String()
	_ = unused.Close()
	says := func(b string) string {
		return listen(t, func(c net.Conn) { _, _ = c.Write([]byte(b)); _, _ = io.Copy(io.Discard, c) })
	}
	tests := []struct {
		name, addr string
		op         probe.Phase
		kind       probe.Kind
		words      string
	}{
		{"no such name", "no-such-name.invalid:1", probe.PhaseResolve, probe.KindDNS, ""},
		{"no port", "localhost", probe.PhaseResolve, probe.KindDNS, ""},
		{"refused", free, probe.PhaseConnect, probe.KindRefused, ""},
		{"closed at once", closed, probe.PhaseHandshake, "", ""},
		{"http", says("HTTP/1.1 400 Bad Request\r\n\r\n"), probe.PhaseHandshake, probe.KindNotTLS, `HTTP, not TLS: "HTTP/1.1 400`},
		{"smtp", says("220 mail.example ESMTP\r\n"), probe.PhaseHandshake, probe.KindNotTLS, "SMTP or FTP greeting"},
		{"ssh", says("SSH-2.0-OpenSSH_9.2\r\n"), probe.PhaseHandshake, probe.KindNotTLS, "SSH"},
		{"tls 1.0 answer", says(string(serverHello10())), probe.PhaseHandshake, probe.KindProtocolVersion, "TLS 1.0"},
		{"plain alert", says("\x15\x03\x03\x00\x02\x02\x46"), probe.PhaseHandshake, probe.KindProtocolVersion, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Dial(t.Context(), l.options(tt.addr))
			kind := tt.kind
			if tt.name == "closed at once" { // with the hello unread the kernel sends a reset, and else an end
				kind = probe.KindReset
				if e, _ := errors.AsType[*probe.Error](err); e != nil && e.Kind == probe.KindEarlyClose {
					kind = probe.KindEarlyClose
				}
			}
			wantError(t, err, tt.op, kind, tt.words)
		})
	}
}

func serverHello10() []byte {
	body := append([]byte{3, 1}, make([]byte, 32)...)
	body = append(body, 0, 0, 0x2f, 0)
	msg := append([]byte{2, 0, 0, byte(len(body))}, body...)
	return append([]byte{22, 3, 1, 0, byte(len(msg))}, msg...)
}

// pipeDialer hands out one end of pipes; the other goes to serve.
type pipeDialer func(net.Conn)

func (d pipeDialer) DialContext(context.Context, string, string) (net.Conn, error) {
	a, b := net.Pipe()
	go d(b)
	return a, nil
}

func TestDialTimeouts(t *testing.T) {
	l := newLab(t)
	mute := pipeDialer(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	word := pipeDialer(func(c net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, c) }()
		_, _ = c.Write([]byte("hi"))
	})
	hang := dialFunc(func(ctx context.Context) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
	})
	tests := []struct {
		name   string
		dialer Dialer
		op     probe.Phase
		kind   probe.Kind
		words  string
	}{
		{"silent peer", mute, probe.PhaseHandshake, probe.KindTimeout, "not a byte came"},
		{"a word and silence", word, probe.PhaseHandshake, probe.KindNotTLS, `"hi"`},
		{"no answer to SYN", hang, probe.PhaseConnect, probe.KindTimeout, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := l.options("192.0.2.1:1")
				o.Dialer, o.Timeout = tt.dialer, 3*time.Second
				start := time.Now()
				_, err := Dial(t.Context(), o)
				wantError(t, err, tt.op, tt.kind, tt.words)
				if took := time.Since(start); took != o.Timeout {
					t.Errorf("took %v, want %v", took, o.Timeout)
				}
			})
		})
	}
}

type dialFunc func(context.Context) (net.Conn, error)

func (f dialFunc) DialContext(ctx context.Context, _, _ string) (net.Conn, error) { return f(ctx) }

func TestDialInterrupted(t *testing.T) {
	l := newLab(t)
	synctest.Test(t, func(t *testing.T) {
		o := l.options("192.0.2.1:1")
		o.Dialer = pipeDialer(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := Dial(ctx, o)
		wantError(t, err, probe.PhaseHandshake, probe.KindInterrupted)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = Dial(ctx, o)
		wantError(t, err, probe.PhaseHandshake, probe.KindTimeout)
	})
}

// addrsOf resolves every name to the same addresses.
type addrsOf []netip.Addr

func (a addrsOf) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return a, nil }

// byAddr decides by address what becomes of a connect.
type byAddr map[string]func(context.Context) (net.Conn, error)

func (b byAddr) DialContext(ctx context.Context, _, addr string) (net.Conn, error) { return b[addr](ctx) }

func TestConnectTriesAllAddresses(t *testing.T) {
	fails := func(e syscall.Errno) func(context.Context) (net.Conn, error) {
		return func(context.Context) (net.Conn, error) { return nil, e }
	}
	hangs := func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	var closed int
	works := func(context.Context) (net.Conn, error) { a, _ := net.Pipe(); return &closeCounter{Conn: a, n: &closed}, nil }
	late := func(context.Context) (net.Conn, error) {
		<-time.After(time.Second)
		return works(nil)
	}
	resolver := addrsOf{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}
	tests := []struct {
		name          string
		first, second func(context.Context) (net.Conn, error)
		want          probe.Kind
		took          time.Duration
	}{
		{"first works", works, hangs, "", 0},
		{"second works", fails(syscall.ECONNREFUSED), works, "", 0},
		{"first hangs", hangs, works, "", stagger},
		{"first is late", late, works, "", stagger},
		{"unreachable and refused", fails(syscall.ENETUNREACH), fails(syscall.ECONNREFUSED), probe.KindRefused, 0},
		{"refused and unreachable", fails(syscall.ECONNREFUSED), fails(syscall.ENETUNREACH), probe.KindRefused, 0},
		{"no descriptor", fails(syscall.EMFILE), fails(syscall.ECONNREFUSED), probe.KindDescriptors, 0},
		{"both hang", hangs, hangs, probe.KindTimeout, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := Options{
					Addr: "localhost:1", Resolver: resolver,
					Dialer: byAddr{"[::1]:1": tt.first, "127.0.0.1:1": tt.second},
				}.withDefaults()
				addrs, _, err := o.resolve(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				closed = 0
				start := time.Now()
				won, err := o.connect(t.Context(), addrs)
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if tt.want == "" {
					if err != nil || won.conn == nil {
						t.Errorf("got %v, want a connection", err)
					}
					synctest.Wait()
					time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
					if tt.name == "first is late" && closed != 1 {
						t.Errorf("%d connections closed, want that of the loser", closed)
					}
					return
				}
				wantError(t, err, probe.PhaseConnect, tt.want, "tried [::1]:1 ", ", 127.0.0.1:1 ")
			})
		})
	}
}

type closeCounter struct {
	net.Conn
	n *int
}

func (c *closeCounter) Close() error { *c.n++; return c.Conn.Close() }

func TestWarnings(t *testing.T) {
	l := newLab(t)
	foreign := newAuthority(t, "foreign ca").leaf("me", nil)
	open := l.serverConfig()
	open.ClientAuth = tls.RequestClientCert
	off := l.serverConfig()
	off.ClientAuth = tls.NoClientCert
	tests := []struct {
		name   string
		server *tls.Config
		edit   func(*tls.Config)
		want   []string
	}{
		{"none", open, func(*tls.Config) {}, nil},
		{"issuer not in the list", open, func(c *tls.Config) { c.Certificates = []tls.Certificate{foreign} },
			[]string{`the client certificate was sent, but its issuer "CN=foreign ca" is not among the CAs that the server accepts (CN=lab ca)`}},
		{"expired", open, func(c *tls.Config) { c.Certificates = []tls.Certificate{l.ca.leaf("me", expired)} },
			[]string{"the client certificate was sent, but it expired at"}},
		{"not asked for", off, func(*tls.Config) {}, []string{"the server did not ask for a client certificate"}},
		{"insecure", off, func(c *tls.Config) {
			c.Certificates, c.InsecureSkipVerify, c.ServerName = nil, true, "other.example"
		}, []string{"not verified; it would have been refused (server_name): the certificate is not for \"other.example\""}},
		{"insecure without need", off, func(c *tls.Config) { c.Certificates, c.InsecureSkipVerify = nil, true }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := l.options(listenTLS(t, tt.server, echo))
			tt.edit(o.TLS)
			_, r, err := talk(t.Context(), o, Message{Payload: []byte("x\n")})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Warnings) != len(tt.want) {
				t.Fatalf("got warnings %q, want %q", r.Warnings, tt.want)
			}
			for i, w := range tt.want {
				if !strings.Contains(r.Warnings[i], w) {
					t.Errorf("got %q, want %q in it", r.Warnings[i], w)
				}
			}
		})
	}
}

// TestAlertBeforeBrokenWrite looks for the alert in what is left to read after a write of the handshake has failed.
func TestAlertBeforeBrokenWrite(t *testing.T) {
	if got, ok := plainAlert(bytes.Join([][]byte{serverHello10(), {21, 3, 3, 0, 2, 2, 48}}, nil)); !ok || got != 48 {
		t.Errorf("got %d, %v, want the alert behind another record", got, ok)
	}
	for _, b := range [][]byte{nil, {22, 3, 3, 0xff, 0xff, 1}, {21, 3, 3, 0, 2, 2}, serverHello10()} {
		if got, ok := plainAlert(b); ok {
			t.Errorf("got alert %d in %x", got, b)
		}
	}
}

// TestCloseIsGraceful checks that the peer sees an orderly end and that its own goodbye meets an open socket.
func TestCloseIsGraceful(t *testing.T) {
	l := newLab(t)
	ended := make(chan error, 1)
	addr := listenTLS(t, l.serverConfig(), func(c *tls.Conn) {
		_, _ = bufio.NewReader(c).ReadString('\n')
		_, _ = c.Write([]byte("x\n"))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			ended <- err
			return
		}
		_ = c.CloseWrite()
		_, err := c.NetConn().Read(make([]byte, 1)) // a reset would show here
		ended <- err
	})
	c := dial(t, l.options(addr))
	if _, err := c.Exchange(t.Context(), Message{Payload: []byte("x\n")}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the server saw %v, want an orderly end", err)
	}
}
