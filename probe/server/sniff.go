package server

import "bytes"

// maxMethod is the length of the longest request method, maxRequestLine what RFC 9112 section 3 asks a server to
// understand: a longer line that began as one is left to net/http to refuse.
const (
	maxMethod      = 7
	maxRequestLine = 8000
)

// verdict is what the first bytes of a connection say so far.
type verdict int

const (
	undecided verdict = iota // a request line may still come of it
	isHTTP
	isOther
)

// methods are those of RFC 9110 section 9 and PATCH (RFC 5789). Others need ALPN: a word in capitals is too likely to
// be the beginning of something that wants its echo.
func methods() [9]string {
	return [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
}

// sniff says whether p begins with an HTTP/1 request line (RFC 9112 section 3): method, space, target, space, version,
// end of line. It is decided at the first byte that rules one out, so that other traffic is not held up.
func sniff(p []byte) verdict {
	method, rest, found := bytes.Cut(p, []byte{' '})
	if !found {
		return sniffMethod(method)
	}
	if !isMethod(method) {
		return isOther
	}
	line, _, complete := bytes.Cut(rest, []byte{'\n'})
	target, version, found := bytes.Cut(line, []byte{' '})
	switch {
	case !targetBytes(target) || found && len(target) == 0:
		return isOther
	case complete && found && versionComplete(version):
		return isHTTP
	case complete:
		return isOther
	case found && !versionPrefix(version):
		return isOther
	case len(p) >= maxRequestLine:
		return isHTTP
	}
	return undecided
}

func sniffMethod(p []byte) verdict {
	for _, m := range methods() {
		if len(p) <= len(m) && m[:len(p)] == string(p) {
			return undecided
		}
	}
	return isOther
}

func isMethod(p []byte) bool {
	for _, m := range methods() {
		if m == string(p) {
			return true
		}
	}
	return false
}

// targetBytes says whether all of p may stand in a request target; a lone carriage return may not.
func targetBytes(p []byte) bool {
	for _, b := range p {
		if b <= ' ' || b == 0x7f {
			return false
		}
	}
	return true
}

const httpVersion = "HTTP/1."

// versionPrefix says whether p can still become "HTTP/1.x" and the end of the line.
func versionPrefix(p []byte) bool {
	if len(p) <= len(httpVersion) {
		return httpVersion[:len(p)] == string(p)
	}
	tail := p[len(httpVersion):]
	return string(p[:len(httpVersion)]) == httpVersion && (tail[0] == '0' || tail[0] == '1') &&
		(len(tail) == 1 || len(tail) == 2 && tail[1] == '\r')
}

func versionComplete(p []byte) bool {
	return len(p) > len(httpVersion) && versionPrefix(p)
}

// looksLikeMethod says whether the bytes that came to a TLS port in the clear begin like an HTTP request.
func looksLikeMethod(p []byte) bool {
	method, _, _ := bytes.Cut(p, []byte{' '})
	return isMethod(method)
}
