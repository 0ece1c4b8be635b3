package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// refuse ends a connection whose handshake failed, in a way that lets the client know why.
func (c *conn) refuse(err error) {
	cause := c.s.know.handshakeFailure(c.addr(), err, c.w.shake, c.tls.ConnectionState().PeerCertificates)
	end := EndRefused
	switch {
	case c.w.closed.Load() != 0:
		end = EndCut
	case cause.Side != probe.SideLocal:
		end = EndBroken
	}
	c.sayWhy(cause)
	c.over(end, cause)
}

// sayWhy half-closes the connection behind the alert and reads what the client is still sending. With TLS 1.3 that is
// a lot: it may send as soon as its own Finished is out, and a close with unread bytes turns the alert into a reset.
func (c *conn) sayWhy(cause *probe.Error) {
	defer c.w.Conn.Close() //nolint:errcheck // there is nobody left to tell
	switch cause.Kind {
	case probe.KindReset, probe.KindEarlyClose, probe.KindInterrupted, probe.KindTimeout:
		return // nobody listens
	}
	c.w.limitWrites(time.Now().Add(refusalLinger))
	if cause.Kind == probe.KindNotTLS {
		c.answerPlain()
	}
	_ = c.w.CloseWrite()
	c.w.discard(discardLimits{until: time.Now().Add(refusalLinger), quiet: refusalLinger, bytes: refusalBytes})
}

// speaksTLS is what a client is told that came in the clear.
const speaksTLS = "this port speaks TLS; connect with TLS and a client certificate (for HTTP: https://)\n"

// answerPlain tells a client that did not speak TLS what it is talking to: in HTTP if that is what it spoke, in a
// line of text if it sent text, otherwise by an alert.
func (c *conn) answerPlain() {
	first := c.w.shake.prefix[:c.w.shake.nprefix]
	method := first[:min(len(first), maxMethod)]
	switch {
	case len(first) == 0 || first[0] == recordHandshake || first[0] == recordAlert:
		return // crypto/tls has answered
	case sniffMethod(method) == undecided || looksLikeMethod(method):
		_, _ = io.WriteString(c.w, plainHTTP(first))
	case isText(first):
		_, _ = io.WriteString(c.w, speaksTLS)
	default:
		_, _ = c.w.Write([]byte{recordAlert, 3, 3, 0, 2, 2, alertUnexpectedMessage})
	}
}

// alertUnexpectedMessage is from RFC 8446 section 6.
const alertUnexpectedMessage = 10

// plainHTTP is the answer to a request that began with first. The answer to HEAD has no body.
func plainHTTP(first []byte) string {
	body := speaksTLS
	if strings.HasPrefix(string(first), http.MethodHead+" ") {
		body = ""
	}
	return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"+
		"Content-Length: %d\r\n\r\n%s", len(speaksTLS), body)
}

func isText(p []byte) bool {
	for _, b := range p {
		if b != '\t' && b != '\r' && b != '\n' && (b < ' ' || b > '~') {
			return false
		}
	}
	return true
}

const (
	busySniff = 500 * time.Millisecond // for a client that may be about to send an HTTP request
	busyTime  = 2 * time.Second        // for telling one client that there is no room
)

// refuseBusy tells a client beyond MaxConns that there is no room: by status 503 if it speaks HTTP, otherwise by a line
// of JSON. It has been authenticated, so that nobody else learns how busy the server is.
func (c *conn) refuseBusy() (End, *probe.Error) {
	select {
	case c.s.busy <- struct{}{}:
		defer func() { <-c.s.busy }()
	default:
		return EndBusy, nil
	}
	by := time.Now().Add(busyTime)
	c.w.limitRead(by)
	c.w.limitWrites(by)
	alpn := c.tls.ConnectionState().NegotiatedProtocol
	var first []byte
	if alpn == "" && c.s.o.Mode != ModeEcho {
		c.w.limitRead(time.Now().Add(busySniff))
		first = c.sniffBusy()
		c.w.limitRead(by)
		if c.s.o.Mode == ModeHTTP || sniff(first) == isHTTP {
			alpn = protoHTTP1
		}
	}
	if alpn != "" {
		_, _ = c.serveHTTP(alpn, first)
		return EndBusy, nil
	}
	n, _ := c.tls.Write(busyLine(c.s.o.MaxConns))
	c.out += uint64(n)
	return EndBusy, nil
}

// sniffBusy returns what the client sends until it is known whether that is HTTP.
func (c *conn) sniffBusy() []byte {
	var held []byte
	buf := make([]byte, len(c.small))
	for {
		n, err := c.tls.Read(buf)
		held = append(held, buf[:n]...)
		if err != nil || sniff(held) != undecided {
			return held
		}
	}
}

// busyMessage is what a client beyond the limit is told.
func busyMessage(limit int) string {
	return fmt.Sprintf("the server has all of its %d connections", limit)
}

// busyLine is that message as an echo client gets it.
func busyLine(limit int) []byte {
	text := map[string]string{"kind": string(EndBusy), "message": busyMessage(limit)}
	line, err := json.Marshal(map[string]any{"error": text})
	if err != nil {
		return nil
	}
	return append(line, '\n')
}
