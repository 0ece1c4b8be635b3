package server

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"sync/atomic"
	"unicode/utf8"
)

// bodyBudget bounds the memory that the request bodies of all connections take together.
type bodyBudget struct {
	limit int64
	used  atomic.Int64
}

func (b *bodyBudget) take(n int) bool {
	if b.used.Add(int64(n)) > b.limit {
		b.used.Add(-int64(n))
		return false
	}
	return true
}

func (b *bodyBudget) give(n int) { b.used.Add(-int64(n)) }

// echoWriter builds an answer: as a whole, with its length, when limit is negative, else piece by piece, so that a
// large body exists once and not again in its quoted form.
type echoWriter struct {
	w     http.ResponseWriter
	buf   []byte
	limit int
	err   error
}

func (e *echoWriter) add(s string) {
	e.buf = append(e.buf, s...)
	e.flushFull()
}

// addQuoted adds p as the inside of a JSON string.
func (e *echoWriter) addQuoted(p []byte) {
	for len(p) > 0 {
		n := min(len(p), bodySmall)
		for n < len(p) && !utf8.RuneStart(p[n]) {
			n--
		}
		e.buf = appendQuoted(e.buf, p[:n])
		e.flushFull()
		p = p[n:]
	}
}

func (e *echoWriter) addBase64(p []byte) {
	const whole = bodySmall / 3 * 3 // no padding within
	for len(p) > 0 {
		n := min(len(p), whole)
		e.buf = base64.StdEncoding.AppendEncode(e.buf, p[:n])
		e.flushFull()
		p = p[n:]
	}
}

func (e *echoWriter) flushFull() {
	if e.limit < 0 || len(e.buf) < e.limit {
		return
	}
	if e.err == nil {
		_, e.err = e.w.Write(e.buf)
	}
	e.buf = e.buf[:0]
}

func (e *echoWriter) finish() {
	if e.limit < 0 {
		e.w.Header().Set("Content-Length", strconv.Itoa(len(e.buf)))
	}
	if e.err == nil {
		_, _ = e.w.Write(e.buf)
	}
}

// appendQuoted appends valid UTF-8 as the inside of a JSON string. Beyond what RFC 8259 asks, it escapes what would act
// on a terminal: DEL, the C1 controls and the controls of text direction.
func appendQuoted(dst, p []byte) []byte {
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r < ' ' || actsOnTerminal(r):
			dst = appendEscape(dst, r)
		default:
			dst = append(dst, p[:size]...)
		}
		p = p[size:]
	}
	return dst
}

// escapeRunes does to JSON that is complete what appendQuoted does to a string: such runes are only in strings.
func escapeRunes(b []byte) []byte {
	out := make([]byte, 0, len(b)+64)
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if actsOnTerminal(r) {
			out = appendEscape(out, r)
		} else {
			out = append(out, b[:size]...)
		}
		b = b[size:]
	}
	return out
}

// actsOnTerminal says whether r is DEL, a C1 control, or a control of text direction (Unicode Standard Annex #9).
func actsOnTerminal(r rune) bool {
	switch {
	case r >= 0x7f && r <= 0x9f, r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e,
		r >= 0x2066 && r <= 0x2069, r == 0x2028, r == 0x2029:
		return true
	}
	return false
}

// appendEscape appends a rune of the basic plane as \uXXXX.
func appendEscape(dst []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}
