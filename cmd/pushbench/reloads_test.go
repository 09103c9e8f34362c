package main

import (
	"bytes"
	"errors"
	"flag"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// TestMissedPromise: one line out of reach makes the table fail, and says so.
func TestMissedPromise(t *testing.T) {
	for _, tc := range []struct {
		lost, rate float64
		missed     int
	}{{0, 15_000, 0}, {1, 15_000, 1}, {0, 14_999, 1}, {3, 1, 2}} {
		var out bytes.Buffer
		p := &promises{Context: cli.NewContext(&cli.App{Writer: &out}, flag.NewFlagSet("", flag.ContinueOnError), nil)}
		p.atMost("lost", tc.lost, "", 0)
		p.atLeast("rate", tc.rate, "/s", 15_000)
		err := p.output()
		if n := strings.Count(out.String(), "MISSED"); n != tc.missed || (err != nil) != (n > 0) || err != nil && !errors.Is(err, errFaulty) {
			t.Errorf("%+v: %v\n%s", tc, err, out.String())
		}
	}
}

// TestFreeAddressIsKept: a server gets it, also once more, and nobody by chance.
func TestFreeAddressIsKept(t *testing.T) {
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	at := netip.MustParseAddrPort(address)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); !errors.Is(err, unix.EADDRINUSE) { // as the kernel looks for a port itself
		t.Errorf("a stranger's bind: %v", err)
	}
}
