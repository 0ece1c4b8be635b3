package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tlsctl/tlsctl/probe"
)

// handler answers each request with what was understood of it.
type handler struct{ s *Server }

// requestEcho is that answer, without the body, which follows as "body" or, when it is not UTF-8, as "body_base64".
type requestEcho struct {
	Method     string              `json:"method"`
	Target     string              `json:"target"` // as in the request line
	Proto      string              `json:"proto"`
	Host       string              `json:"host"`
	Headers    map[string][]string `json:"headers"`
	TLS        tlsEcho             `json:"tls"`
	Client     *clientEcho         `json:"client"` // null without a certificate
	BodyBytes  int                 `json:"body_bytes"`
	BodySHA256 string              `json:"body_sha256"`
}

type tlsEcho struct {
	Version    string `json:"version"`
	Cipher     string `json:"cipher"`
	Group      string `json:"group,omitempty"`
	ALPN       string `json:"alpn,omitempty"`
	ServerName string `json:"server_name,omitempty"`
	Resumed    bool   `json:"resumed"`
}

type clientEcho struct {
	Identity string       `json:"identity"`
	Subject  string       `json:"subject"`
	SANs     []string     `json:"sans,omitempty"`
	SHA256   string       `json:"sha256"`
	Chain    []probe.Cert `json:"chain"`
}

// bodySmall is the size of a body up to which an answer is sent with its length.
const bodySmall = 32 << 10

// ServeHTTP answers one request.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(connKey{}).(*httpConn)
	if !ok {
		http.Error(w, "no connection", http.StatusInternalServerError)
		return
	}
	defer h.recovered(c)
	c.served.Add(1)
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if h.s.draining.Load() {
		header.Set("Connection", "close")
	}
	if !c.c.slot {
		header.Set("Connection", "close")
		header.Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, string(EndBusy), busyMessage(h.s.o.MaxConns))
		return
	}
	body, err := h.s.readBody(w, r)
	defer h.s.bodies.give(cap(body))
	if err != nil {
		h.failBody(w, c, err)
		return
	}
	h.s.answer(w, r, c, body)
}

// recovered contains a panic of one request to its connection.
func (h handler) recovered(c *httpConn) {
	if v := recover(); v != nil {
		h.s.o.Log.Error("panic in a request",
			"peer", c.c.addr(), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		panic(http.ErrAbortHandler) //nolint:forbidigo // what net/http takes as "close it, I have logged it"
	}
}

func (h handler) failBody(w http.ResponseWriter, c *httpConn, err error) {
	w.Header().Set("Connection", "close")
	switch {
	case errors.Is(err, errBodyTooLarge):
		c.tooLarge.Store(true)
		fail(w, http.StatusRequestEntityTooLarge, string(probe.KindTooLarge),
			fmt.Sprintf("the request body is longer than %d bytes", h.s.o.MaxFrame))
	case errors.Is(err, errNoMemory):
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, string(EndBusy), err.Error())
	default:
		fail(w, http.StatusBadRequest, string(probe.KindEarlyClose), "the request body could not be read")
	}
}

// fail answers with an error in the form that all of tlsctl uses.
func fail(w http.ResponseWriter, status int, kind, text string) {
	b, err := json.Marshal(map[string]any{"error": map[string]string{"kind": kind, "message": text}})
	if err != nil {
		b = []byte(`{"error":{}}`)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// readBody reads the body of a request, within the limits of one message and of all bodies together. The memory grows
// with what has come, not with what was announced.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > s.o.MaxFrame {
		return nil, errBodyTooLarge
	}
	control := http.NewResponseController(w)
	var body []byte
	for {
		if len(body) == cap(body) {
			var ok bool
			if body, ok = s.growBody(body); !ok {
				return body, errNoMemory
			}
		}
		_ = control.SetReadDeadline(time.Now().Add(s.o.IdleTimeout))
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > s.o.MaxFrame:
			return body, errBodyTooLarge
		case err == io.EOF:
			_ = control.SetReadDeadline(time.Time{})
			return body, nil
		case err != nil:
			return body, err
		}
	}
}

// growBody doubles the room of a body, if all bodies together still fit.
func (s *Server) growBody(body []byte) ([]byte, bool) {
	const first = 4 << 10
	size := int(min(int64(max(2*cap(body), first)), s.o.MaxFrame+1))
	if !s.bodies.take(size - cap(body)) {
		return body, false
	}
	grown := make([]byte, len(body), size)
	copy(grown, body)
	return grown, true
}

// answer describes the request, its connection and its client.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, c *httpConn, body []byte) {
	sum := sha256.Sum256(body)
	head, err := json.Marshal(requestEcho{
		Method: r.Method, Target: r.RequestURI, Proto: r.Proto, Host: r.Host, Headers: r.Header,
		TLS: c.tlsEcho(), Client: c.clientEcho(), BodyBytes: len(body), BodySHA256: hex.EncodeToString(sum[:]),
	})
	if err != nil {
		fail(w, http.StatusInternalServerError, string(probe.KindIO), err.Error())
		return
	}
	e := echoWriter{w: w, buf: escapeRunes(head[:len(head)-1])}
	e.limit = bodySmall
	if len(body) <= bodySmall {
		e.limit = -1
	}
	if utf8.Valid(body) {
		e.add(`,"body":"`)
		e.addQuoted(body)
	} else {
		e.add(`,"body_base64":"`)
		e.addBase64(body)
	}
	e.add("\"}\n")
	e.finish()
}

func (h *httpConn) tlsEcho() tlsEcho {
	cs := h.c.tls.ConnectionState()
	p := probe.NewPeer(cs, h.c.addr())
	return tlsEcho{
		Version: p.Version, Cipher: p.Cipher, Group: p.Group,
		ALPN: p.ALPN, ServerName: cs.ServerName, Resumed: p.Resumed,
	}
}

func (h *httpConn) clientEcho() *clientEcho {
	cs := h.c.tls.ConnectionState()
	p := probe.NewPeer(cs, h.c.addr())
	if len(p.Chain) == 0 {
		return nil
	}
	leaf := p.Chain[0]
	return &clientEcho{
		Identity: identity(cs.PeerCertificates, p.Chain),
		Subject:  leaf.Subject, SANs: leaf.SANs, SHA256: leaf.SHA256, Chain: p.Chain,
	}
}
