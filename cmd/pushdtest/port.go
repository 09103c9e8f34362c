package pushdtest

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// FreePort returns a port that is the test's until its end: a socket stays bound to
// it, at all addresses, that does not listen. Whoever asks for any port, or
// connects, from whatever address, gets another one; a server that asks for this
// one, with SO_REUSEADDR as usual, gets it. As a UDP port it is only free at the
// moment.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := holdPort(t)
		pc, err := net.ListenPacket("udp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		pc.Close()
		return port
	}
	t.Fatal("no free port")
	return 0
}

func holdPort(t testing.TB) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(os.NewSyscallError("setsockopt", err))
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{}); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	return sa.(*syscall.SockaddrInet4).Port
}
