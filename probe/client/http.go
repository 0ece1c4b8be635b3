package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// Web sends messages as HTTP POST requests over one connection, HTTP/2 when the server speaks it, else HTTP/1.1. It
// asks no proxy, follows no redirect, and never opens a second connection behind the caller's back.
type Web struct {
	c     *Conn
	url   *url.URL
	rt    *http.Transport
	taken atomic.Bool // the transport has the connection
}

// DialHTTP opens a connection for an https URL, as [Dial] does. o.Addr is taken from the URL when it is empty, and a
// list of application protocols in o.TLS wins over h2 and http/1.1.
func DialHTTP(ctx context.Context, o Options, u *url.URL) (*Web, error) {
	o = o.withDefaults()
	if o.Addr == "" {
		o.Addr = HostPort(u)
	}
	if len(o.TLS.NextProtos) == 0 {
		o.TLS = o.TLS.Clone()
		o.TLS.NextProtos = []string{"h2", "http/1.1"}
	}
	c, err := Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	c.wire.hold.Store(true) // what the server said last can be read after the transport has closed its side
	w := &Web{c: c, url: u}
	w.rt = &http.Transport{
		DialTLSContext: w.hand, ForceAttemptHTTP2: true, DisableCompression: true,
		MaxConnsPerHost: 1, MaxResponseHeaderBytes: 256 << 10,
	}
	return w, nil
}

// HostPort is the address that an https URL points to.
func HostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// errTaken says that the transport wanted a second connection: the first has come to its end.
var errTaken = fmt.Errorf("the connection was closed after the last answer: %w", io.EOF) //nolint:gochecknoglobals // constant

func (w *Web) hand(context.Context, string, string) (net.Conn, error) {
	if w.taken.Swap(true) {
		return nil, errTaken
	}
	return w.c.tls, nil
}

// Report says what is known of the connection and of the last exchange.
func (w *Web) Report() Report { return w.c.Report() }

// Close closes the connection.
func (w *Web) Close() error {
	w.rt.CloseIdleConnections()
	w.c.wire.hold.Store(false)
	return w.c.wire.Conn.Close()
}

// stopwatch follows a request through its phases, gives each its time, and ends it when that is over.
type stopwatch struct {
	limit  time.Duration
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	span  span
	phase probe.Phase
	timer *time.Timer
}

func startStopwatch(limit time.Duration, cancel context.CancelCauseFunc) *stopwatch {
	s := &stopwatch{limit: limit, cancel: cancel, phase: probe.PhaseWrite, span: span{start: time.Now()}}
	s.timer = time.AfterFunc(limit, func() { cancel(os.ErrDeadlineExceeded) })
	return s
}

func (s *stopwatch) enter(p probe.Phase, at *time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*at = time.Now()
	if s.phase != p {
		s.phase = p
		s.timer.Reset(s.limit)
	}
}

func (s *stopwatch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		WroteRequest: func(i httptrace.WroteRequestInfo) {
			if i.Err == nil {
				s.enter(probe.PhaseRead, &s.span.written)
			}
		},
		GotFirstResponseByte: func() { s.enter(probe.PhaseRead, &s.span.first) },
	}
}

func (s *stopwatch) stop() (span, probe.Phase) {
	s.timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.span.last = time.Now()
	return s.span, s.phase
}

// Exchange posts a message and reads the response. A status of 400 and above is an error, and so is an answer that is
// not the expected one; the reply holds what came nevertheless.
func (w *Web) Exchange(ctx context.Context, m Message) (Reply, error) {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := startStopwatch(w.c.o.Timeout, cancel)
	info, err := w.post(httptrace.WithClientTrace(inner, s.trace()), m.Payload)
	times, phase := s.stop()
	w.c.span = times
	if !times.first.IsZero() {
		w.c.received.Add(int64(len(w.c.buf)))
	}
	w.c.note()
	reply := Reply{
		Data: w.c.buf, HTTP: info, RTT: times.last.Sub(times.start),
		Echo: len(m.Payload) > 0 && bytes.Equal(w.c.buf, m.Payload),
	}
	switch {
	case err != nil && errors.Is(context.Cause(inner), os.ErrDeadlineExceeded) && ctx.Err() == nil:
		return reply, w.c.fail(ctx, phase, os.ErrDeadlineExceeded)
	case err != nil:
		return reply, w.failed(ctx, phase, err)
	}
	return reply, w.judge(m, reply)
}

// post makes one request and reads the body of its response into the connection's buffer.
func (w *Web) post(ctx context.Context, payload []byte) (*HTTPInfo, error) {
	w.c.buf = w.c.buf[:0]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "tlsctl")
	w.c.sent.Add(int64(len(payload)))
	resp, err := w.rt.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	info := &HTTPInfo{
		Status: resp.StatusCode, Proto: resp.Proto,
		ContentType: resp.Header.Get("Content-Type"), Location: resp.Header.Get("Location"),
	}
	limited := io.LimitReader(resp.Body, w.c.o.MaxReply+1)
	buf := bytes.NewBuffer(w.c.buf)
	_, err = buf.ReadFrom(limited)
	w.c.buf = buf.Bytes()
	if err == nil && int64(len(w.c.buf)) > w.c.o.MaxReply {
		return info, w.c.tooLong()
	}
	return info, err
}

// failed classifies the error of a request. The transport hides an alert behind whatever it was doing when it came, so
// the connection is asked for its own last word first.
func (w *Web) failed(ctx context.Context, phase probe.Phase, err error) error {
	if ctx.Err() == nil && !errors.Is(err, errTaken) {
		_ = w.c.wire.Conn.SetReadDeadline(time.Now().Add(grace))
		_, last := io.CopyN(io.Discard, w.c.tls, w.c.o.MaxReply)
		if isAlert(last) {
			err = last
		} else if k := probe.Classify(phase, "", err).Kind; k == probe.KindIO || k == probe.KindInterrupted {
			if last != nil && !errors.Is(last, os.ErrDeadlineExceeded) {
				err = fmt.Errorf("%w (%w)", err, last)
			}
		}
	}
	return w.c.fail(ctx, phase, err)
}

// judge decides whether a complete response is the expected one.
func (w *Web) judge(m Message, r Reply) error {
	e := &probe.Error{Op: probe.PhaseRead, Addr: w.c.o.Addr, Kind: probe.KindEchoMismatch, Side: probe.SidePeer}
	switch {
	case r.HTTP.Status >= http.StatusBadRequest:
		return w.statusError(r)
	case m.Expect == ExpectNone && len(r.Data) > 0:
		e.Detail = "a reply came where none was expected"
	case m.Expect == ExpectEcho && !r.Echo:
		return mismatchError(w.c.o.Addr, m.Payload, r.Data)
	default:
		if r.HTTP.Location != "" {
			w.c.warn(fmt.Sprintf("the server redirects to %s; redirects are not followed", r.HTTP.Location))
		}
		return nil
	}
	return e
}
