package worker

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/handover"
)

// TestForwarded: who the client is, by the lines that a trusted proxy passes on,
// as a WebSocket and as a plain request.
func TestForwarded(t *testing.T) {
	w := New(anyWS)
	w.OnConnect = func(c *Conn) { _ = c.SendText(c.RemoteIP()) }
	w.OnRequest = func(w *Response, r *Request) { fmt.Fprint(w, r.Conn().RemoteIP()) }
	s := serve(t, w, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"))
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"none":                      {nil, "127.0.0.1"},
		"one":                       {[]string{"X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
		"a line of the client's":    {[]string{"X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
		"and one of a proxy":        {[]string{"X-Forwarded-For: 6.6.6.6, 203.0.113.9", "x-forwarded-for: 10.1.2.3"}, "203.0.113.9"},
		"all are proxies":           {[]string{"X-Forwarded-For: 10.0.0.1, 10.0.0.2"}, "10.0.0.1"},
		"empty members":             {[]string{"X-Forwarded-For: 203.0.113.9, ,", "X-Forwarded-For:"}, "203.0.113.9"},
		"nothing in it":             {[]string{"X-Forwarded-For: ,", "X-Real-IP: 203.0.113.9"}, "203.0.113.9"},
		"unix":                      {[]string{"X-Forwarded-For: 6.6.6.6, unix:", "X-Real-IP: 6.6.6.6"}, "127.0.0.1"},
		"unix behind a proxy":       {[]string{"X-Forwarded-For: 6.6.6.6, unix:, 10.0.0.1"}, "10.0.0.1"},
		"a zone":                    {[]string{"X-Forwarded-For: fe80::1%eth0"}, "127.0.0.1"},
		"a zone of any bytes":       {[]string{"X-Forwarded-For: [fe80::1%\x80x]:80"}, "127.0.0.1"},
		"with a port":               {[]string{"X-Forwarded-For: 203.0.113.9:4711"}, "203.0.113.9"},
		"IPv6":                      {[]string{"X-Forwarded-For: [2001:db8::1]:80, ::ffff:10.0.0.1"}, "2001:db8::1"},
		"mapped":                    {[]string{"X-Forwarded-For: ::ffff:203.0.113.9"}, "203.0.113.9"},
		"X-Real-IP":                 {[]string{"X-Real-IP: 203.0.113.9"}, "203.0.113.9"},
		"X-Real-IP twice":           {[]string{"X-Real-IP: 6.6.6.6", "X-Real-IP: 203.0.113.9"}, "127.0.0.1"},
		"X-Real-IP is a list":       {[]string{"X-Real-IP: 6.6.6.6, 203.0.113.9"}, "127.0.0.1"},
		"Forwarded":                 {[]string{`Forwarded: for=6.6.6.6, for="203.0.113.9:80";proto=https`, "Forwarded: for=10.1.2.3"}, "203.0.113.9"},
		"Forwarded by name":         {[]string{"Forwarded: for=6.6.6.6, for=_hidden, for=10.1.2.3"}, "10.1.2.3"},
		"Forwarded of the client's": {[]string{"Forwarded: for=6.6.6.6", "X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
		"and beside X-Real-IP":      {[]string{"Forwarded: for=6.6.6.6", "X-Real-IP: 203.0.113.9"}, "203.0.113.9"},
		"X-Real-IP beside the hops": {[]string{"X-Real-IP: 6.6.6.6", "X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
	} {
		t.Run(name, func(t *testing.T) {
			connect(t, s.addrs[0], "/", c.lines...).want(c.want)
			head := "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Join(append(c.lines, ""), "\r\n") + "\r\n"
			plain := dial(t, s.addrs[0])
			if _, body := plain.get(head); body != c.want {
				t.Errorf("a request comes from %q, want %q", body, c.want)
			}
			// The proxy's next client on the same connection.
			if _, body := plain.get("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); body != "127.0.0.1" {
				t.Errorf("the next request comes from %q", body)
			}
			if resp := plain.upgrade("/"); resp.StatusCode != 101 {
				t.Fatal(resp.Status)
			}
			plain.want("127.0.0.1")
		})
	}
}

// TestForwardedHost: the host that the origin is compared with.
func TestForwardedHost(t *testing.T) {
	s := serve(t, New(anyWS), netip.MustParsePrefix("127.0.0.0/8"))
	const host, twice = "X-Forwarded-Host: public.test", "X-Forwarded-Host: evil.test"
	for _, c := range []struct {
		origin string
		lines  []string
		want   int
	}{
		{"https://public.test", []string{host}, 101}, {"https://evil.test", []string{host}, 403},
		{"https://evil.test", []string{twice, host}, 403}, {"https://public.test", []string{twice, host}, 403},
		{"https://public.test", []string{"Forwarded: for=1.2.3.4;host=public.test"}, 101}, {"https://evil.test", []string{"Forwarded: host=evil.test", "X-Forwarded-For: 1.2.3.4"}, 403},
		{"https://evil.test", []string{"Forwarded: host=evil.test", host}, 403}, {"https://evil.test", []string{"Forwarded: for=1.2.3.4;host=evil.test, for=1.2.3.5"}, 403},
		{"http://example.test", []string{twice, host}, 101}, {"http://example.test", []string{"X-Forwarded-Host:"}, 101},
	} {
		if resp := dial(t, s.addrs[0]).upgrade("/", append(c.lines, "Origin: "+c.origin)...); resp.StatusCode != c.want {
			t.Errorf("%s with %q: %s, want %d", c.origin, c.lines, resp.Status, c.want)
		}
	}
}

// visitors is a worker with limits by address.
func visitors(perIP, rate int, listen ...string) *Worker {
	w := New(append(listen, anyWS)...)
	w.Limits.PerIP, w.Limits.PerIPRate = perIP, rate
	w.OnConnect = func(c *Conn) { _ = c.SendText("in") }
	w.OnMessage = func(c *Conn, m Message) { _ = c.Send(m) }
	w.OnRequest = func(w *Response, r *Request) { fmt.Fprint(w, r.Conn().RemoteIP()) }
	return w
}

func from(ip string) string { return "X-Forwarded-For: " + ip }

// TestPerIPBehindProxy: what stays is counted for the visitor and not for the
// proxy, from its handshake to its end, also by the process that takes it over
// and by the one that takes it back.
func TestPerIPBehindProxy(t *testing.T) {
	trusted := netip.MustParsePrefix("127.0.0.0/8")
	b := &testBus{}
	s := launch(t, visitors(2, 0), b, nil, trusted)
	var clients []*client
	for i := range 5 {
		c := connect(t, s.addrs[0], "/", from(fmt.Sprintf("203.0.113.%d", i)))
		c.want("in")
		clients = append(clients, c)
	}
	full := func(s *server, ip string) {
		t.Helper()
		if resp := dial(t, s.addrs[0]).upgrade("/", from(ip)); resp.StatusCode != 429 {
			t.Fatalf("one more of %s: %s, want 429", ip, resp.Status)
		}
	}
	second := connect(t, s.addrs[0], "/", from("203.0.113.1"))
	second.want("in")
	full(s, "203.0.113.1")
	connect(t, s.addrs[0], "/", from("2001:db8:1:2::1")).want("in")
	connect(t, s.addrs[0], "/", from("2001:db8:1:2:ffff::1")).want("in")
	full(s, "2001:db8:1:2::3")
	connect(t, s.addrs[0], "/", from("2001:db8:1:3::1")).want("in")
	for range 3 { // plain requests do not stay
		if _, body := dial(t, s.addrs[0]).get("GET / HTTP/1.1\r\nHost: a\r\n" + from("203.0.113.1") + "\r\n\r\n"); body != "203.0.113.1" {
			t.Fatalf("got %q", body)
		}
	}
	if n := s.stats().HandshakesRefused["per_ip"]; n != 2 {
		t.Errorf("%d are counted as refused, want 2", n)
	}
	s.on(func() { // a batch that comes back
		x := newExport(s.w.loop, nil)
		x.freeze(handover.BatchConns)
		_, fds, err := x.pack()
		must(t, err)
		for _, fd := range fds {
			closeFD(fd)
		}
		x.resume()
	})
	s.eventually("they are back", func() bool { return s.w.loop.visitorsOf("203.0.113.1") == 2 })
	second.text("back")
	second.want("back")
	full(s, "203.0.113.1")
	next, report := s.replace(visitors(2, 0), b)
	if report.Error != "" || report.Moved < 9 {
		t.Fatalf("%+v", report)
	}
	full(next, "203.0.113.1")
	full(next, "2001:db8:1:2::3")
	second.conn.Close()
	next.eventually("there is room", func() bool { return len(next.w.loop.conns.all) > 0 && next.w.loop.visitorsOf("203.0.113.1") == 1 })
	connect(t, next.addrs[0], "/", from("203.0.113.1")).want("in")
	full(next, "203.0.113.1")
	clients[0].text("x")
	clients[0].want("x")
	tight, _ := next.replace(visitors(1, 0), b) // counts, and refuses nobody who is here
	clients[1].text("y")
	clients[1].want("y")
	full(tight, "203.0.113.2")
}

// visitorsOf returns how many connections are counted for an address.
func (l *loop) visitorsOf(ip string) int {
	v := l.accept.byIP[netip.MustParseAddr(ip)]
	if v == nil {
		return 0
	}
	return v.conns
}

// comesTrue tries, off the loop, until ok is true.
func comesTrue(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestPerIPRate: of a stranger on accept, of who comes through a proxy with the
// request.
func TestPerIPRate(t *testing.T) {
	s := serve(t, visitors(0, 3))
	refused := func(s *server) bool { return s.stats().HandshakesRefused["per_ip"] > 0 }
	comesTrue(t, "a stranger comes too often", func() bool {
		conn, err := net.Dial("tcp", s.addrs[0])
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		return refused(s)
	})
	for name, head := range map[string]string{
		"requests": "GET / HTTP/1.1\r\nHost: a\r\n", "handshakes": "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, visitors(0, 3), netip.MustParsePrefix("127.0.0.0/8"))
			for i := range 20 { // all of others, and all at once
				if resp, _ := dial(t, s.addrs[0]).get(head + from(fmt.Sprintf("203.0.113.%d", i)) + "\r\n\r\n"); resp.StatusCode == 429 {
					t.Fatalf("visitor %d: %s", i, resp.Status)
				}
			}
			comesTrue(t, "one visitor comes too often", func() bool {
				resp, _ := dial(t, s.addrs[0]).get(head + from("203.0.113.99") + "\r\n\r\n")
				return resp.StatusCode == 429
			})
			if !refused(s) {
				t.Error("it is not counted")
			}
		})
	}
	// The proxy's connection goes on for its other clients.
	one := serve(t, visitors(0, 1), netip.MustParsePrefix("127.0.0.0/8"))
	c := dial(t, one.addrs[0])
	comesTrue(t, "one is refused, the next is not", func() bool {
		c.write([]byte(strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n"+from("203.0.113.1")+"\r\n\r\n", 2) + "GET / HTTP/1.1\r\nHost: a\r\n" + from("203.0.113.2") + "\r\n\r\n"))
		var got []int
		for range 3 {
			resp, _ := c.response("GET")
			got = append(got, resp.StatusCode)
		}
		return got[1] == 429 && got[2] == 200
	})
}

// TestPerIPOnUnixSocket: peers without an address are not one visitor.
func TestPerIPOnUnixSocket(t *testing.T) {
	for name, trusted := range map[string][]netip.Prefix{"with a proxy": {netip.MustParsePrefix("127.0.0.0/8")}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, visitors(1, 1000, "websocket://"+filepath.Join(t.TempDir(), "s")), trusted...)
			for i := range 3 {
				connect(t, s.addrs[0], "/", from(fmt.Sprintf("203.0.113.%d", i))).want("in")
			}
			want := map[bool]int{true: 429, false: 101}[trusted != nil]
			if resp := dial(t, s.addrs[0]).upgrade("/", from("203.0.113.1")); resp.StatusCode != want {
				t.Errorf("one more: %s, want %d", resp.Status, want)
			}
		})
	}
}
