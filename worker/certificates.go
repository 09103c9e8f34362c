package worker

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pushd/pushd/protocol/certs"
)

// TLS says what certificates the TLS listeners of a group have and what they speak. Its
// fields:
//
//	Certificates     []TLSFiles // chosen by the name that a client asks for; the first for all others
//	MinVersion       string     // "1.2", the default, or "1.3"
//	ClientCA         string     // file of authorities: clients need a certificate of one; "" = they need none
//	TicketSecretFile string     // at least 32 bytes, alike on all machines; "" = random
//
// A group that listens on wss, https, tls, text+tls … needs it, as Worker.TLS.
type TLS = certs.Settings

// TLSFiles are the files of a certificate and its key, in PEM: Cert, the server's own
// first and its issuers behind it, and Key. They may be one file. Relative paths count
// from the working directory. The master reads them, as its own user, and takes over
// what has changed within a minute, or at a reload.
type TLSFiles = certs.Files

// CheckTLS finds out whether listeners behind TLS, or that lead there, and the
// settings for them are there together.
func CheckTLS(listen []string, s *Settings) error {
	i := slices.IndexFunc(listen, IsSecure)
	switch {
	case i >= 0 && s.TLS == nil:
		return fmt.Errorf(`listen = %q needs tls = { cert = "cert.pem", key = "key.pem" }`, listen[i])
	case i < 0 && s.TLS != nil:
		return errors.New("tls is for listeners behind TLS, and there is none: listen on wss://, https://, tls:// or text+tls://")
	}
	return checkRedirect(listen, s)
}

// IsSecure says whether a listen address is behind TLS.
func IsSecure(addr string) bool {
	scheme, _, _ := strings.Cut(addr, "://")
	_, secure := plainScheme(scheme)
	return secure
}
