package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// lab is a CA, a server certificate for localhost and a client certificate, made once per test.
type lab struct {
	ca             *authority
	server, client tls.Certificate
}

func newLab(t *testing.T) *lab {
	t.Helper()
	ca := newAuthority(t, "lab ca")
	return &lab{
		ca:     ca,
		server: ca.leaf("server", only(x509.ExtKeyUsageServerAuth)),
		client: ca.leaf("client", only(x509.ExtKeyUsageClientAuth)),
	}
}

func (l *lab) serverConfig() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{l.server}, ClientCAs: l.ca.pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

// options are those of a client that the server accepts.
func (l *lab) options(addr string) Options {
	return Options{
		Addr: addr, Timeout: 10 * time.Second,
		TLS: &tls.Config{RootCAs: l.ca.pool(), ServerName: "localhost", Certificates: []tls.Certificate{l.client}},
	}
}

// listen starts a plain TCP server for the length of a test and returns its address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// listenTLS starts a TLS server. A client that it refuses is left time to read why.
func listenTLS(t *testing.T, cfg *tls.Config, serve func(*tls.Conn)) string {
	t.Helper()
	return listen(t, func(raw net.Conn) {
		c := tls.Server(raw, cfg)
		if err := c.Handshake(); err != nil {
			_ = raw.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, raw)
			return
		}
		serve(c)
		_ = c.Close()
	})
}

func echo(c *tls.Conn) { _, _ = io.Copy(c, c) }

// dial opens a connection that must come about.
func dial(t *testing.T, o Options) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// talk dials and sends one message.
func talk(ctx context.Context, o Options, m Message) (Reply, Report, error) {
	c, err := Dial(ctx, o)
	if err != nil {
		return Reply{}, Report{}, err
	}
	defer c.Close()
	r, err := c.Exchange(ctx, m)
	return r, c.Report(), err
}

// wantError checks the cause of a failure and that its explanation holds some words.
func wantError(t *testing.T, err error, op probe.Phase, kind probe.Kind, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*probe.Error](err)
	if !ok {
		t.Fatalf("got %v (%T), want %q", err, err, kind)
	}
	if e.Kind != kind || op != "" && e.Op != op {
		t.Errorf("got %q in %q (%v), want %q in %q", e.Kind, e.Op, err, kind, op)
	}
	for _, w := range words {
		if !strings.Contains(e.Detail, w) {
			t.Errorf("got detail %q, want %q in it", e.Detail, w)
		}
	}
}
