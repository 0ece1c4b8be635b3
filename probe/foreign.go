package probe

import (
	"bytes"
	"fmt"
	"strings"
)

// maxQuoted bounds how much of a foreign answer a sentence repeats.
const maxQuoted = 64

// foreignProtocol names the protocol of an answer that is no TLS and quotes its start.
func (f Facts) foreignProtocol(first []byte) string {
	who := "the peer answered"
	if f.Server {
		who = "the client spoke"
	}
	line, _, _ := bytes.Cut(first, []byte("\n"))
	text := strings.TrimRight(string(line[:min(len(line), maxQuoted)]), "\r")
	if name := protocolName(text); name != "" {
		return fmt.Sprintf("%s with %s, not TLS: %q", who, name, text)
	}
	if isMostlyText(text) {
		return fmt.Sprintf("%s with something else than TLS: %q", who, text)
	}
	return fmt.Sprintf("%s with something else than TLS: % x", who, first[:min(len(first), maxQuoted/4)])
}

// protocolName recognises protocols that are often met on the wrong port by how their first line starts.
func protocolName(line string) string {
	for _, p := range []struct{ prefix, name string }{
		{"HTTP/", "HTTP"},
		{"SSH-", "SSH"},
		{"220 ", "an SMTP or FTP greeting"},
		{"220-", "an SMTP or FTP greeting"},
		{"* OK", "an IMAP greeting"},
		{"+OK", "a POP3 greeting"},
		{"-ERR", "a Redis or POP3 error"},
		{"-DENIED", "a Redis error"},
		{"RFB ", "VNC"},
		{"INFO {", "NATS"},
		{"AMQP", "AMQP"},
	} {
		if strings.HasPrefix(line, p.prefix) {
			return p.name
		}
	}
	for _, method := range []string{"GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "CONNECT ", "PATCH ", "PRI "} {
		if strings.HasPrefix(line, method) {
			return "a plain HTTP request"
		}
	}
	return ""
}

func isMostlyText(s string) bool {
	for _, b := range []byte(s) {
		if b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return s != ""
}
