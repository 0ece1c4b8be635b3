package commands

import (
	"errors"

	"github.com/tlsctl/tlsctl/probe"
)

// describeProbe covers errors of connections, payloads and kernel readings.
func describeProbe(err error) (failure, bool) {
	var pe *probe.Error
	if !errors.As(err, &pe) {
		return failure{}, false
	}
	f := failure{
		Kind: string(pe.Kind), Phase: string(pe.Op), Side: string(pe.Side),
		Hint: probeHint(pe.Kind), code: exitFailed,
	}
	switch pe.Kind {
	case probe.KindInterrupted:
		f.code = exitInterrupted
	case probe.KindEchoMismatch:
		f.code = exitNo
	case probe.KindPayload:
		f.code = exitUsage
	}
	return f, true
}

// probeHint says what to do about a cause. The words name flags, which is why they are here.
func probeHint(k probe.Kind) string {
	switch k {
	case probe.KindDNS:
		return "check the spelling of the host, or give an address such as 127.0.0.1:8443"
	case probe.KindRefused:
		return "nothing listens there: start it with 'tlsctl serve', or check the port"
	case probe.KindUnreachable:
		return "check the route and the firewall between here and there"
	case probe.KindTimeout:
		return "raise --timeout, or check that the port is the right one"
	case probe.KindReset:
		return "look at the log of the other side; 'tlsctl diag resets' counts resets by cause"
	case probe.KindNotTLS:
		return "the port speaks something else than TLS: check the port"
	case probe.KindProtocolVersion:
		return "leave out --tls-version, or give one that the server speaks"
	case probe.KindServerExpired:
		return "renew the server's certificate: tlsctl gen-server --force"
	case probe.KindServerUnknownCA:
		return "give the CA that issued the server's certificate with --ca FILE"
	case probe.KindServerName:
		return "call the server by a name in its certificate, or give one with --server-name NAME"
	case probe.KindServerUsage:
		return "the server needs a server certificate: tlsctl gen-server"
	default:
		return clientHint(k)
	}
}

// clientHint is probeHint for what concerns our own certificate and this machine.
func clientHint(k probe.Kind) string {
	switch k {
	case probe.KindClientMissing:
		return "give a client certificate with --cert FILE --key FILE; 'tlsctl gen-client' makes one"
	case probe.KindClientUnknownCA:
		return "use a client certificate of a CA that the server trusts, or add this one's CA to the server's --ca FILE"
	case probe.KindClientExpired:
		return "renew the client certificate: tlsctl gen-client --force"
	case probe.KindClientUsage:
		return "use a client certificate (extended key usage clientAuth): tlsctl gen-client"
	case probe.KindDescriptors:
		return "raise the descriptor limit; see 'tlsctl diag ulimit'"
	case probe.KindAddressInUse:
		return "choose another port with --addr, or port 0 for any free one"
	case probe.KindPermission:
		return "choose a port of 1024 or above with --addr"
	}
	return ""
}
