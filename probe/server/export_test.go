package server

// bodyUnderWay says whether a request body is being read.
func (s *Server) bodyUnderWay() bool { return s.bodies.used.Load() > 0 }

// len is the number of handshakes under way.
func (p *pendingSet) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.order.Len()
}
