// Package probe holds the words that everything which talks to a peer or to the kernel shares: what can go wrong
// ([Kind], [Error]), when ([Phase], [Timing]), on whose account ([Side]), and who the peer was ([Peer]).
//
// Start with [Classify], which turns any error of net, crypto/tls or net/http into an [Error].
package probe

import (
	"fmt"
	"time"
)

// Kind is a stable word for a cause. It is the JSON field error.kind and is never renamed.
type Kind string

// The causes that a connection, a payload or a reading of the kernel's counters can fail for.
const (
	KindDNS             Kind = "dns"               // the name has no address
	KindRefused         Kind = "refused"           // nothing listens there: RST in answer to the SYN
	KindUnreachable     Kind = "unreachable"       // no route, or an ICMP reject
	KindTimeout         Kind = "timeout"           // the phase's time ran out
	KindReset           Kind = "reset"             // the peer's kernel sent RST on an established connection
	KindEarlyClose      Kind = "early_close"       // the peer ended the stream before the answer was complete
	KindNotTLS          Kind = "not_tls"           // the bytes are no TLS record
	KindProtocolVersion Kind = "protocol_version"  // no TLS version in common
	KindCipher          Kind = "cipher"            // no cipher suite, group or signature scheme in common
	KindServerExpired   Kind = "server_expired"    // server certificate (or its issuer) outside its validity
	KindServerUnknownCA Kind = "server_unknown_ca" // server certificate not issued by a CA we trust
	KindServerName      Kind = "server_name"       // server certificate is for other names
	KindServerUsage     Kind = "server_usage"      // server certificate not meant for server authentication
	KindServerInvalid   Kind = "server_invalid"    // server certificate wrong in another way
	KindClientMissing   Kind = "client_missing"    // the server wants a client certificate and got none
	KindClientUnknownCA Kind = "client_unknown_ca" // the server does not trust the client certificate's issuer
	KindClientExpired   Kind = "client_expired"    // client certificate outside its validity
	KindClientUsage     Kind = "client_usage"      // client certificate not meant for client authentication
	KindClientInvalid   Kind = "client_invalid"    // client certificate refused, cause not told
	KindAlert           Kind = "alert"             // any other TLS alert
	KindEchoMismatch    Kind = "echo_mismatch"     // the reply is not what was sent
	KindHTTPStatus      Kind = "http_status"       // an HTTP status of 400 or above
	KindPayload         Kind = "payload"           // the payload is not what it claims to be; nothing was sent
	KindTooLarge        Kind = "too_large"         // a bound on size was exceeded
	KindDescriptors     Kind = "descriptors"       // EMFILE or ENFILE: no file descriptor left
	KindPorts           Kind = "ports"             // EADDRNOTAVAIL: no ephemeral port left, or no such address here
	KindAddressInUse    Kind = "address_in_use"    // EADDRINUSE: another socket listens there
	KindPermission      Kind = "permission"        // EACCES or EPERM
	KindInterrupted     Kind = "interrupted"       // cancelled by the caller
	KindUnsupported     Kind = "unsupported"       // this system does not offer it
	KindIO              Kind = "io"                // any other I/O error
)

// Phase is where in a connection's life something happened.
type Phase string

// The phases in the order in which a connection goes through them.
const (
	PhaseResolve   Phase = "resolve"
	PhaseConnect   Phase = "connect"
	PhaseHandshake Phase = "handshake"
	PhaseWrite     Phase = "write"
	PhaseRead      Phase = "read"
	PhaseClose     Phase = "close"
	PhaseListen    Phase = "listen"
	PhaseAccept    Phase = "accept"
)

// Side says who refused or broke off.
type Side string

// The sides of a connection, as seen from the process that reports.
const (
	SideLocal   Side = "local"   // this process decided, for instance by not trusting the peer
	SidePeer    Side = "peer"    // the other end said so, by an alert, a reset or a close
	SideNetwork Side = "network" // between the two: no route, no answer
)

// Error is a failure with its cause in a stable word and its place in the connection's life.
type Error struct {
	Op     Phase  // where it happened
	Addr   string // host:port of the peer, or "" when there is none yet
	Kind   Kind   // why
	Side   Side   // who
	Detail string // one sentence of evidence in words, "" when Err says it all; may hold untrusted text
	Err    error  // the cause as the lower layer gave it; may be nil
}

// Error renders "handshake with 127.0.0.1:8443: detail: cause". It may hold text of the peer: clean it before
// it reaches a terminal.
func (e *Error) Error() string {
	s := string(e.Op)
	if e.Addr != "" {
		s += " " + e.Addr
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s = fmt.Sprintf("%s: %v", s, e.Err)
	}
	if e.Detail == "" && e.Err == nil {
		s += ": " + string(e.Kind)
	}
	return s
}

// Unwrap returns the lower layer's error.
func (e *Error) Unwrap() error { return e.Err }

// Timing holds how long each phase of one exchange took, in microseconds. A phase that did not take place is nil.
type Timing struct {
	ResolveUS   *int64 `json:"resolve_us,omitempty"`    // name to addresses; absent for a literal address
	ConnectUS   *int64 `json:"connect_us,omitempty"`    // TCP connect of the attempt that won
	HandshakeUS *int64 `json:"handshake_us,omitempty"`  // TLS handshake
	WriteUS     *int64 `json:"write_us,omitempty"`      // payload handed to the kernel
	FirstByteUS *int64 `json:"first_byte_us,omitempty"` // from the end of the write to the first byte of the reply
	ReadUS      *int64 `json:"read_us,omitempty"`       // from the first to the last byte of the reply
	TotalUS     int64  `json:"total_us"`                // everything, from the first step to the last
}

// Microseconds is d in whole microseconds, as a [Timing] field.
func Microseconds(d time.Duration) *int64 {
	us := d.Microseconds()
	return &us
}

// Cert says which certificate was presented. Its strings come from a peer and are untrusted.
type Cert struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"` // hexadecimal, as openssl prints it
	SANs      []string  `json:"sans,omitempty"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	SHA256    string    `json:"sha256"` // fingerprint of the DER, lower-case hexadecimal
}

// Peer says who is at the other end of a connection and what was negotiated with it.
type Peer struct {
	Addr    string `json:"addr"`
	Version string `json:"version,omitempty"` // "TLS 1.3"
	Cipher  string `json:"cipher,omitempty"`
	Group   string `json:"group,omitempty"` // key-exchange group, "X25519MLKEM768"
	ALPN    string `json:"alpn,omitempty"`
	Resumed bool   `json:"resumed"`
	Chain   []Cert `json:"chain,omitempty"` // as presented, leaf first
}
