// Package frame knows where a message ends. It has no sockets and no goroutines: bytes go in, boundaries and limits
// come out.
//
// Start with [Lines], which follows a stream of newline-terminated messages (NDJSON) without keeping any of it.
package frame

import (
	"bytes"
	"fmt"
)

// TooLongError says that a message exceeded the limit that was set for it.
type TooLongError struct {
	Limit int64 // in bytes, the terminator not counted
}

// Error names the limit.
func (e *TooLongError) Error() string { return fmt.Sprintf("message longer than %d bytes", e.Limit) }

// Lines follows a stream of newline-terminated messages: how many are complete, how much of the next one has come.
// It looks at each byte once, keeps none and allocates nothing. The zero value has no limit.
type Lines struct {
	Max int64 // longest message in bytes, its newline not counted; 0: no limit

	pending int64
	count   uint64
}

// Feed takes the next bytes of the stream. It returns how many of them are within the limit: all of p, or, with a
// [*TooLongError], those before the first byte that is too many. After an error the tracker must not be fed again.
func (l *Lines) Feed(p []byte) (int, error) {
	if l.Max <= 0 || l.pending+int64(len(p)) <= l.Max {
		l.feedShort(p)
		return len(p), nil
	}
	for done := 0; ; {
		rest := p[done:]
		end := bytes.IndexByte(rest, '\n')
		size := end
		if end < 0 {
			size = len(rest)
		}
		if room := l.Max - l.pending; int64(size) > room {
			l.pending = l.Max
			return done + int(room), &TooLongError{Limit: l.Max}
		}
		if end < 0 {
			l.pending += int64(size)
			return len(p), nil
		}
		l.pending = 0
		l.count++
		done += end + 1
	}
}

// feedShort is Feed for input in which no message can be too long: two scans instead of one step per message.
func (l *Lines) feedShort(p []byte) {
	last := bytes.LastIndexByte(p, '\n')
	if last < 0 {
		l.pending += int64(len(p))
		return
	}
	l.count += uint64(bytes.Count(p[:last+1], newline[:]))
	l.pending = int64(len(p) - last - 1)
}

// newline is what ends a message.
var newline = [1]byte{'\n'}

// Pending is the number of bytes of the incomplete message at the end of what was fed; 0 is a message boundary.
func (l *Lines) Pending() int64 { return l.pending }

// Count is the number of complete messages so far.
func (l *Lines) Count() uint64 { return l.count }
