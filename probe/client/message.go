package client

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// Expect says which answer to a message is the right one.
type Expect string

// The answers that can be expected.
const (
	// ExpectEcho wants the bytes that were sent, and no other.
	ExpectEcho Expect = "echo"
	// ExpectAny takes what comes: up to the end of the line for a message of one line, else as many bytes as were
	// sent; or less, when the peer ends the stream or falls silent.
	ExpectAny Expect = "any"
	// ExpectNone wants silence: the sending side is closed, and nothing may come until the peer closes the other or
	// the time is up.
	ExpectNone Expect = "none"
)

// Message is a payload and what is to come back for it.
type Message struct {
	Payload []byte
	Expect  Expect // "": [ExpectEcho]
	Last    bool   // nothing will be sent after it on this connection; only [ExpectNone] minds
}

// Reply is what came back.
type Reply struct {
	Data []byte        // valid until the next exchange of the same connection
	Echo bool          // Data is what was sent
	RTT  time.Duration // from the start of the write to the last byte
	HTTP *HTTPInfo     // nil over bare TLS
}

// HTTPInfo is the head of an HTTP response.
type HTTPInfo struct {
	Status      int    `json:"status"`
	Proto       string `json:"proto"`
	ContentType string `json:"content_type,omitempty"`
	Location    string `json:"location,omitempty"` // of a redirect, which is never followed
}

// quiet is how long the rest of an answer is waited for that is known to be wrong, or whose end nothing marks.
const quiet = 250 * time.Millisecond

// gauge watches an answer come in and knows when it is complete.
type gauge struct {
	payload  []byte
	expect   Expect
	line     bool // the payload is one line, so the answer ends with its line
	got      int
	mismatch bool
	newline  bool
}

func newGauge(m Message) gauge {
	end := bytes.IndexByte(m.Payload, '\n')
	g := gauge{payload: m.Payload, expect: m.Expect, line: end >= 0 && end == len(m.Payload)-1}
	if g.expect == "" {
		g.expect = ExpectEcho
	}
	return g
}

// add takes the next bytes of the answer.
func (g *gauge) add(b []byte) {
	start, end := g.got, g.got+len(b)
	g.got = end
	if end > len(g.payload) || !bytes.Equal(b, g.payload[start:end]) {
		g.mismatch = true
	}
	if !g.newline {
		g.newline = bytes.IndexByte(b, '\n') >= 0
	}
}

// same tells whether the answer is what was sent.
func (g *gauge) same() bool { return g.got > 0 && g.got == len(g.payload) && !g.mismatch }

// complete tells whether nothing more is to be waited for.
func (g *gauge) complete() bool {
	enough := g.got >= len(g.payload)
	if g.expect == ExpectEcho && !g.mismatch {
		return enough
	}
	return g.line && g.newline || !g.line && enough
}

// hasty tells whether silence may end the answer from here on.
func (g *gauge) hasty() bool {
	return g.expect == ExpectEcho && g.mismatch || g.expect == ExpectAny && !g.line && g.newline
}

// want is how many more bytes to make room for.
func (g *gauge) want() int {
	const least = 512
	return max(least, len(g.payload)-g.got+1) // one more shows an answer that is too long
}

// verdict is the error of a complete answer that is not the expected one.
func (g *gauge) verdict(addr string, data []byte) error {
	if g.expect != ExpectEcho || !g.mismatch {
		return nil
	}
	return mismatchError(addr, g.payload, data)
}

// mismatchError says where an answer parts from what was sent.
func mismatchError(addr string, sent, got []byte) error {
	at := 0
	for at < len(sent) && at < len(got) && sent[at] == got[at] {
		at++
	}
	e := &probe.Error{Op: probe.PhaseRead, Addr: addr, Kind: probe.KindEchoMismatch, Side: probe.SidePeer}
	switch {
	case bytes.HasPrefix(got, []byte("HTTP/")):
		e.Detail = fmt.Sprintf("the peer speaks HTTP: it answered %q", firstLine(got))
	case at == len(sent):
		e.Detail = fmt.Sprintf("the reply has %d bytes more than the %d that were sent", len(got)-at, len(sent))
	case at == len(got):
		e.Detail = fmt.Sprintf("the reply ends after %d of %d bytes", len(got), len(sent))
	default:
		e.Detail = fmt.Sprintf("the reply differs from what was sent at byte %d of %d", at+1, len(sent))
	}
	return e
}

func firstLine(b []byte) string {
	const most = 64
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return string(bytes.TrimRight(line[:min(len(line), most)], "\r"))
}

// room returns buf with at least n bytes of free capacity, within a length of limit+1.
func room(buf []byte, n int, limit int64) []byte {
	if free := cap(buf) - len(buf); free >= n {
		return buf
	}
	n = int(min(int64(n), limit+1-int64(len(buf))))
	return slices.Grow(buf, max(n, 1))
}
