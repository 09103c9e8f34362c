package api

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// CheckBind says whether a listener of the broker process may be opened. A unix
// socket or loopback address may; any other needs a key, and, where it does not speak
// TLS, an explicit insecure = true. section names the config table for
// the error, e.g. "[api]" or "[[ingest]]"; listen is its address with or
// without a scheme.
func CheckBind(section, listen string, hasKey, insecure bool) error {
	if isLocal(listen) || hasKey && insecure {
		return nil
	}
	missing := "insecure = true"
	if name := strings.ToUpper(strings.Trim(section, "[]")); section == "["+strings.ToLower(name)+"]" { // a list has no variables
		missing += " (PUSHD_" + name + "_INSECURE=true in the environment)"
	}
	switch {
	case !hasKey && !insecure:
		missing = `key = "…" and insecure = true`
	case !hasKey:
		missing = `key = "…"`
	}
	safe := "listen on 127.0.0.1 with a TLS proxy in front"
	if !strings.HasPrefix(section, "[[") {
		safe = `give it tls = { cert = "…", key = "…" }, ` + safe
	}
	return fmt.Errorf("%s listen = %q can be reached from other machines without TLS: %s, or add %s to %s", section, listen, safe, missing, section)
}

// isLocal reports whether only this machine can connect to listen. A name that
// is not "localhost" could resolve to anything.
func isLocal(listen string) bool {
	scheme, rest, found := strings.Cut(listen, "://")
	if !found {
		rest = listen
	}
	if scheme == "unix" || strings.HasPrefix(listen, "/") {
		return true
	}
	host, _, err := net.SplitHostPort(rest)
	if err != nil {
		host = rest
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
