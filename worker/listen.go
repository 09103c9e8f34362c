package worker

import (
	"fmt"
	"net"
	"strings"

	"github.com/pushd/pushd/protocol"
	_ "github.com/pushd/pushd/protocol/frame" // the built-in packet protocols
	_ "github.com/pushd/pushd/protocol/raw"
	_ "github.com/pushd/pushd/protocol/text"
)

// listenAddr is a parsed listen address.
type listenAddr struct {
	text   string            // as configured
	scheme string            // "websocket", "http", "text" …
	local  string            // "host:port" or a path
	speaks *transport        // what a connection speaks at first, of what it may say in the clear
	packet protocol.Protocol // of transportPacket and transportDatagram, else nil
	udp    bool
	secure bool // behind TLS
}

// plainScheme takes the TLS out of a scheme: "wss", "https", "tls" (that is tcp)
// and "text+tls" are what they are without it, behind TLS.
func plainScheme(scheme string) (plain string, secure bool) {
	switch scheme {
	case "ws":
		return "websocket", false
	case "wss":
		return "websocket", true
	case "https":
		return "http", true
	case "tls":
		return "tcp", true
	}
	plain, secure = strings.CutSuffix(scheme, "+tls")
	return plain, secure
}

// parseListen splits "scheme://host:port" or "scheme:///path".
func parseListen(addr string) (listenAddr, error) {
	scheme, rest, ok := strings.Cut(addr, "://")
	if !ok || scheme == "" || rest == "" {
		return listenAddr{}, fmt.Errorf("listen address %q: write scheme://host:port, e.g. websocket://0.0.0.0:2346", addr)
	}
	a := listenAddr{text: addr, local: rest}
	a.scheme, a.secure = plainScheme(scheme)
	a.udp = a.scheme == "udp"
	if a.secure && a.udp {
		return a, fmt.Errorf("listen address %q: there is no TLS for datagrams", addr)
	}
	scheme = a.scheme
	if a.speaks = schemes[a.scheme]; a.speaks == nil {
		a.speaks = transportPacket
	}
	if a.speaks == transportPacket || a.udp {
		if a.packet, ok = protocol.Lookup(scheme); !ok {
			return a, fmt.Errorf("listen address %q: no protocol %q (there are websocket, http and %s)",
				addr, scheme, strings.Join(protocol.Names(), ", "))
		}
	}
	if strings.HasPrefix(rest, "/") {
		if a.udp {
			return a, fmt.Errorf("listen address %q: udp needs host:port", addr)
		}
		return a, nil
	}
	if _, port, err := net.SplitHostPort(rest); err != nil || port == "" || scheme == "unix" {
		if scheme == "unix" {
			return a, fmt.Errorf("listen address %q: unix needs an absolute path, e.g. unix:///run/app.sock", addr)
		}
		return a, fmt.Errorf("listen address %q: %q is no host:port", addr, rest)
	}
	return a, nil
}
