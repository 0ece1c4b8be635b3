package client

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// MaxCount bounds the messages of one [Run]: each round trip is kept for exact percentiles.
const MaxCount = 1_000_000

// maxLost is how many connections in a row may fail to open before one of the workers of a run gives up.
const maxLost = 3

// Load is a fixed number of messages to spread over a fixed number of connections.
type Load struct {
	Open        func(ctx context.Context) (Exchanger, error) // opens one of the connections
	Payloads    [][]byte                                     // sent in turn
	Expect      Expect
	Count       int // how many messages in all; at most [MaxCount]
	Concurrency int // how many connections; 0: one

	// OnReply is called for every message in the order of completion, never twice at a time. With one connection that
	// is the order of sending. The reply is valid during the call. nil: replies are only counted.
	OnReply func(i int, r Reply, err error)
}

// Summary says how a run went. Round trips are from the start of a write to the last byte of its answer.
type Summary struct {
	Messages    int                `json:"messages"`
	OK          int                `json:"ok"`
	Failed      int                `json:"failed"`
	NotSent     int                `json:"not_sent"` // given up or interrupted before their turn
	Connections int                `json:"connections"`
	Errors      map[probe.Kind]int `json:"errors,omitempty"`
	BytesSent   int64              `json:"bytes_sent"`
	BytesRecv   int64              `json:"bytes_received"`
	ElapsedUS   int64              `json:"elapsed_us"`
	PerSecond   float64            `json:"messages_per_second"`
	RTT         *Latency           `json:"rtt,omitempty"` // absent when nothing came back
}

// run is the state that the workers of a run share.
type run struct {
	l    Load
	next atomic.Int64

	mu       sync.Mutex // guards what follows, but not on the way of a message that goes well
	sum      Summary
	firstErr error
	first    *Report
}

// worker sends its share over one connection at a time.
type worker struct {
	r    *run
	conn Exchanger
	stop func() bool
	lost int
	rtts []time.Duration

	sent, recv int64
}

// Run sends the messages of l and waits for their answers. The error is that of the first message that failed, or of
// ctx. The report is that of the first connection, nil when none was opened.
func Run(ctx context.Context, l Load) (Summary, *Report, error) {
	l.Concurrency = max(1, min(l.Concurrency, l.Count))
	l.Count = min(l.Count, MaxCount)
	r := &run{l: l, sum: Summary{Messages: l.Count, Errors: map[probe.Kind]int{}}}
	workers := make([]*worker, l.Concurrency)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range workers {
		workers[i] = &worker{r: r}
		wg.Go(func() { workers[i].work(ctx) })
	}
	wg.Wait()
	r.total(workers, time.Since(start))
	if err := ctx.Err(); err != nil && r.sum.NotSent > 0 {
		return r.sum, r.first, probe.Classify(probe.PhaseWrite, "", err)
	}
	return r.sum, r.first, r.firstErr
}

func (r *run) total(workers []*worker, elapsed time.Duration) {
	var rtts []time.Duration
	for _, w := range workers {
		rtts = append(rtts, w.rtts...)
		r.sum.BytesSent += w.sent
		r.sum.BytesRecv += w.recv
	}
	r.sum.RTT = newLatency(rtts)
	r.sum.OK = len(rtts)
	r.sum.NotSent = r.sum.Messages - r.sum.OK - r.sum.Failed
	r.sum.ElapsedUS = elapsed.Microseconds()
	if s := elapsed.Seconds(); s > 0 {
		r.sum.PerSecond = float64(r.sum.OK) / s
	}
}

func (w *worker) work(ctx context.Context) {
	defer w.close()
	w.rtts = make([]time.Duration, 0, w.r.l.Count/w.r.l.Concurrency+1)
	for ctx.Err() == nil && w.lost < maxLost {
		i := int(w.r.next.Add(1)) - 1
		if i >= w.r.l.Count {
			return
		}
		w.one(ctx, i)
	}
}

func (w *worker) one(ctx context.Context, i int) {
	if w.conn == nil && !w.open(ctx, i) {
		return
	}
	m := Message{Payload: w.r.l.Payloads[i%len(w.r.l.Payloads)], Expect: w.r.l.Expect}
	// Only the last message of a connection can wait for silence, and which that is shows when the next is taken.
	m.Last = int(w.r.next.Load()) > w.r.l.Count-w.r.l.Concurrency
	var reply Reply
	var err error
	if c, ok := w.conn.(*Conn); ok {
		reply, err = c.exchange(ctx, m) // its watch is set for as long as the connection lives
	} else {
		reply, err = w.conn.Exchange(ctx, m)
	}
	w.sent += int64(len(m.Payload))
	w.recv += int64(len(reply.Data))
	if err == nil {
		w.rtts = append(w.rtts, reply.RTT)
	}
	w.r.done(i, reply, err)
	if err != nil || m.Last && m.Expect == ExpectNone {
		w.close()
	}
}

func (w *worker) open(ctx context.Context, i int) bool {
	conn, err := w.r.l.Open(ctx)
	if err != nil {
		w.lost++
		w.r.done(i, Reply{}, err)
		return false
	}
	w.lost = 0
	w.conn = conn
	if c, ok := conn.(*Conn); ok {
		w.stop = c.watch(ctx)
	}
	w.r.mu.Lock()
	w.r.sum.Connections++
	w.r.mu.Unlock()
	return true
}

func (w *worker) close() {
	if w.conn == nil {
		return
	}
	w.r.keep(w.conn)
	if w.stop != nil {
		w.stop()
	}
	_ = w.conn.Close()
	w.conn, w.stop = nil, nil
}

// keep takes the report of the first connection.
func (r *run) keep(conn Exchanger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		report := conn.Report()
		r.first = &report
	}
}

// done counts a message that failed and hands every message on when somebody listens.
func (r *run) done(i int, reply Reply, err error) {
	if err == nil && r.l.OnReply == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.sum.Failed++
		r.sum.Errors[probe.Classify(probe.PhaseRead, "", err).Kind]++
		if r.firstErr == nil {
			r.firstErr = err
		}
	}
	if r.l.OnReply != nil {
		r.l.OnReply(i, reply, err)
	}
}
