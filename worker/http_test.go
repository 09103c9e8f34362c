package worker

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// get sends a raw request and reads one response.
func (c *client) get(raw string) (*http.Response, string) {
	c.t.Helper()
	c.write([]byte(raw))
	return c.response("GET")
}

func (c *client) response(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	must(c.t, err)
	body, err := io.ReadAll(resp.Body)
	must(c.t, err)
	return resp, string(body)
}

func TestHTTPKeepAliveAndPipelining(t *testing.T) {
	w := New("http://127.0.0.1:0")
	w.OnRequest = func(w *Response, r *Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	}
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	for i := range 3 {
		if _, body := c.get(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)); body != fmt.Sprintf("GET /%d ", i) {
			t.Fatalf("got %q", body)
		}
	}
	c.write([]byte("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" +
		"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" +
		"HEAD /c HTTP/1.1\r\nHost: a\r\n\r\n"))
	for i, want := range []string{"POST /a hello", "POST /b abcde", ""} {
		method := []string{"POST", "POST", "HEAD"}[i]
		resp, body := c.response(method)
		if body != want || resp.StatusCode != 200 || method == "HEAD" && resp.ContentLength != int64(len("HEAD /c ")) {
			t.Fatalf("response %d: %s %q, want %q", i, resp.Status, body, want)
		}
	}
	c.write([]byte("GET /x HTTP/1.0\r\n\r\n"))
	if resp, _ := c.response("GET"); !resp.Close {
		t.Fatal("HTTP/1.0 without keep-alive must close")
	}
	c.wantEOF()
}

func TestRequestInAnyPieces(t *testing.T) {
	w := New("http://127.0.0.1:0")
	w.OnRequest = func(w *Response, r *Request) { body, _ := io.ReadAll(r.Body); _, _ = w.Write(body) }
	s := serve(t, w)
	raw := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
	for i := 1; i < len(raw); i++ {
		c := dial(t, s.addrs[0])
		c.write([]byte(raw[:i]))
		s.eventually("first piece is read", func() bool {
			for _, c := range w.loop.conns.all {
				if c.bytes.in == uint32(i) {
					return true
				}
			}
			return false
		})
		if _, body := c.get(raw[i:]); body != "abc" {
			t.Fatalf("split at %d: %q", i, body)
		}
		c.conn.Close()
		s.eventually("closed", func() bool { return w.CountConnections() == 0 })
	}
}

// TestNoBody: a status without a body keeps the connection in step, flushed or
// not, and an old client gets a stream unframed at its end.
func TestNoBody(t *testing.T) {
	w := New("http://127.0.0.1:0")
	w.OnRequest = func(w *Response, r *Request) {
		switch r.URL.Path {
		case "/flush":
			w.WriteHeader(204)
			_, _ = w.WriteString("not sent")
			w.Flush()
		case "/plain":
			w.WriteHeader(304)
			_, _ = w.WriteString("not sent")
		default:
			_, _ = w.WriteString("one ")
			w.Flush()
			_, _ = w.WriteString("two")
		}
	}
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	for path, want := range map[string]int{"/flush": 204, "/plain": 304} {
		if resp, body := c.get("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != want || body != "" {
			t.Fatalf("%s: %s %q", path, resp.Status, body)
		}
	}
	if _, body := c.get("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"); body != "one two" {
		t.Fatalf("got %q", body)
	}
	if resp, body := c.get("GET /stream HTTP/1.0\r\n\r\n"); body != "one two" || len(resp.TransferEncoding) != 0 {
		t.Fatalf("got %q in %v", body, resp.TransferEncoding)
	}
	c.wantEOF()
}

func TestExpectContinue(t *testing.T) {
	w := New("http://127.0.0.1:0")
	w.OnRequest = func(w *Response, r *Request) { body, _ := io.ReadAll(r.Body); _, _ = w.Write(body) }
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	c.write([]byte("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"))
	line, err := c.r.ReadString('\n')
	must(t, err)
	if !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("got %q", line)
	}
	_, _ = c.r.ReadString('\n')
	if _, body := c.get("ok"); body != "ok" {
		t.Fatalf("got %q", body)
	}
}

func TestMalformedRequests(t *testing.T) {
	w := New("websocket://127.0.0.1:0")
	w.OnMessage = func(*Conn, Message) {}
	w.OnRequest = func(w *Response, _ *Request) { _, _ = w.WriteString("ok") }
	s := serve(t, w)
	long := strings.Repeat("a", 9000)
	ws := "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for name, tc := range map[string]struct {
		raw  string
		want int
	}{
		"bare LF":        {"GET / HTTP/1.1\nHost: a\n\n", 400},
		"no Host":        {"GET / HTTP/1.1\r\n\r\n", 400},
		"long header":    {"GET / HTTP/1.1\r\nHost: a\r\nX: " + long + "\r\n\r\n", 431},
		"endless header": {"GET / HTTP/1.1\r\nHost: a\r\nX: " + long, 431},
		"many headers":   {"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 101) + "\r\n", 431},
		"big body":       {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413},
		"two lengths":    {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"garbage":        {"\x17\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400},
		"HTTP/2":         {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		"NUL":            {"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", 400},
		"old version":    {"GET / HTTP/1.1\r\nHost: a\r\n" + ws + "Sec-WebSocket-Version: 8\r\n\r\n", 426},
		"no version":     {"GET / HTTP/1.1\r\nHost: a\r\n" + ws + "\r\n", 400},
		"foreign origin": {"GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://evil.test\r\n" + ws + "Sec-WebSocket-Version: 13\r\n\r\n", 403},
		"null origin":    {"GET / HTTP/1.1\r\nHost: a\r\nOrigin: null\r\n" + ws + "Sec-WebSocket-Version: 13\r\n\r\n", 403},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.addrs[0])
			resp, _ := c.get(tc.raw)
			if resp.StatusCode != tc.want {
				t.Fatalf("got %s, want %d", resp.Status, tc.want)
			}
			c.wantEOF()
		})
	}
	if got := s.stats().HandshakesRefused; got["origin"] != 2 {
		t.Fatalf("refused = %v, want 2 by origin", got)
	}
}

func TestDeferredResponseAndStream(t *testing.T) {
	w := New("http://127.0.0.1:0")
	var stream *Response
	w.OnRequest = func(rw *Response, r *Request) {
		switch r.URL.Path {
		case "/later":
			rw.Defer()
			_ = w.Go(func() {
				_ = w.Post(func() { _, _ = rw.WriteString("later"); rw.End() })
			})
		case "/stream":
			rw.Header().Set("Content-Type", "text/event-stream")
			rw.Flush()
			rw.Defer()
			stream = rw
		default:
			_, _ = rw.WriteString("now")
		}
	}
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	c.write([]byte("GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n"))
	for _, want := range []string{"later", "now"} {
		if _, body := c.response("GET"); body != want {
			t.Fatalf("got %q, want %q", body, want)
		}
	}
	c.write([]byte("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"))
	resp, err := http.ReadResponse(c.r, nil)
	must(t, err)
	s.on(func() { _, _ = stream.WriteString("data: 1\n\n"); stream.Flush() })
	buf := make([]byte, 9)
	if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "data: 1\n\n" {
		t.Fatalf("got %q %v", buf, err)
	}
	c.conn.Close()
	s.eventually("the stream's end is noticed", func() bool { _, err := stream.WriteString("x"); return err == ErrClosed })
}

func TestDeferredHandshake(t *testing.T) {
	w := New(anyWS)
	w.OnHandshake = func(c *Conn, h *Handshake) {
		ok := h.Query().Get("ok") == "1"
		h.Choose("v2")
		h.Defer()
		_ = w.Go(func() {
			_ = w.Post(func() {
				if ok {
					h.Accept()
				} else {
					h.Refuse(401, "no")
				}
			})
		})
	}
	w.OnConnect = func(c *Conn) { _ = c.SendText("welcome " + c.Subprotocol()) }
	w.OnMessage = func(c *Conn, m Message) { _ = c.Send(m) }
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/?ok=1", "Sec-WebSocket-Protocol: v1, v2")
	if got := c.resp.Header.Get("Sec-WebSocket-Protocol"); got != "v2" {
		t.Fatalf("subprotocol %q", got)
	}
	c.want("welcome v2")
	c.text("x")
	c.want("x")
	if resp := dial(t, s.addrs[0]).upgrade("/", "Sec-WebSocket-Protocol: v2"); resp.StatusCode != 401 {
		t.Fatalf("got %s", resp.Status)
	}
	d := dial(t, s.addrs[0]) // frames that come before the answer wait for it
	d.write([]byte("GET /?ok=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Protocol: v2\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	d.text("early")
	_, err := http.ReadResponse(d.r, nil)
	must(t, err)
	d.want("welcome v2")
	d.want("early")
}

func TestRoutes(t *testing.T) {
	name := func(n string) Handler { return &named{n} }
	w := New(anyWS)
	w.Routes = []Route{
		{Pattern: "/", Handler: name("root")},
		{Pattern: "/app/{key}", Handler: name("app")},
		{Pattern: "/static/*", Handler: name("static")},
		{Pattern: "/static/deep/*", Handler: name("deep")},
		{Pattern: "/open", Handler: name("open"), Origins: []string{"*"}},
		{Pattern: "/some", Handler: name("some"), Origins: []string{"https://good.test:443", "*.sub.test"}},
	}
	s := serve(t, w)
	for path, want := range map[string]string{
		"/": "root /", "/?q=1": "root /", "/app/k1": "app /app/k1 key=k1", "/static/a": "static /static/a",
		"/static/deep/x/y": "deep /static/deep/x/y",
	} {
		connect(t, s.addrs[0], path).want(want)
	}
	for _, path := range []string{"/nothing", "/app/", "/app/a/b", "/static"} {
		if resp := dial(t, s.addrs[0]).upgrade(path); resp.StatusCode != 404 {
			t.Errorf("%s: %s, want 404", path, resp.Status)
		}
	}
	for _, tc := range []struct {
		path, origin string
		want         int
	}{
		{"/", "http://example.test", 101}, {"/", "https://example.test:8443", 101}, {"/", "http://other.test", 403},
		{"/open", "http://anywhere.test", 101}, {"/open", "null", 101}, {"/some", "https://good.test", 101},
		{"/some", "http://good.test", 403}, {"/some", "http://a.sub.test", 101}, {"/some", "http://sub.test", 403},
	} {
		if resp := dial(t, s.addrs[0]).upgrade(tc.path, "Origin: "+tc.origin); resp.StatusCode != tc.want {
			t.Errorf("%s from %s: %s, want %d", tc.path, tc.origin, resp.Status, tc.want)
		}
	}
	if resp, _ := dial(t, s.addrs[0]).get("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != 426 {
		t.Errorf("plain GET of a WebSocket path: %s, want 426", resp.Status)
	}
	if !strings.Contains(s.log.String(), `add it to the route, as in \"/\" = { handler`) || !strings.Contains(s.log.String(), "origins = [") {
		t.Errorf("the log does not say how to allow an origin: %s", s.log.String())
	}
}

// TestMaxBody: the bodies of requests have a limit of their own.
func TestMaxBody(t *testing.T) {
	w := New("http://127.0.0.1:0")
	w.Limits.MaxMessage, w.Limits.MaxBody = 1, 100
	w.OnRequest = func(w *Response, r *Request) { _, _ = io.Copy(w, r.Body) }
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	for _, n := range []int{100, 101} {
		body := strings.Repeat("x", n)
		resp, got := c.get(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", n, body))
		if n == 100 && got != body || n == 101 && resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%d bytes: %s %q", n, resp.Status, got)
		}
	}
}

// TestPathsOfPatterns: connections of one path share what is known of it, and
// hold nothing of their own; any number of paths is served.
func TestPathsOfPatterns(t *testing.T) {
	w := New(anyWS)
	w.Routes = []Route{{Pattern: "/app/{key}", Handler: &forgetful{}}}
	s := serve(t, w)
	for i := range 3 {
		connect(t, s.addrs[0], fmt.Sprintf("/app/k%d?protocol=7", i/2)).want(fmt.Sprintf("/app/k%d k%d", i/2, i/2))
	}
	s.on(func() {
		routes := map[*route]int{}
		for _, c := range s.w.loop.conns.all {
			routes[c.route]++
			if c.more != nil {
				t.Errorf("%s holds %+v", c.Path(), *c.more)
			}
		}
		if len(routes) != 2 {
			t.Errorf("%d routes for two paths", len(routes))
		}
		r := s.w.loop.paths.Find("/app/x")
		for i := range 3 * maxCopies {
			path := fmt.Sprintf("/app/%d", i)
			if c := r.of(path); c.exact != path || c.params.Param(path, "key") != path[5:] {
				t.Fatalf("%s leads to %s", path, c.exact)
			}
		}
		if len(r.copies) > maxCopies {
			t.Errorf("%d paths are remembered", len(r.copies))
		}
	})
}

type forgetful struct{}

func (*forgetful) OnHandshake(_ *Conn, h *Handshake) { h.ForgetQuery() }
func (*forgetful) OnConnect(c *Conn)                 { _ = c.SendText(c.Path() + " " + c.Param("key")) }

// named is a handler that says who it is.
type named struct{ name string }

func (n *named) OnConnect(c *Conn) {
	text := n.name + " " + c.Path()
	if k := c.Param("key"); k != "" {
		text += " key=" + k
	}
	_ = c.SendText(text)
}

func TestTrustedProxy(t *testing.T) {
	w := New(anyWS)
	w.OnHandshake = func(_ *Conn, h *Handshake) { h.Keep("User-Agent") }
	w.OnConnect = func(c *Conn) { _ = c.SendText(c.RemoteIP() + " " + c.Header("user-agent")) }
	header := []string{"X-Forwarded-For: 9.9.9.9, 203.0.113.7, 127.0.0.2", "X-Forwarded-Host: public.test", "Origin: https://public.test", "User-Agent: ua"}
	s := serve(t, w, netip.MustParsePrefix("127.0.0.0/8"))
	connect(t, s.addrs[0], "/", header...).want("203.0.113.7 ua")
	s2 := serve(t, withOpenOrigin(w))
	connect(t, s2.addrs[0], "/", header...).want("127.0.0.1 ua")
}

func withOpenOrigin(w *Worker) *Worker {
	n := New(anyWS)
	n.Origins = []string{"*"}
	n.OnHandshake, n.OnConnect = w.OnHandshake, w.OnConnect
	return n
}

func TestHandshakeTimeout(t *testing.T) {
	w := New(anyWS)
	w.Limits.HandshakeTimeout = time.Second
	w.OnMessage = func(*Conn, Message) {}
	s := serve(t, w)
	silent, slow := dial(t, s.addrs[0]), dial(t, s.addrs[0])
	slow.write([]byte("GET / HTTP/1.1\r\nHo"))
	silent.wantEOF()
	if resp, _ := slow.response("GET"); resp.StatusCode != 408 {
		t.Fatalf("got %s", resp.Status)
	}
	s.eventually("both are gone", func() bool { return w.CountConnections() == 0 })
}

func TestRequestPanicIsA500(t *testing.T) {
	w := New(anyWS)
	w.OnRequest = func(*Response, *Request) { panic("boom") }
	s := serve(t, w)
	if resp, _ := dial(t, s.addrs[0]).get("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != 500 {
		t.Fatalf("got %s", resp.Status)
	}
}

// TestTLSClient: who speaks TLS to a port without it is answered in TLS, at once.
func TestTLSClient(t *testing.T) {
	s := serve(t, New("websocket://127.0.0.1:0"))
	conn, err := net.Dial("tcp", s.addrs[0])
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	err = tls.Client(conn, &tls.Config{ServerName: "localhost"}).Handshake()
	if err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
		t.Fatalf("the client learned %v, want the alert protocol_version", err)
	}
	if got := s.stats().HandshakesRefused["tls"]; got != 1 {
		t.Fatalf("counted %d TLS clients, want 1", got)
	}
	s.eventually("it is told what to do", func() bool {
		return strings.Contains(s.log.String(), "wss:// or https:// with tls = {")
	})
}
