package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server on a loopback port, its CA, and what it reported.
type rig struct {
	t       testing.TB
	ca      *authority
	opts    Options
	srv     *Server
	addr    string
	cancel  context.CancelFunc
	done    chan error
	log     syncBuffer
	mu      sync.Mutex
	reports []Report
	news    chan Report
	stopped bool
}

// newRig starts a server that demands a client certificate; edit may change its options.
func newRig(t testing.TB, edit func(*Options)) *rig {
	t.Helper()
	r := prepare(t, edit)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.serve(ln)
	return r
}

func prepare(t testing.TB, edit func(*Options)) *rig {
	t.Helper()
	ca := newAuthority(t, "test CA")
	r := &rig{t: t, ca: ca, done: make(chan error, 1), news: make(chan Report, 10000)}
	r.opts = Options{
		TLS: &tls.Config{
			Certificates: []tls.Certificate{ca.server(t)},
			ClientCAs:    ca.pool(),
			ClientAuth:   tls.RequireAndVerifyClientCert,
		},
		Log:    slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnConn: r.add,
	}
	if edit != nil {
		edit(&r.opts)
	}
	srv, err := New(r.opts)
	if err != nil {
		t.Fatal(err)
	}
	r.srv = srv
	return r
}

func (r *rig) serve(ln net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	r.addr, r.cancel = ln.Addr().String(), cancel
	go func() { r.done <- r.srv.Serve(ctx, ln) }()
	r.t.Cleanup(func() { r.stop() })
}

func (r *rig) add(rep Report) {
	r.mu.Lock()
	r.reports = append(r.reports, rep)
	r.mu.Unlock()
	select {
	case r.news <- rep:
	default:
	}
}

// next is the next report.
func (r *rig) next() Report {
	r.t.Helper()
	select {
	case rep := <-r.news:
		return rep
	case <-time.After(20 * time.Second):
		r.t.Fatalf("no report; log:\n%s", r.log.String())
		return Report{}
	}
}

// stop drains the server and returns what Serve returned; later calls return nil.
func (r *rig) stop() error {
	r.t.Helper()
	if r.stopped {
		return nil
	}
	r.stopped = true
	r.cancel()
	select {
	case err := <-r.done:
		return err
	case <-time.After(30 * time.Second):
		r.t.Fatal("Serve did not return")
		return nil
	}
}

// clientConfig trusts the rig's CA and presents cert; the zero certificate presents none.
func (r *rig) clientConfig(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		RootCAs: r.ca.pool(), ServerName: "localhost",
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
	}
}

func (r *rig) dial(cfg *tls.Config) *tls.Conn {
	r.t.Helper()
	c, err := tls.Dial("tcp", r.addr, cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// good dials with a client certificate that is in order.
func (r *rig) good() *tls.Conn {
	r.t.Helper()
	return r.dial(r.clientConfig(r.ca.client(r.t, "client")))
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// closeAll closes and reports nothing: the test has seen what it wanted.
func closeAll[C interface{ Close() error }](cs ...C) {
	for _, c := range cs {
		_ = c.Close()
	}
}

func asDrainError(err error) *DrainError {
	var d *DrainError
	errors.As(err, &d)
	return d
}
