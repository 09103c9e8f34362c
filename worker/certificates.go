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

// ServesTLS says whether a worker's listeners may be behind TLS.
const ServesTLS = false

// proxyPage is where TLS questions are sent.
const proxyPage = "docs/proxy.md"

func errTLS(scheme string) error {
	plain, _ := plainScheme(scheme)
	return fmt.Errorf("%s:// is not served: put a TLS proxy in front and listen on %s:// (see %s)", scheme, plain, proxyPage)
}

// CheckTLS finds out whether listeners behind TLS and the settings for them are
// there together.
func CheckTLS(listen []string, s *Settings) error {
	secure := slices.ContainsFunc(listen, IsSecure)
	switch {
	case secure && s.TLS == nil:
		return errors.New(`a listener behind TLS needs tls = { cert = "cert.pem", key = "key.pem" }`)
	case !secure && s.TLS != nil:
		return errors.New("tls is for listeners behind TLS, and there is none: listen on wss://, https://, tls:// or text+tls://")
	}
	return nil
}

// IsSecure says whether a listen address is behind TLS.
func IsSecure(addr string) bool {
	scheme, _, _ := strings.Cut(addr, "://")
	_, secure := plainScheme(scheme)
	return secure
}

// secure gives a port that is behind TLS its certificates. All ports that speak
// alike share them.
func (l *loop) secure(p *port, store *certs.Store) (err error) {
	if !p.addr.secure {
		return nil
	}
	if l.w.TLS == nil {
		return fmt.Errorf("listener %s has no certificate", p.addr.text)
	}
	if store == nil {
		return errors.New("this process was given no certificates")
	}
	if p.addr.speaks.requests {
		p.tls, err = store.Set(*l.w.TLS, "http/1.1")
	} else {
		p.tls, err = store.Set(*l.w.TLS)
	}
	return err
}
