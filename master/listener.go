package master

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// listener is a socket that the master keeps for life, so that what waits in
// its accept queue outlives any worker. It is a bare descriptor: as an os.File
// it would wake the master's poller for each client.
type listener struct {
	endpoint endpoint
	bound    string // endpoint with the port that the kernel chose, if it did
	fd       int
}

// endpoint is where a listener is bound. Two addresses whose endpoints are
// equal are one socket, whatever their schemes.
type endpoint struct {
	network string // "tcp", "udp" or "unix"
	address string // "host:port", or a path
}

// endpointOf reads an address of the plan.
func endpointOf(address string) (endpoint, error) {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok || scheme == "" {
		return endpoint{}, fmt.Errorf("address %q: write it as scheme://host:port or scheme:///path", address)
	}
	if strings.HasPrefix(rest, "/") {
		if scheme == "udp" {
			return endpoint{}, fmt.Errorf("address %q: datagrams over a unix socket are not supported", address)
		}
		return endpoint{"unix", rest}, nil
	}
	if _, _, err := net.SplitHostPort(rest); err != nil {
		return endpoint{}, fmt.Errorf("address %q: %w", address, err)
	}
	if scheme == "udp" {
		return endpoint{"udp", rest}, nil
	}
	return endpoint{"tcp", rest}, nil
}

// bind opens the socket of an address of the plan. For as long as patience says
// it waits for an address that is still in use.
func bind(ctx context.Context, l Listener, patience time.Duration) (*listener, error) {
	e, err := endpointOf(l.Address)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, e)
	for deadline := time.Now().Add(patience); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return nil, explainBind(l.Address, e, err)
		case <-time.After(50 * time.Millisecond):
			s, err = open(ctx, e)
		}
	}
	if err != nil {
		return nil, explainBind(l.Address, e, err)
	}
	if err := s.setOptions(l); err != nil {
		s.close()
		return nil, fmt.Errorf("open listener %s: %w", l.Address, err)
	}
	return s, nil
}

// open makes a listening, or for udp a bound, socket: non-blocking, with a
// backlog of somaxconn.
func open(ctx context.Context, e endpoint) (*listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // costs memory per connection and knows fewer options
	var sock interface {
		syscall.Conn
		Close() error
	}
	var addr net.Addr
	switch e.network {
	case "udp":
		pc, err := lc.ListenPacket(ctx, e.network, e.address)
		if err != nil {
			return nil, err
		}
		sock, addr = pc.(*net.UDPConn), pc.LocalAddr()
	case "unix":
		if err := removeStale(e.address); err != nil {
			return nil, err
		}
		ln, err := lc.Listen(ctx, e.network, e.address)
		if err != nil {
			return nil, err
		}
		u := ln.(*net.UnixListener)
		u.SetUnlinkOnClose(false)
		sock, addr = u, ln.Addr()
	default:
		ln, err := lc.Listen(ctx, e.network, e.address)
		if err != nil {
			return nil, err
		}
		sock, addr = ln.(*net.TCPListener), ln.Addr()
	}
	defer sock.Close()
	rc, err := sock.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &listener{endpoint: e, bound: addr.String()}
	if cerr := rc.Control(func(fd uintptr) { l.fd, err = dupAbove(int(fd), 3) }); cerr != nil || err != nil {
		return nil, errors.Join(cerr, err)
	}
	return l, nil
}

func (l *listener) setOptions(o Listener) error {
	switch l.endpoint.network {
	case "tcp":
		if err := syscall.SetsockoptInt(l.fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
			return fmt.Errorf("set TCP_NODELAY: %w", err)
		}
		if err := setUserTimeout(l.fd, o.UserTimeoutMS); err != nil {
			return fmt.Errorf("set TCP_USER_TIMEOUT: %w", err)
		}
		if err := setKeepAlive(l.fd, o.UserTimeoutMS); err != nil {
			return fmt.Errorf("set keep-alive: %w", err)
		}
	case "unix":
		return setOwner(l.endpoint.address, o)
	}
	return nil
}

// setOwner says who may connect to a unix socket: the group before the mode, so
// that nobody gets in who is meant to stay out.
func setOwner(path string, o Listener) error {
	if o.Group != "" {
		gid, err := lookUpGroup(o.Group)
		if err != nil {
			return err
		}
		if err := os.Lchown(path, -1, int(number(gid))); err != nil {
			return fmt.Errorf("give the socket to group %s: %w (only root may give it to a group that it is not in)", o.Group, err)
		}
	}
	mode := os.FileMode(o.Mode)
	if mode == 0 {
		mode = 0o660
	}
	return os.Chmod(path, mode)
}

// close closes the master's descriptor and removes a unix socket's name. The
// socket itself lives on in the children that inherited it.
func (l *listener) close() {
	syscall.Close(l.fd)
	if l.endpoint.network == "unix" {
		_ = os.Remove(l.endpoint.address) // gone already is as good
	}
}

// lost reports whether the file of a unix socket is gone, so that nobody can
// connect any more.
func (l *listener) lost() bool { return l.endpoint.lost() }

func (e endpoint) lost() bool {
	if e.network != "unix" {
		return false
	}
	info, err := os.Lstat(e.address)
	return errors.Is(err, os.ErrNotExist) || err == nil && info.Mode()&os.ModeSocket == 0
}

// forsake makes l, which is lost, one whose name is nothing to it: generation has
// another socket there.
func (l *listener) forsake(generation int) {
	l.endpoint = endpoint{nameless, fmt.Sprintf("%s before generation %d", l.endpoint.address, generation)}
}

// nameless is the network of a socket that has no name any more.
const nameless = "nameless"

// shown returns address with the port that was bound.
func (l *listener) shown(address string) string {
	if l.endpoint.network == "unix" {
		return address
	}
	if _, port, err := net.SplitHostPort(l.endpoint.address); err == nil && port == "0" {
		host, _, _ := net.SplitHostPort(l.endpoint.address)
		_, port, _ = net.SplitHostPort(l.bound)
		scheme, _, _ := strings.Cut(address, "://")
		return scheme + "://" + net.JoinHostPort(host, port)
	}
	return address
}

// errAnswered says that a unix socket is in use.
var errAnswered = fmt.Errorf("somebody answers on it: %w", syscall.EADDRINUSE)

// removeStale removes a unix socket that nobody answers on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s exists and is no socket: remove it or choose another path", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return errAnswered
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("see whether %s is in use: %w", path, err)
	}
	return os.Remove(path)
}

// InUseError says that an address of the plan is somebody else's.
type InUseError struct {
	Address string // as in the plan
	err     error
}

func (e *InUseError) Error() string { return e.err.Error() }
func (e *InUseError) Unwrap() error { return e.err }

// explainBind turns what the kernel said into what to do.
func explainBind(address string, e endpoint, err error) error {
	explained := explain(address, e, err)
	if errors.Is(err, syscall.EADDRINUSE) {
		return &InUseError{address, explained}
	}
	return explained
}

func explain(address string, e endpoint, err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) || errors.Is(err, errAnswered) {
		return fmt.Errorf("open listener %s: %w", address, err)
	}
	hint := ""
	_, p, _ := net.SplitHostPort(e.address)
	port, _ := strconv.Atoi(p)
	switch {
	case errno == syscall.EADDRINUSE:
		hint = " (find out by whom with ss -lntup, or listen elsewhere)"
		if pid, name := socketOwner(e.network, port); pid == os.Getpid() {
			hint = " (by another listener of this pushd: use restart)"
		} else if pid != 0 {
			hint = fmt.Sprintf(" by pid %d (%s)", pid, name)
		}
	case errno == syscall.EACCES && e.network == "unix":
		hint = " (the directory must be writable for pushd)"
	case errno == syscall.EACCES:
		hint = " (run as root, or listen above 1024)"
	case errno == syscall.EADDRNOTAVAIL:
		hint = " (no interface of this machine has it)"
	case errno == syscall.ENOENT && e.network == "unix":
		hint = " (its folder is not there)"
	case errno == syscall.EINVAL && e.network == "unix":
		hint = " (a socket's path has at most 107 bytes)"
	}
	return fmt.Errorf("open listener %s: %w%s", address, errno, hint)
}
