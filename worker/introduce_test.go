package worker

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

const headerOf = "PROXY TCP4 203.0.113.%d 127.0.0.1 4711 80\r\n"

// behindLoadBalancer is a worker with a port of each sort behind a proxy that
// passes bytes through.
func behindLoadBalancer(perIP int) *Worker {
	w := visitors(perIP, 0, "text://127.0.0.1:0")
	w.ProxyProtocol = true
	w.OnConnect = func(c *Conn) { _ = c.SendText("in " + c.RemoteAddr().String()) }
	return w
}

// TestProxyProtocol: the client is who the header names, on every sort of port,
// in any pieces, before and after a reload; and it is counted as that one.
func TestProxyProtocol(t *testing.T) {
	b := &testBus{}
	s := launch(t, behindLoadBalancer(2), b, nil, netip.MustParsePrefix("127.0.0.0/8"))
	lines := func(s *server, n int) *client {
		c := dial(t, s.addrs[0])
		for _, b := range []byte(fmt.Sprintf(headerOf, n)) {
			c.write([]byte{b})
		}
		return c
	}
	web := func(s *server, n int) *client {
		c := dial(t, s.addrs[1])
		c.write(fmt.Appendf(nil, headerOf, n))
		return c
	}
	first := lines(s, 1)
	first.wantBytes("in 203.0.113.1:4711\n")
	second := web(s, 1)
	// What a client says of itself is not believed: the proxy passes it through.
	if resp := second.upgrade("/", from("6.6.6.6")); resp.StatusCode != 101 {
		t.Fatal(resp.Status)
	}
	second.want("in 203.0.113.1:4711")
	full := func(s *server, n int) {
		t.Helper()
		lines(s, n).wantEOF()
		if resp, _ := web(s, n).response("GET"); resp.StatusCode != 429 {
			t.Fatalf("one more: %s", resp.Status)
		}
	}
	full(s, 1)
	lines(s, 2).wantBytes("in 203.0.113.2:4711\n")
	half, rest := dial(t, s.addrs[0]), fmt.Sprintf(headerOf, 4)
	half.write([]byte(rest[:20]))
	s.eventually("half a header is here", func() bool {
		for _, c := range s.w.loop.conns.all {
			if c.in != nil && c.in.wait.len() == 20 {
				return true
			}
		}
		return false
	})
	next, report := s.replace(behindLoadBalancer(2), b)
	if report.Error != "" || report.Moved != 4 {
		t.Fatalf("%+v", report)
	}
	half.write([]byte(rest[20:]))
	half.wantBytes("in 203.0.113.4:4711\n")
	full(next, 1)
	next.on(func() {
		n := 0
		for _, c := range next.w.loop.conns.all {
			if c.open() && c.RemoteAddr() == netip.MustParseAddrPort("203.0.113.1:4711") {
				n++
			}
		}
		if n != 2 || next.w.loop.visitorsOf("203.0.113.1") != 2 {
			t.Errorf("%d connections of the client, %d counted", n, next.w.loop.visitorsOf("203.0.113.1"))
		}
	})
	first.text("still here")
	second.text("still here")
	second.want("still here")
}

// TestProxyProtocolOfNobody: without the header a proxy gets nothing; a stranger's
// header is no header, and he needs none.
func TestProxyProtocolOfNobody(t *testing.T) {
	s := serve(t, behindLoadBalancer(0), netip.MustParsePrefix("127.0.0.0/8"))
	for _, addr := range s.addrs {
		c := dial(t, addr)
		c.write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
		c.wantEOF()
	}
	wrong := dial(t, s.addrs[0])
	wrong.write([]byte("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"))
	wrong.wantEOF()
	s.on(func() { s.w.loop.refused("test", netip.AddrPort{}, "it came here") })
	for _, want := range []string{"no header of the PROXY protocol from a trusted proxy", `client="at a unix socket" hint="it came here"`} {
		if log := s.log.String(); !strings.Contains(log, want) {
			t.Errorf("no %q in %s", want, log)
		}
	}
	if n := s.stats().HandshakesRefused["proxy"]; n != 3 {
		t.Errorf("%d are counted, want 3", n)
	}
	local := dial(t, s.addrs[1]) // the proxy itself: its headers count
	local.write([]byte("PROXY UNKNOWN\r\n"))
	if _, body := local.get("GET / HTTP/1.1\r\nHost: a\r\n" + from("203.0.113.7") + "\r\n\r\n"); body != "203.0.113.7" {
		t.Errorf("got %q", body)
	}
	stranger := serve(t, behindLoadBalancer(0), netip.MustParsePrefix("192.0.2.0/24"))
	if _, body := dial(t, stranger.addrs[1]).get("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); body != "127.0.0.1" {
		t.Errorf("got %q", body)
	}
	if resp, _ := dial(t, stranger.addrs[1]).get(fmt.Sprintf(headerOf, 1) + "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != 400 {
		t.Errorf("a stranger's header: %s", resp.Status)
	}
	quiet := behindLoadBalancer(0)
	quiet.Limits.HandshakeTimeout = 1e9
	silent := serve(t, quiet, netip.MustParsePrefix("127.0.0.0/8"))
	for _, addr := range silent.addrs {
		dial(t, addr).wantEOF()
	}
}
