package worker

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// origins is the rule of one route. The host that the browser connects to is
// always allowed; a request without an Origin header does not come from a
// browser and passes.
type origins struct {
	any     bool
	allowed []origin
}

// origin is an allowed one: scheme and port count when given.
type origin struct {
	scheme, host, port string
	sub                bool // "*.example.com"
}

// parseOrigins reads "https://example.com:8443", "example.com",
// "*.example.com" and "*".
func parseOrigins(list []string) (o origins, err error) {
	for _, s := range list {
		if s == "*" {
			o.any = true
			continue
		}
		a := origin{}
		rest := s
		if scheme, after, ok := strings.Cut(s, "://"); ok {
			a.scheme, rest = strings.ToLower(scheme), after
		}
		a.host, a.port = splitHost(rest)
		if a.port == defaultPort(a.scheme) {
			a.port = "" // browsers leave it out
		}
		if strings.HasPrefix(a.host, "*.") {
			a.sub, a.host = true, a.host[1:]
		}
		if a.host == "" || strings.ContainsAny(a.host, "*/ ") {
			return o, fmt.Errorf(`origin %q: write "https://example.com", "example.com", "*.example.com" or "*"`, s)
		}
		o.allowed = append(o.allowed, a)
	}
	return o, nil
}

// defaultPort returns the port that a scheme implies, "-" for others.
func defaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return "-"
}

// splitHost splits "host:port" and lower-cases the host.
func splitHost(s string) (host, port string) {
	if h, p, err := net.SplitHostPort(s); err == nil {
		return strings.ToLower(h), p
	}
	return strings.ToLower(strings.Trim(s, "[]")), ""
}

// allows reports whether a browser page from origin may connect to host, the
// value of the Host header.
func (o *origins) allows(from, host string) bool {
	if o.any {
		return true
	}
	u, err := url.Parse(from)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return false // "null" among them
	}
	name, port := splitHost(u.Host)
	if port == defaultPort(strings.ToLower(u.Scheme)) {
		port = ""
	}
	if own, _ := splitHost(host); name == own && own != "" {
		return true
	}
	for _, a := range o.allowed {
		if a.scheme != "" && a.scheme != strings.ToLower(u.Scheme) || a.port != "" && a.port != port {
			continue
		}
		if a.host == name || a.sub && strings.HasSuffix(name, a.host) && len(name) > len(a.host) {
			return true
		}
	}
	return false
}
