package worker

import (
	"errors"
	"fmt"
	"net"
	nethttp "net/http"
	"net/netip"
	"strings"

	"github.com/pushd/pushd/protocol/origin"
)

// redirects reports whether requests that come by the port are sent to the one
// behind TLS. Who comes over a unix socket is a proxy, and stays.
func (a *listenAddr) redirects(s *Settings) bool {
	return s.Redirect != "" && a.speaks.requests && !a.secure && !strings.HasPrefix(a.local, "/")
}

// securePort returns the port of the first of the addresses that takes requests
// behind TLS, "" for none. Port 0 is none that a client could be sent to.
func securePort(listen []string) string {
	for _, text := range listen {
		if a, err := parseListen(text); err == nil && a.secure && a.speaks.requests {
			if _, port, err := net.SplitHostPort(a.local); err == nil && port != "0" {
				return port
			}
		}
	}
	return ""
}

// checkRedirect finds out whether there are listeners from which and to which
// clients can be sent.
func checkRedirect(listen []string, s *Settings) error {
	if s.Redirect == "" {
		return nil
	}
	if securePort(listen) == "" {
		return errors.New(`redirect needs a listener to send clients to: add "https://0.0.0.0:443" or "wss://…" to listen`)
	}
	for _, text := range listen {
		if a, err := parseListen(text); err == nil && a.redirects(s) {
			return nil
		}
	}
	return fmt.Errorf(`redirect needs a listener whose clients it sends on: add "http://0.0.0.0:80" or "ws://…" to listen = %q`, listen)
}

// direct tells each port where it sends its requests.
func (l *loop) direct() {
	public, named, _ := l.w.RedirectPort() // checked with the settings
	var listen []string
	for _, p := range l.ports {
		listen = append(listen, p.addr.text)
	}
	for _, p := range l.ports {
		if p.addr.redirects(&l.w.Settings) {
			if p.redirect = securePort(listen); named {
				p.redirect = public
			}
		}
	}
}

// redirected answers a request with the place behind TLS: the host that the client
// has asked for, at the port of the listener there. 308 keeps method and body.
func (w *Response) redirected(host, target string) {
	to := hostBehindTLS(host, w.c.port.redirect)
	if to == "" {
		w.fail(nethttp.StatusBadRequest, "the Host header names no host that a client could be sent to")
		return
	}
	if !strings.HasPrefix(target, "/") { // "*", "?query" of a URL without a path
		_, query, asked := strings.Cut(target, "?")
		if target = "/"; asked {
			target += "?" + query
		}
	}
	w.header.Set("Location", "https://"+to+target)
	w.fail(nethttp.StatusPermanentRedirect, "this port sends on to https:// and wss://")
}

// hostBehindTLS puts the port of the TLS listener in place of that of a Host
// header. It returns "" for what is no host, and may come from anybody.
func hostBehindTLS(host, port string) string {
	name, _ := origin.SplitHost(host)
	if a, err := netip.ParseAddr(name); err == nil {
		name = a.String()
	}
	if !origin.IsHost(name) {
		return ""
	}
	if port != "443" {
		return net.JoinHostPort(name, port)
	}
	if strings.Contains(name, ":") {
		return "[" + name + "]"
	}
	return name
}
