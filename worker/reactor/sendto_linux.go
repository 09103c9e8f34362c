package reactor

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// SendTo sends a datagram from listener i. Errors: ErrFull.
func (r *Reactor[C]) SendTo(i int, to netip.AddrPort, p []byte) error {
	fd := r.listeners[i].FD
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	var at unix.Sockaddr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if domain == unix.AF_INET {
		if !to.Addr().Unmap().Is4() {
			return os.NewSyscallError("sendto", unix.EAFNOSUPPORT)
		}
		at = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()}
	}
	if err := unix.Sendto(fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, at); err == unix.EAGAIN {
		return ErrFull
	} else if err != nil {
		return os.NewSyscallError("sendto", err)
	}
	return nil
}
