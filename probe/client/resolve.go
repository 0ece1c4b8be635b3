package client

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/tlsctl/tlsctl/probe"
)

// stagger is the head start of an address before the next one is tried beside it (RFC 8305 section 5 says 250 ms).
const stagger = 250 * time.Millisecond

// maxAddrs bounds how many addresses of a name are tried.
const maxAddrs = 16

// resolve finds the addresses of o.Addr, and how long that took when it was not an address already.
func (o Options) resolve(ctx context.Context) ([]string, *int64, error) {
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, nil, &probe.Error{Op: probe.PhaseResolve, Addr: o.Addr, Kind: probe.KindDNS, Side: probe.SideLocal, Err: err}
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{o.Addr}, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	start := time.Now()
	ips, err := o.Resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(ips) == 0 {
		err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	if err != nil {
		return nil, nil, probe.Classify(probe.PhaseResolve, o.Addr, descriptorsFirst(err))
	}
	addrs := make([]string, 0, len(ips))
	for _, ip := range ips[:min(len(ips), maxAddrs)] {
		addrs = append(addrs, net.JoinHostPort(ip.Unmap().String(), port))
	}
	return addrs, probe.Microseconds(time.Since(start)), nil
}

// descriptorsFirst finds out whether a name was not found for want of a descriptor: at the limit the resolver cannot
// read its configuration nor open a socket and says "no such host".
func descriptorsFirst(err error) error {
	f, probeErr := os.Open(os.DevNull)
	if probeErr == nil {
		_ = f.Close()
		return err
	}
	if kind := probe.Classify(probe.PhaseResolve, "", probeErr).Kind; kind == probe.KindDescriptors {
		return probeErr
	}
	return err
}

// attempt is the outcome of a connect.
type attempt struct {
	addr string
	conn net.Conn
	took time.Duration
	err  error
}

// connect opens a TCP connection to the first of addrs that answers.
func (o Options) connect(ctx context.Context, addrs []string) (attempt, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	results := make(chan attempt, len(addrs))
	next := time.NewTimer(0)
	defer next.Stop()
	var failed []attempt
	started := 0
	for len(failed) < len(addrs) {
		select {
		case <-next.C:
			if started == len(addrs) {
				continue
			}
			go o.try(ctx, addrs[started], results)
			started++
			next.Reset(stagger)
		case a := <-results:
			if a.err == nil {
				go discard(results, started-len(failed)-1)
				return a, nil
			}
			failed = append(failed, a)
			next.Reset(0) // no point in waiting when the one before has failed
		}
	}
	return attempt{}, o.connectError(failed)
}

func (o Options) try(ctx context.Context, addr string, results chan<- attempt) {
	start := time.Now()
	conn, err := o.Dialer.DialContext(ctx, "tcp", addr)
	results <- attempt{addr, conn, time.Since(start), err}
}

// discard closes the connections of those who came second.
func discard(results <-chan attempt, n int) {
	for range n {
		if a := <-results; a.conn != nil {
			_ = a.conn.Close()
		}
	}
}

// telling orders the causes of a failed connect by how much they tell: when one address of a name has no route and
// another refuses, the refusal is the news.
func telling(k probe.Kind) int {
	switch k {
	case probe.KindInterrupted, probe.KindDescriptors, probe.KindPorts:
		return 4
	case probe.KindRefused, probe.KindReset:
		return 3
	case probe.KindTimeout:
		return 2
	case probe.KindUnreachable:
		return 1
	}
	return 0
}

// connectError reports the most telling failure, and beside it what became of the other addresses.
func (o Options) connectError(failed []attempt) error {
	var best *probe.Error
	var outcomes []string
	for _, a := range failed {
		e := probe.Classify(probe.PhaseConnect, o.Addr, a.err)
		if best == nil || telling(e.Kind) > telling(best.Kind) {
			best = e
		}
		outcomes = append(outcomes, a.addr+" "+string(e.Kind))
	}
	if len(outcomes) > 1 {
		best.Detail = "tried " + strings.Join(outcomes, ", ")
	}
	return best
}
