package probe

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
)

func TestAlert(t *testing.T) {
	remote := func(text string) error { return &net.OpError{Op: "remote error", Err: errors.New(text)} }
	tests := []struct {
		name string
		err  error
		want tls.AlertError
		ok   bool
	}{
		{"nil", nil, 0, false},
		{"named", remote("tls: bad certificate"), 42, true},
		{"certificate required", remote("tls: certificate required"), 116, true},
		{"number without a name", remote("tls: alert(200)"), 200, true},
		{"wrapped", fmt.Errorf("read: %w", remote("tls: unknown certificate authority")), 48, true},
		{"wrapped in another operation", &net.OpError{Op: "read", Err: remote("tls: handshake failure")}, 40, true},
		{"quic", fmt.Errorf("x: %w", tls.AlertError(70)), 70, true},
		{"local error of the same words", errors.New("tls: bad certificate"), 0, false},
		{"other operation of the same words", &net.OpError{Op: "read", Err: errors.New("tls: bad certificate")}, 0, false},
		{"remote error of other words", remote("something"), 0, false},
		{"empty", &net.OpError{Op: "remote error"}, 0, false},
		{"eof", io.EOF, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Alert(tt.err)
			if got != tt.want || ok != tt.ok {
				t.Errorf("got %d, %v, want %d, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

// TestAlertOverTCP holds the text comparison against the toolchain: every alert that a peer sends in plain text
// before the handshake must come back as its own number.
func TestAlertOverTCP(t *testing.T) {
	for n := 1; n < 256; n++ {
		client, server := net.Pipe()
		go func() {
			buf := make([]byte, 4096)
			_, _ = server.Read(buf)
			_, _ = server.Write([]byte{21, 3, 3, 0, 2, 2, byte(n)})
			_ = server.Close()
		}()
		err := tls.Client(client, &tls.Config{InsecureSkipVerify: true}).Handshake()
		got, ok := Alert(err)
		if !ok || int(got) != n {
			t.Errorf("alert %d: got %d, %v from %v", n, got, ok, err)
		}
		_ = client.Close()
	}
}

func TestPlainAlert(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		want tls.AlertError
		ok   bool
	}{
		{"fatal", []byte{21, 3, 3, 0, 2, 2, 48}, 48, true},
		{"more behind it", []byte{21, 3, 1, 0, 2, 2, 70, 1, 2}, 70, true},
		{"warning", []byte{21, 3, 3, 0, 2, 1, 0}, 0, false},
		{"cut off", []byte{21, 3, 3, 0, 2, 2}, 0, false},
		{"encrypted", []byte{21, 3, 3, 0, 26, 1, 2, 3}, 0, false},
		{"handshake", []byte{22, 3, 3, 0, 2, 2, 48}, 0, false},
		{"empty", nil, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := PlainAlert(tt.b)
			if got != tt.want || ok != tt.ok {
				t.Errorf("got %d, %v, want %d, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

// serverHello is a record with a ServerHello of the given legacy version and, when not 0, supported_versions.
func serverHello(legacy, supported uint16) []byte {
	body := []byte{byte(legacy >> 8), byte(legacy)}
	body = append(body, make([]byte, 32)...) // random
	body = append(body, 0, 0x13, 0x01, 0)    // no session, suite, compression
	ext := []byte{0, 23, 0, 0}               // an extension before it
	if supported != 0 {
		ext = append(ext, 0, 43, 0, 2, byte(supported>>8), byte(supported))
	}
	body = append(body, 0, byte(len(ext)))
	body = append(body, ext...)
	msg := append([]byte{2, 0, 0, byte(len(body))}, body...)
	return append([]byte{22, 3, 3, 0, byte(len(msg))}, msg...)
}

func TestHelloVersion(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		want uint16
	}{
		{"tls 1.3", serverHello(tls.VersionTLS12, tls.VersionTLS13), tls.VersionTLS13},
		{"tls 1.2", serverHello(tls.VersionTLS12, 0), tls.VersionTLS12},
		{"tls 1.0", serverHello(tls.VersionTLS10, 0), tls.VersionTLS10},
		{"cut before the extensions", serverHello(tls.VersionTLS11, 0)[:46], tls.VersionTLS11},
		{"cut before the session", serverHello(tls.VersionTLS11, 0)[:43], 0},
		{"alert", []byte{21, 3, 3, 0, 2, 2, 48}, 0},
		{"empty", nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := HelloVersion(tt.b); got != tt.want {
				t.Errorf("got %#x, want %#x", got, tt.want)
			}
		})
	}
}

func FuzzFirstBytes(f *testing.F) {
	f.Add(serverHello(tls.VersionTLS12, tls.VersionTLS13))
	f.Add([]byte{21, 3, 3, 0, 2, 2, 48})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"))
	f.Add([]byte("\x1b[2J\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = HelloVersion(b)
		if _, ok := PlainAlert(b); ok && !looksLikeTLS(b) {
			t.Errorf("an alert that does not look like TLS: %x", b)
		}
		if s := (Facts{}).foreignProtocol(b); len(s) > 400 {
			t.Errorf("%d bytes of description", len(s))
		}
	})
}
