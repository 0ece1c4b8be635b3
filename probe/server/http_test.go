package server

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// answer is the JSON of a request echo, its names written out by hand: they are a contract.
type answer struct {
	Method  string              `json:"method"`
	Target  string              `json:"target"`
	Proto   string              `json:"proto"`
	Host    string              `json:"host"`
	Headers map[string][]string `json:"headers"`
	TLS     struct {
		Version    string `json:"version"`
		Cipher     string `json:"cipher"`
		Group      string `json:"group"`
		ALPN       string `json:"alpn"`
		ServerName string `json:"server_name"`
		Resumed    bool   `json:"resumed"`
	} `json:"tls"`
	Client *struct {
		Identity string   `json:"identity"`
		Subject  string   `json:"subject"`
		SANs     []string `json:"sans"`
		SHA256   string   `json:"sha256"`
		Chain    []struct {
			Subject string `json:"subject"`
			SHA256  string `json:"sha256"`
		} `json:"chain"`
	} `json:"client"`
	BodyBytes  int     `json:"body_bytes"`
	BodySHA256 string  `json:"body_sha256"`
	Body       *string `json:"body"`
	BodyBase64 *string `json:"body_base64"`
}

// httpClient speaks the given version of HTTP and nothing else.
func (r *rig) httpClient(t testing.TB, http2 bool, cert tls.Certificate) *http.Client {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	cfg := r.clientConfig(cert)
	if !http2 {
		cfg.NextProtos = []string{"http/1.1"}
	}
	tr := &http.Transport{TLSClientConfig: cfg, Protocols: &protocols}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

func (r *rig) url(path string) string { return "https://" + r.addr + path }

func decode(t testing.TB, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatalf("answer %q: %v", b, err)
	}
	return a
}

const deviceURI = "spiffe://example.org/device"

func TestHTTPEcho(t *testing.T) {
	for _, mode := range []Mode{ModeAuto, ModeHTTP} {
		r := newRig(t, func(o *Options) { o.Mode = mode })
		cert := r.ca.issue(t, "device", withURI(t, deviceURI))
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s http2=%v", mode, http2), func(t *testing.T) {
				c := r.httpClient(t, http2, cert)
				body := `{"a": [1, 2],  "b":"\u00e9\"\\", "c":"é"}`
				req, err := http.NewRequest(http.MethodPost, r.url("/x/y?z=1"), strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header["X-Test"] = []string{"one", "two"}
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				if ct := resp.Header.Get("Content-Type"); ct != "application/json" || resp.StatusCode != http.StatusOK {
					t.Errorf("status, type = %d, %q", resp.StatusCode, ct)
				}
				a := decode(t, resp)
				checkEcho(t, a, body, http2)
				sum := sha256.Sum256(cert.Certificate[0])
				if a.Client == nil || a.Client.Identity != deviceURI || a.Client.Subject != "CN=device" ||
					a.Client.SHA256 != hex.EncodeToString(sum[:]) || len(a.Client.Chain) != 1 {
					t.Errorf("client = %+v", a.Client)
				}
				c.CloseIdleConnections()
				rep := r.next()
				if rep.Messages != 1 || rep.Identity != deviceURI || rep.BytesIn == 0 || rep.End != EndPeer {
					t.Errorf("report = %+v", rep)
				}
			})
		}
	}
}

func checkEcho(t *testing.T, a answer, body string, http2 bool) {
	t.Helper()
	proto, alpn := "HTTP/1.1", "http/1.1"
	if http2 {
		proto, alpn = "HTTP/2.0", "h2"
	}
	header := strings.Join(a.Headers["X-Test"], ",")
	got := []any{a.Method, a.Target, a.Proto, a.TLS.Version, a.TLS.ALPN, a.BodyBytes, header}
	want := []any{"POST", "/x/y?z=1", proto, "TLS 1.3", alpn, len(body), "one,two"}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
	if a.Body == nil || *a.Body != body || a.BodyBase64 != nil {
		t.Errorf("body = %v, want %q", a.Body, body)
	}
	if a.TLS.Cipher == "" || a.TLS.Group != "X25519MLKEM768" || a.TLS.ServerName != "localhost" {
		t.Errorf("tls = %+v", a.TLS)
	}
	sum := sha256.Sum256([]byte(body))
	if a.BodySHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("body_sha256 = %s", a.BodySHA256)
	}
}

func TestHTTPBodies(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxFrame = 1 << 20 })
	for _, http2 := range []bool{false, true} {
		c := r.httpClient(t, http2, r.ca.client(t, "client"))
		for _, tc := range []struct {
			name string
			body []byte
		}{
			{"empty", nil},
			{"controls and directions", []byte("\x00\x1b[31m\x7f\u0085\u202e\u2066\u2028é€😀\"\\\n\t")},
			{"not UTF-8", []byte("\xff\xfe\x00")},
			{"large text", []byte(strings.Repeat("é€😀 abc\n", 30_000))},
			{"large binary", randomBytes(900_001)},
			{"the limit", bytes.Repeat([]byte("l"), 1<<20)},
		} {
			t.Run(fmt.Sprintf("%s http2=%v", tc.name, http2), func(t *testing.T) {
				resp, err := c.Post(r.url("/"), "application/octet-stream", bytes.NewReader(tc.body))
				if err != nil {
					t.Fatal(err)
				}
				a := decode(t, resp)
				got := []byte(nil)
				switch {
				case a.Body != nil:
					got = []byte(*a.Body)
				case a.BodyBase64 != nil:
					if got, err = base64.StdEncoding.DecodeString(*a.BodyBase64); err != nil {
						t.Fatal(err)
					}
				}
				if !bytes.Equal(got, tc.body) || a.BodyBytes != len(tc.body) {
					t.Errorf("the body of %d bytes came back as %d, body_bytes %d", len(tc.body), len(got), a.BodyBytes)
				}
			})
		}
	}
}

// What acts on a terminal must not come through from a request to the terminal of who reads the answer.
func TestHTTPAnswerIsSafeToPrint(t *testing.T) {
	r := newRig(t, nil)
	c := r.httpClient(t, false, r.ca.client(t, "client\u202e\u009b"))
	req, err := http.NewRequest(http.MethodPost, r.url("/"), strings.NewReader("\x1b]0;x\a\u009b31m\u202e\x7f"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Odd", "\u202e\u0085")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range strings.TrimSuffix(string(b), "\n") {
		if r < ' ' || actsOnTerminal(r) {
			t.Errorf("the answer holds %U", r)
		}
	}
	if !json.Valid(b) {
		t.Errorf("the answer is no JSON: %s", b)
	}
}

func TestHTTPBodyBeyondTheLimit(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxFrame = 1000 })
	for _, http2 := range []bool{false, true} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("http2=%v chunked=%v", http2, chunked), func(t *testing.T) {
				var body io.Reader = bytes.NewReader(make([]byte, 300_000))
				if chunked {
					body = io.MultiReader(body)
				}
				resp, err := r.httpClient(t, http2, r.ca.client(t, "client")).Post(r.url("/"), "text/plain", body)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				said := strings.Contains(string(b), `"kind":"too_large"`)
				if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !said {
					t.Errorf("status %d, body %q, %v, want 413", resp.StatusCode, b, err)
				}
				if rep := r.next(); rep.End != EndTooLarge {
					t.Errorf("end = %q, want too_large", rep.End)
				}
			})
		}
	}
}

func TestHTTPHeadAndOthers(t *testing.T) {
	r := newRig(t, nil)
	c := r.httpClient(t, false, r.ca.client(t, "client"))
	var lengths []int64
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "PATCH", "PURGE"} {
		req, err := http.NewRequest(method, r.url("/"), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", method, resp.StatusCode)
		}
		if method == "HEAD" {
			b, err := io.ReadAll(resp.Body)
			if err != nil || len(b) != 0 {
				t.Errorf("HEAD has a body: %q, %v", b, err)
			}
			closeAll(resp.Body)
		} else if got := decode(t, resp).Method; got != method {
			t.Errorf("method = %s, want %s", got, method)
		}
		lengths = append(lengths, resp.ContentLength)
	}
	// The answer to HEAD is a letter longer and lacks the header that asks for gzip, which Go's client leaves out.
	if want := lengths[0] + 1 - int64(len(`,"Accept-Encoding":["gzip"]`)); lengths[1] != want {
		t.Errorf("Content-Length of HEAD = %d, of GET = %d", lengths[1], lengths[0])
	}
}

// Without ALPN the first bytes decide, in whatever pieces they come.
func TestHTTPWithoutALPN(t *testing.T) {
	r := newRig(t, nil)
	for _, pieces := range [][]string{
		{"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"G", "ET", " /a HT", "TP/1.1\r", "\nHost: x\r\n\r\n"},
		{"GET /" + strings.Repeat("a", 3000) + " HTTP/1.1\r\nHost: x\r\n\r\n"},
	} {
		c := r.good()
		for _, p := range pieces {
			if _, err := io.WriteString(c, p); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if a := decode(t, resp); !strings.HasPrefix(a.Target, "/a") || a.TLS.ALPN != "" {
			t.Errorf("target, alpn = %q, %q", a.Target, a.TLS.ALPN)
		}
		closeAll(c)
		if rep := r.next(); rep.Protocol != "http/1.1" || rep.End != EndPeer {
			t.Errorf("protocol, end = %q, %q", rep.Protocol, rep.End)
		}
	}
}

func TestEchoModeEchoesHTTP(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Mode = ModeEcho })
	cfg := r.clientConfig(r.ca.client(t, "client"))
	cfg.NextProtos = []string{"h2", "http/1.1"}
	c := r.dial(cfg)
	defer closeAll(c)
	if p := c.ConnectionState().NegotiatedProtocol; p != "" {
		t.Errorf("ALPN = %q, want none", p)
	}
	req := []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := roundTrip(t, c, req); !bytes.Equal(got, req) {
		t.Errorf("echo = %q", got)
	}
}

func TestUnknownALPNIsEchoed(t *testing.T) {
	for _, mode := range []Mode{ModeAuto, ModeEcho} {
		r := newRig(t, func(o *Options) { o.Mode = mode })
		cfg := r.clientConfig(r.ca.client(t, "client"))
		cfg.NextProtos = []string{"mqtt"}
		c := r.dial(cfg)
		if got := roundTrip(t, c, []byte("x")); string(got) != "x" {
			t.Errorf("%s: echo = %q", mode, got)
		}
		closeAll(c)
	}
}

func TestOptionalClientCertificate(t *testing.T) {
	r := newRig(t, func(o *Options) { o.TLS.ClientAuth = tls.VerifyClientCertIfGiven })
	resp, err := r.httpClient(t, true, tls.Certificate{}).Get(r.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	if a := decode(t, resp); a.Client != nil {
		t.Errorf("client = %+v, want null", a.Client)
	}
	stranger := newAuthority(t, "foreign CA").client(t, "stranger")
	if err := refusal(r.addr, r.clientConfig(stranger), nil); !isAlert(err, 48) {
		t.Errorf("a stranger sees %v, want unknown_ca", err)
	}
}

func TestManyRequestsAtOnce(t *testing.T) {
	r := newRig(t, nil)
	for _, http2 := range []bool{false, true} {
		c := r.httpClient(t, http2, r.ca.client(t, "client"))
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				body := fmt.Sprintf(`{"n":%d}`, i)
				resp, err := c.Post(r.url("/"), "application/json", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				if a := decode(t, resp); a.Body == nil || *a.Body != body {
					t.Errorf("body = %v, want %s", a.Body, body)
				}
			})
		}
		wg.Wait()
	}
}

func TestBodyBudget(t *testing.T) {
	r := newRig(t, nil)
	r.srv.bodies.limit = 100 << 10
	c := r.httpClient(t, false, r.ca.client(t, "client"))
	resp, err := c.Post(r.url("/"), "text/plain", bytes.NewReader(make([]byte, 200<<10)))
	if err != nil {
		t.Fatal(err)
	}
	closeAll(resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status = %d, want 503", resp.StatusCode)
	}
	resp, err = c.Post(r.url("/"), "text/plain", bytes.NewReader(make([]byte, 20<<10)))
	if err != nil {
		t.Fatal(err)
	}
	if a := decode(t, resp); a.BodyBytes != 20<<10 {
		t.Errorf("body_bytes = %d", a.BodyBytes)
	}
	if used := r.srv.bodies.used.Load(); used != 0 {
		t.Errorf("%d bytes of the budget are still taken", used)
	}
}
