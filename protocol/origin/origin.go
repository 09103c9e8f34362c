// Package origin says from which pages browsers may connect.
package origin

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Rule says which origins are allowed; the zero Rule, none. The host that the
// browser connects to always is. It never changes: any goroutine may ask it.
type Rule struct {
	any     bool
	exact   []string // of no host
	allowed []place
}

// place is an allowed one: scheme and port count when given.
type place struct {
	scheme, host, port string
	sub                bool // "*.example.com"
}

// Parse reads "https://example.com:8443", "example.com", "*.example.com",
// "*", and "null" and "file://", which stand for themselves.
func Parse(list []string) (o Rule, err error) {
	var wrong []string
	for _, s := range list {
		switch s {
		case "*":
			o.any = true
		case "null", "file://":
			o.exact = append(o.exact, s)
		default:
			a, ok := parsePlace(s)
			if !ok {
				wrong = append(wrong, strconv.Quote(s))
				continue
			}
			o.allowed = append(o.allowed, a)
		}
	}
	if len(wrong) > 0 { // no browser sends them, and no entry is to stand there in vain
		err = fmt.Errorf(`origin %s: write "https://example.com", "example.com", "*.example.com", "file://", "null" or "*", without a path, other letters as browsers send them (xn--…)`, strings.Join(wrong, ", "))
	}
	return o, err
}

func parsePlace(s string) (a place, ok bool) {
	rest := s
	if scheme, after, given := strings.Cut(s, "://"); given {
		if a.scheme, rest = strings.ToLower(scheme), after; !isScheme(a.scheme) {
			return a, false
		}
	}
	a.host, a.port = SplitHost(rest)
	if strings.HasPrefix(a.host, "*.") {
		a.sub, a.host = true, a.host[1:]
	}
	return a, a.host != "null" && !(a.sub && a.host == ".") && IsHost(a.host) && isPort(a.port, strings.HasSuffix(rest, ":"))
}

// isScheme reports whether pages can come from there. ws and wss are where they
// connect to; files have no host.
func isScheme(s string) bool {
	return s != "" && s != "ws" && s != "wss" && s != "file" && 'a' <= s[0] && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// IsHost reports whether a browser can send that host, or what follows "*".
func IsHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == "" && a.String() == s
	}
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-._~") == "" && s != ".." && !strings.Contains(s[1:], "..")
}

// isPort reports whether s is a port as browsers write it, or none.
func isPort(s string, colon bool) bool {
	if s == "" {
		return !colon
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == s
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

// SplitHost splits "host:port" and lower-cases the host.
func SplitHost(s string) (host, port string) {
	if h, p, err := net.SplitHostPort(s); err == nil {
		return strings.ToLower(h), p
	}
	return strings.ToLower(strings.Trim(s, "[]")), ""
}

// Allows reports whether a browser page from origin may connect to host, the
// value of the Host header. A request without an Origin header does not come from
// a browser; it is not asked about.
func (o *Rule) Allows(from, host string) bool {
	return o.any || slices.Contains(o.exact, from) || o.Names(from, host)
}

// Any reports whether pages of all origins may.
func (o *Rule) Any() bool { return o.any }

// Names reports whether the rule names the origin, or it is that of host, so that
// a page from there is known: not one that "*" lets in, nor "null".
func (o *Rule) Names(from, host string) bool {
	u, err := url.Parse(from)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return false // "null" among them
	}
	scheme := strings.ToLower(u.Scheme)
	name, port := SplitHost(u.Host)
	if port == "" {
		port = defaultPort(scheme) // browsers leave it out
	}
	if own, _ := SplitHost(host); name == own && own != "" {
		return true
	}
	for _, a := range o.allowed {
		if a.scheme != "" && a.scheme != scheme || a.port != "" && a.port != port {
			continue
		}
		if a.host == name || a.sub && strings.HasSuffix(name, a.host) && len(name) > len(a.host) {
			return true
		}
	}
	return false
}
