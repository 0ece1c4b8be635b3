package frame

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	for _, tc := range []struct {
		name    string
		max     int64
		chunks  []string
		count   uint64
		pending int64
		taken   int // of the last chunk
		tooLong bool
	}{
		{name: "nothing"},
		{name: "empty chunk", chunks: []string{""}},
		{name: "one line", chunks: []string{"{}\n"}, count: 1, taken: 3},
		{name: "half a line", chunks: []string{"{"}, pending: 1, taken: 1},
		{name: "a line in two parts", chunks: []string{"{", "}\n"}, count: 1, taken: 2},
		{name: "newline alone", chunks: []string{"{}", "\n"}, count: 1, taken: 1},
		{name: "empty lines count", chunks: []string{"\n\n\n"}, count: 3, taken: 3},
		{name: "line and a half", chunks: []string{"{}\n[1"}, count: 1, pending: 2, taken: 5},
		{name: "carriage return is content", chunks: []string{"{}\r\n"}, count: 1, taken: 4},
		{name: "exactly the limit", max: 4, chunks: []string{"1234\n"}, count: 1, taken: 5},
		{name: "exactly the limit, open", max: 4, chunks: []string{"1234"}, pending: 4, taken: 4},
		{name: "one over the limit", max: 4, chunks: []string{"12345\n"}, pending: 4, taken: 4, tooLong: true},
		{name: "over in the second chunk", max: 4, chunks: []string{"123", "45"}, pending: 4, taken: 1, tooLong: true},
		{name: "over in line two", max: 4, chunks: []string{"1\n12345"}, count: 1, pending: 4, taken: 6, tooLong: true},
		{name: "many short lines in a long chunk", max: 4, chunks: []string{"1\n22\n333\n4444\n"}, count: 4, taken: 14},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := Lines{Max: tc.max}
			taken, err := 0, error(nil)
			for _, c := range tc.chunks {
				if taken, err = l.Feed([]byte(c)); err != nil {
					break
				}
			}
			var tooLong *TooLongError
			if got := errors.As(err, &tooLong); got != tc.tooLong {
				t.Fatalf("Feed error = %v, want too long: %v", err, tc.tooLong)
			}
			if tc.tooLong && tooLong.Limit != tc.max {
				t.Errorf("limit in error = %d, want %d", tooLong.Limit, tc.max)
			}
			if taken != tc.taken || l.Count() != tc.count || l.Pending() != tc.pending {
				t.Errorf("taken, count, pending = %d, %d, %d, want %d, %d, %d",
					taken, l.Count(), l.Pending(), tc.taken, tc.count, tc.pending)
			}
		})
	}
}

func TestTooLongErrorNamesTheLimit(t *testing.T) {
	if got := (&TooLongError{Limit: 16}).Error(); !strings.Contains(got, "16 bytes") {
		t.Errorf("error text %q does not name the limit", got)
	}
}

func TestFeedDoesNotAllocate(t *testing.T) {
	l := Lines{Max: 64}
	p := []byte(strings.Repeat(`{"n":1}`+"\n", 100))
	if got := testing.AllocsPerRun(100, func() { _, _ = l.Feed(p) }); got != 0 {
		t.Errorf("Feed allocates %v times, want 0", got)
	}
}

// byByte is the plain reading of what Lines does.
func byByte(data []byte, limit int64) (taken int, count uint64, pending int64, tooLong bool) {
	for i, b := range data {
		switch {
		case b == '\n':
			count, pending = count+1, 0
		case limit > 0 && pending == limit:
			return i, count, pending, true
		default:
			pending++
		}
	}
	return len(data), count, pending, false
}

// FuzzLines cuts a stream at arbitrary places and expects what a reading byte by byte gives.
func FuzzLines(f *testing.F) {
	f.Add([]byte("{}\n[1,2]\nrest"), int64(4), uint64(1))
	f.Add([]byte("\n\n\n"), int64(0), uint64(2))
	f.Add(bytes.Repeat([]byte("x"), 100), int64(99), uint64(3))
	f.Fuzz(func(t *testing.T, data []byte, limit int64, seed uint64) {
		wantTaken, wantCount, wantPending, wantErr := byByte(data, limit)
		l := Lines{Max: limit}
		r := rand.New(rand.NewPCG(seed, 1))
		taken := 0
		var err error
		for taken < len(data) && err == nil {
			n := 1 + r.IntN(len(data)-taken)
			var got int
			got, err = l.Feed(data[taken : taken+n])
			taken += got
		}
		if taken != wantTaken || l.Count() != wantCount || l.Pending() != wantPending || (err != nil) != wantErr {
			t.Errorf("taken, count, pending, error = %d, %d, %d, %v, want %d, %d, %d, %v",
				taken, l.Count(), l.Pending(), err, wantTaken, wantCount, wantPending, wantErr)
		}
	})
}

func BenchmarkLinesFeed(b *testing.B) {
	l := Lines{Max: 1 << 20}
	p := []byte(strings.Repeat(`{"sensor":"a","value":20.5}`+"\n", 600))
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = l.Feed(p)
	}
}
