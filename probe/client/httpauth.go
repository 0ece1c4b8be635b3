package client

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/tlsctl/tlsctl/probe"
)

// nginx lets the handshake succeed whatever the client's certificate and refuses the request instead. 495 and 496 are
// its own numbers (ngx_http_request.h), which it shows to the client as 400 unless told otherwise.
const (
	nginxCertError    = 495
	nginxCertRequired = 496
)

// statusError classifies a status of 400 and above. Some servers refuse a client for its certificate only here.
func (w *Web) statusError(r Reply) error {
	e := &probe.Error{
		Op: probe.PhaseRead, Addr: w.c.o.Addr, Kind: probe.KindHTTPStatus, Side: probe.SidePeer,
		Detail: fmt.Sprintf("the server answered %d %s", r.HTTP.Status, http.StatusText(r.HTTP.Status)),
	}
	f := w.c.facts()
	if !f.CertRequested || !aboutAccess(r.HTTP.Status) {
		return e
	}
	if len(f.Own) == 0 {
		e.Kind = probe.KindClientMissing
		e.Detail += "; it had asked for a client certificate and none was given"
		return e
	}
	if why := f.OwnFault(); why != "" || aboutCertificate(r) {
		kind, detail := f.RefusedOwn()
		e.Kind, e.Detail = kind, e.Detail+"; "+detail
	}
	return e
}

func aboutAccess(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, nginxCertError, nginxCertRequired:
		return true
	}
	return false
}

// aboutCertificate recognises nginx's page for a certificate that did not pass.
func aboutCertificate(r Reply) bool {
	return r.HTTP.Status == nginxCertError || bytes.Contains(r.Data[:min(len(r.Data), 1024)], []byte("SSL certificate error"))
}
