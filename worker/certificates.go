package worker

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pushd/pushd/protocol/certs"
)

// TLS says what certificates the TLS listeners of a group have and what they speak.
type TLS = certs.Settings

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
