package pushdtest

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestFreePortIsHeld: a server can have the port, nobody else gets it by chance.
func TestFreePortIsHeld(t *testing.T) {
	addr := FreeAddr(t)
	if c, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("before anybody listens: %v, %v", c, err)
	}
	for range 2 { // and once more after a restart
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		ln.Close()
	}
	port := FreePort(t)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	// Without SO_REUSEADDR, as the kernel looks for a port itself.
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a stranger's bind: %v", err)
	}
}
