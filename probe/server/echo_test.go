package server

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// roundTrip sends p and returns as many bytes as came back for it.
func roundTrip(t testing.TB, c io.ReadWriter, p []byte) []byte {
	t.Helper()
	errs := make(chan error, 1)
	go func() {
		_, err := c.Write(p)
		errs <- err
	}()
	got := make([]byte, len(p))
	if n, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("read %d of %d bytes: %v", n, len(p), err)
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	return got
}

func randomBytes(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.Read(p)
	return p
}

func TestEchoIsByteForByte(t *testing.T) {
	r := newRig(t, nil)
	for _, tc := range []struct {
		name    string
		version uint16
		data    []byte
	}{
		{"one byte, TLS 1.3", tls.VersionTLS13, []byte("x")},
		{"one byte, TLS 1.2", tls.VersionTLS12, []byte("x")},
		{"a line", tls.VersionTLS13, []byte("{\"a\":1}\n")},
		{"beginning of a method", tls.VersionTLS13, []byte("GE")},
		{"a method and no more", tls.VersionTLS13, []byte("POST ")},
		{"a word in capitals", tls.VersionTLS13, []byte("HELLO WORLD\n")},
		{"almost a request", tls.VersionTLS13, []byte("GET / HTTP/2.0\r\n\r\n")},
		{"an HTTP/0.9 request", tls.VersionTLS13, []byte("GET /\r\n")},
		{"the small buffer exactly", tls.VersionTLS13, bytes.Repeat([]byte("s"), 512)},
		{"one more than the small buffer", tls.VersionTLS13, bytes.Repeat([]byte("s"), 513)},
		{"a whole record", tls.VersionTLS13, randomBytes(16 << 10)},
		{"many records, TLS 1.3", tls.VersionTLS13, randomBytes(3 << 20)},
		{"many records, TLS 1.2", tls.VersionTLS12, randomBytes(3 << 20)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := r.clientConfig(r.ca.client(t, "client"))
			cfg.MaxVersion = tc.version
			c := r.dial(cfg)
			defer closeAll(c)
			for range 2 {
				if got := roundTrip(t, c, tc.data); !bytes.Equal(got, tc.data) {
					t.Errorf("the echo of %d bytes differs", len(tc.data))
				}
			}
			closeAll(c)
			rep := r.next()
			if rep.End != EndPeer || rep.Error != nil || rep.Protocol != "echo" {
				t.Errorf("end, error, protocol = %q, %+v, %q, want peer_closed", rep.End, rep.Error, rep.Protocol)
			}
			want := uint64(2 * len(tc.data))
			if rep.BytesIn != want || rep.BytesOut != want {
				t.Errorf("bytes in, out = %d, %d, want %d", rep.BytesIn, rep.BytesOut, want)
			}
		})
	}
}

// A client that reads once expects a record to come back as one.
func TestEchoKeepsRecordsWhole(t *testing.T) {
	r := newRig(t, nil)
	c := r.good()
	defer closeAll(c)
	for _, size := range []int{1, 511, 512, 513, 1000, 1100} {
		if _, err := c.Write(bytes.Repeat([]byte("r"), size)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1<<14)
		n, err := c.Read(buf)
		if err != nil || n != size {
			t.Errorf("one read after a record of %d bytes = %d, %v", size, n, err)
		}
	}
}

func TestMaxFrameEndsTheConnection(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxFrame = 1000 })
	c := r.good()
	defer closeAll(c)
	short := []byte(strings.Repeat("x", 1000) + "\n")
	if got := roundTrip(t, c, short); !bytes.Equal(got, short) {
		t.Error("the longest permitted message was not echoed")
	}
	if _, err := c.Write(bytes.Repeat([]byte("y"), 1<<20)); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(c)
	if err != nil || len(rest) != 1000 {
		t.Errorf("after a message that is too long: %d bytes, %v, want 1000 and an orderly end", len(rest), err)
	}
	rep := r.next()
	if rep.End != EndTooLarge || rep.Error == nil || rep.Error.Kind != probe.KindTooLarge {
		t.Errorf("report = %q %+v, want too_large", rep.End, rep.Error)
	}
	if rep.Messages != 1 {
		t.Errorf("messages = %d, want 1", rep.Messages)
	}
}

func TestHalfClosedClientGetsItsEcho(t *testing.T) {
	r := newRig(t, nil)
	c := r.good()
	defer closeAll(c)
	data := randomBytes(1 << 20)
	go func() {
		_, _ = c.Write(data)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("echo after half-close: %d of %d bytes, %v", len(got), len(data), err)
	}
}

func TestIdleConnectionGivesItsBufferBack(t *testing.T) {
	r := newRig(t, func(o *Options) { o.IdleTimeout = hotFor + 400*time.Millisecond })
	c := r.good()
	defer closeAll(c)
	data := randomBytes(4000)
	start := time.Now()
	if got := roundTrip(t, c, data); !bytes.Equal(got, data) {
		t.Fatal("echo differs")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read on an idle connection = %v, want EOF", err)
	}
	if took := time.Since(start); took < hotFor {
		t.Errorf("closed after %v, before the idle limit", took)
	}
	if rep := r.next(); rep.End != EndIdle {
		t.Errorf("end = %q, want idle_timeout", rep.End)
	}
}
