package config

import (
	"net"
	"path/filepath"
	"strings"
)

// Which addresses of a config are in each other's way.

// socketKey is equal for two addresses that name the same socket.
func socketKey(addr string) string {
	scheme, rest, _ := strings.Cut(addr, "://")
	if strings.HasPrefix(rest, "unix://") {
		scheme, rest, _ = strings.Cut(rest, "://")
	}
	switch {
	case strings.HasPrefix(rest, "/"):
		return "unix " + place(rest)
	case scheme == "udp":
		return "udp " + rest
	}
	return "tcp " + rest
}

// place is one name of a path that may have several.
func place(path string) string {
	dir, name := filepath.Split(filepath.Clean(path))
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return filepath.Join(dir, name)
}

// claims are the sockets of a config.
type claims []claimed

type claimed struct{ shown, at, key string }

// add notes a socket and returns an earlier one that leaves no room for it.
func (c *claims) add(shown, at, key string) (other *claimed) {
	for i := range *c {
		if overlap((*c)[i].key, key) {
			return &(*c)[i]
		}
	}
	*c = append(*c, claimed{shown, at, key})
	return nil
}

// overlap reports whether only one of two sockets can be bound: they are the
// same, or one is that port of all addresses.
func overlap(a, b string) bool {
	if a == b {
		return true
	}
	kindA, restA, _ := strings.Cut(a, " ")
	kindB, restB, _ := strings.Cut(b, " ")
	hostA, portA, errA := net.SplitHostPort(restA)
	hostB, portB, errB := net.SplitHostPort(restB)
	if kindA != kindB || portA != portB || portA == "0" || errA != nil || errB != nil {
		return false
	}
	return anyHost(hostA) || anyHost(hostB) || plainHost(hostA) == plainHost(hostB)
}

// anyHost reports whether a host means all addresses, of IPv4 and IPv6.
func anyHost(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }

func plainHost(host string) string {
	if host == "localhost" {
		return "127.0.0.1"
	}
	return host
}
