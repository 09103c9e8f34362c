package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"

	"golang.org/x/sys/unix"
)

// Target is where to connect, and what the handshake asks for.
type Target struct {
	Host   string // as the Host header says it
	Path   string // with query
	Origin string // header of that name; "" sends none
	Header string // more lines of the request of a stream or a poll, each with its CRLF

	// ReceiveBuffer is SO_RCVBUF in bytes; 0 leaves the kernel's own.
	ReceiveBuffer int

	// TLS is set for wss addresses. A server on this machine is believed without a
	// look at its certificate, which would cost the client more than the server.
	TLS *tls.Config

	way     way
	address netip.AddrPort
	sources []netip.Addr
	next    int // whose turn it is among sources
}

// ParseTarget reads a ws://, wss://, sse:// or poll:// URL and looks its host up. Connections leave from
// the source addresses in turn, or from where the kernel likes without any.
func ParseTarget(rawURL string, sources []string) (*Target, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	by, known := ways[u.Scheme]
	if !known || u.Hostname() == "" {
		return nil, fmt.Errorf("url %q: want ws://host:port/path, wss://…, sse://… or poll://…", rawURL)
	}
	if by == byPolls && u.RawQuery == "" {
		return nil, fmt.Errorf("url %q: a poll says how long it waits: ?poll=1m", rawURL)
	}
	port := u.Port()
	if port == "" {
		if port = "80"; u.Scheme == "wss" {
			port = "443"
		}
	}
	address, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("url %q: %w", rawURL, err)
	}
	t := &Target{Host: u.Host, Path: u.RequestURI(), way: by, address: address.AddrPort()}
	t.address = netip.AddrPortFrom(t.address.Addr().Unmap(), t.address.Port())
	if u.Scheme == "wss" {
		t.TLS = &tls.Config{ServerName: u.Hostname(), NextProtos: []string{"http/1.1"}, InsecureSkipVerify: t.Loopback()}
	}
	for _, s := range sources {
		source, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("source address: %w", err)
		}
		if source.Is4() != t.address.Addr().Is4() {
			return nil, fmt.Errorf("source address %s and target %s are of different families", source, t.address)
		}
		t.sources = append(t.sources, source)
	}
	return t, nil
}

// Copy returns one of its own for a connection that asks for something else than others
// do; n chooses the source address.
func (t *Target) Copy(n int) *Target {
	c := *t
	c.next = n
	return &c
}

// Loopback says whether the target is on this machine under 127.0.0.0/8,
// where any source address of that network may be used.
func (t *Target) Loopback() bool {
	return t.address.Addr().Is4() && t.address.Addr().IsLoopback()
}

// dial starts a non-blocking connect and returns its descriptor.
func (t *Target) dial() (int, error) {
	family := unix.AF_INET
	if t.address.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := t.connect(fd); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (t *Target) connect(fd int) error {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if t.ReceiveBuffer > 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, t.ReceiveBuffer)
	}
	if len(t.sources) > 0 {
		source := t.sources[t.next%len(t.sources)]
		t.next++
		// The port is chosen at connect, so that it need only be free towards this target.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0))); err != nil {
			return fmt.Errorf("bind %s: %w", source, err)
		}
	}
	err := unix.Connect(fd, sockaddr(t.address))
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect %s: %w", t.address, err)
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
