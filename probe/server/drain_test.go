package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// chatter sends numbered lines without a pause until the connection fails, and checks what comes back.
type chatter struct {
	window  chan struct{} // one token for each message whose echo has not come
	echoed  int
	partial string
	err     error // how reading ended
}

func (ch *chatter) run(c *tls.Conn, id int) {
	reads := make(chan struct{})
	go func() {
		defer close(reads)
		ch.read(c, id)
	}()
	for n := 0; ; n++ {
		select {
		case ch.window <- struct{}{}:
		case <-reads:
			return
		}
		if _, err := fmt.Fprintf(c, "{\"client\":%d,\"n\":%d}\n", id, n); err != nil {
			break
		}
	}
	<-reads
}

func (ch *chatter) read(c *tls.Conn, id int) {
	b := bufio.NewReader(c)
	for {
		line, err := b.ReadString('\n')
		if err != nil {
			ch.partial, ch.err = line, err
			_ = c.Close()
			return
		}
		if want := fmt.Sprintf("{\"client\":%d,\"n\":%d}\n", id, ch.echoed); line != want {
			ch.err = fmt.Errorf("line %q, want %q", line, want)
			return
		}
		ch.echoed++
		<-ch.window
	}
}

// Clients that never pause get an echo of every message that the server has read, whole and in order, and then an
// orderly end: many that wait for some of it, and a few that send as fast as they can.
func TestDrainEchoesEveryMessage(t *testing.T) {
	for _, tc := range []struct{ clients, window int }{{100, 100}, {3, 1 << 20}} {
		t.Run(fmt.Sprintf("%d clients, %d messages on the way", tc.clients, tc.window), func(t *testing.T) {
			drainChatter(t, tc.clients, tc.window)
		})
	}
}

func drainChatter(t *testing.T, clients, window int) {
	t.Helper()
	r := newRig(t, nil)
	var (
		wg    sync.WaitGroup
		chats = make([]chatter, clients)
		conns = make([]*tls.Conn, clients)
	)
	cfg := r.clientConfig(r.ca.client(t, "client"))
	for i := range conns { // all of them first: the busy ones slow a handshake down
		conns[i] = r.dial(cfg)
		chats[i].window = make(chan struct{}, window)
	}
	for i, c := range conns {
		wg.Go(func() { chats[i].run(c, i) })
	}
	<-time.After(300 * time.Millisecond)
	start := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	t.Logf("drained in %v", time.Since(start))
	wg.Wait()
	reports := map[string]Report{}
	for _, rep := range r.reports {
		reports[rep.Addr] = rep
	}
	total := 0
	for i, ch := range chats {
		total += ch.echoed
		rep := reports[conns[i].LocalAddr().String()]
		if rep.End != EndDrained || uint64(ch.echoed) != rep.Messages {
			t.Errorf("client %d: %d messages came back of %d read, end %q", i, ch.echoed, rep.Messages, rep.End)
		}
		if !errors.Is(ch.err, io.EOF) || ch.partial != "" {
			t.Errorf("client %d: %d messages and %q, then %v, want EOF", i, ch.echoed, ch.partial, ch.err)
		}
	}
	if total < clients {
		t.Errorf("%d messages came back in all", total)
	}
}

// What the kernel has received when the drain begins is echoed, also to a client that has not read anything yet.
func TestDrainEchoesWhatIsQueued(t *testing.T) {
	r := newRig(t, nil)
	c := r.good()
	defer closeAll(c)
	data := bytes.Repeat([]byte(strings.Repeat("q", 99)+"\n"), 40_000)
	go func() { _, _ = c.Write(data) }()
	<-time.After(200 * time.Millisecond) // both directions are full by now
	done := make(chan error, 1)
	go func() { done <- r.stop() }()
	<-time.After(300 * time.Millisecond)
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("echo of %d bytes: %d, %v", len(data), len(got), err)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}

func TestDrainOfIdleConnections(t *testing.T) {
	r := newRig(t, nil)
	fresh, used, partial := r.good(), r.good(), r.good()
	defer closeAll(fresh, used, partial)
	roundTrip(t, used, []byte("{}\n"))
	roundTrip(t, partial, []byte("no newline"))
	cfg := r.clientConfig(r.ca.client(t, "client"))
	cfg.NextProtos = []string{"http/1.1"}
	web := r.dial(cfg)
	defer closeAll(web)
	h1, h2 := r.httpClient(t, false, tls.Certificate{}), r.httpClient(t, true, r.ca.client(t, "client"))
	h1.Transport.(*http.Transport).TLSClientConfig = cfg
	for _, c := range []*http.Client{h1, h2} {
		resp, err := c.Get(r.url("/"))
		if err != nil {
			t.Fatal(err)
		}
		decode(t, resp)
	}
	start := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("the drain of idle connections took %v", took)
	}
	for _, c := range []*tls.Conn{fresh, used, partial, web} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("an idle client reads %v, want EOF", err)
		}
	}
}

// A request that is being answered, or that has arrived, is answered.
func TestDrainOfHTTPRequests(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2=%v", http2), func(t *testing.T) {
			r := newRig(t, nil)
			body, feed := io.Pipe()
			answers := make(chan error, 1)
			c := r.httpClient(t, http2, r.ca.client(t, "client"))
			go func() {
				resp, err := c.Post(r.url("/"), "text/plain", body)
				if err == nil {
					if a := decode(t, resp); a.BodyBytes != 8 {
						err = fmt.Errorf("body_bytes = %d", a.BodyBytes)
					}
				}
				answers <- err
			}()
			_, _ = io.WriteString(feed, "half")
			done := make(chan error, 1)
			for !r.srv.bodyUnderWay() {
				<-time.After(time.Millisecond)
			}
			go func() { done <- r.stop() }()
			<-time.After(300 * time.Millisecond)
			_, _ = io.WriteString(feed, "half")
			closeAll(feed)
			if err := <-answers; err != nil {
				t.Errorf("the request under way: %v", err)
			}
			if err := <-done; err != nil {
				t.Errorf("Serve = %v, want nil", err)
			}
		})
	}
}

// Requests in a row on one connection: each that was sent is answered or the connection ends without having read it.
func TestDrainBetweenHTTPRequests(t *testing.T) {
	r := newRig(t, nil)
	const clients = 20
	var wg sync.WaitGroup
	failed := make(chan error, clients)
	stopped := make(chan struct{})
	for range clients {
		c := r.httpClient(t, false, r.ca.client(t, "client"))
		wg.Go(func() {
			for {
				resp, err := c.Post(r.url("/"), "application/json", strings.NewReader(`{}`))
				if err != nil {
					select {
					case <-stopped:
					default:
						failed <- err
					}
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				closeAll(resp.Body)
				if resp.Close {
					return // told to go: the next request would need a new connection
				}
			}
		})
	}
	<-time.After(200 * time.Millisecond)
	if err := r.stop(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	close(stopped)
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Errorf("a request in the drain failed: %v", err)
	}
}

func TestDrainTimeoutCutsOff(t *testing.T) {
	r := newRig(t, func(o *Options) { o.DrainTimeout = 300 * time.Millisecond })
	c := r.good()
	defer closeAll(c)
	go func() { // never reads
		for {
			if _, err := c.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}()
	<-time.After(200 * time.Millisecond)
	start := time.Now()
	err := r.stop()
	if d := asDrainError(err); d == nil || d.Cut != 1 || !strings.Contains(d.Error(), "1 connection") {
		t.Errorf("Serve = %v, want a DrainError with 1", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the drain took %v", took)
	}
	if rep := r.next(); rep.End != EndCut {
		t.Errorf("end = %q, want cut", rep.End)
	}
}

func TestCloseEndsAtOnce(t *testing.T) {
	r := newRig(t, nil)
	c := r.good()
	defer closeAll(c)
	roundTrip(t, c, []byte("x"))
	r.cancel() // a drain, in which the unfinished line is waited for
	r.srv.Close()
	r.srv.Close()
	if err := r.stop(); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve = %v, want ErrClosed", err)
	}
}

func TestDrainOfHandshakes(t *testing.T) {
	r := newRig(t, nil)
	stalled, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(stalled)
	for r.srv.pending.len() == 0 {
		<-time.After(time.Millisecond)
	}
	start := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	if took := time.Since(start); took > handshakeGrace+2*time.Second {
		t.Errorf("a stalled handshake held the drain up for %v", took)
	}
}
