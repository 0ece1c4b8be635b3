package client

import (
	"slices"
	"time"
)

// Latency sums up round trips, in microseconds. Percentiles are round trips that were measured, by nearest rank.
type Latency struct {
	MinUS int64 `json:"min_us"`
	P50US int64 `json:"p50_us"`
	P90US int64 `json:"p90_us"`
	P99US int64 `json:"p99_us"`
	MaxUS int64 `json:"max_us"`
}

// newLatency sorts rtts and sums them up, nil when there are none.
func newLatency(rtts []time.Duration) *Latency {
	if len(rtts) == 0 {
		return nil
	}
	slices.Sort(rtts)
	return &Latency{
		MinUS: rtts[0].Microseconds(),
		P50US: percentile(rtts, 50),
		P90US: percentile(rtts, 90),
		P99US: percentile(rtts, 99),
		MaxUS: rtts[len(rtts)-1].Microseconds(),
	}
}

// percentile is the smallest value that at least p per cent of the sorted values do not exceed.
func percentile(sorted []time.Duration, p int) int64 {
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1].Microseconds()
}
