package server

import "errors"

var (
	// errNotTLS is what reading yields when the first byte of a connection is none that TLS begins with.
	errNotTLS = errors.New("the first bytes are not TLS")
	// errNoCertificate is the refusal of a client that presented no certificate.
	errNoCertificate = errors.New("the client presented no certificate")
	// errBodyTooLarge and errNoMemory are the refusals of a request body.
	errBodyTooLarge = errors.New("the request body is longer than the limit")
	errNoMemory     = errors.New("too many large request bodies at once")
)
