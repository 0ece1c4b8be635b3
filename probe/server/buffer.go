package server

import "sync"

// bufferSize holds the plaintext of the largest TLS record (RFC 8446 section 5.1).
const bufferSize = 16 << 10

type buffer [bufferSize]byte

// bufferPool is shared by all connections of a server: one holds a buffer while bytes come in, none while it is idle.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) take() *buffer {
	if b, ok := p.pool.Get().(*buffer); ok {
		return b
	}
	return new(buffer)
}

func (p *bufferPool) give(b *buffer) { p.pool.Put(b) }
