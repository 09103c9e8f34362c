package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// TestRedirect: a plain port that a reload makes one that sends on to TLS.
func TestRedirect(t *testing.T) {
	t.Parallel()
	plain := pushdtest.FreeAddr(t)
	config := `
watchdog = 0
[[worker]]
listen = ["ws://` + plain + `", "wss://127.0.0.1:{{port}}"]
tls = { cert = "cert.pem", key = "key.pem" }
count = 1
routes = { "/echo" = "echo" }
`
	s := &secureServer{ca: testkit.NewCA(t)}
	s.Server = pushdtest.Start(t, pushdtest.Options{Manual: true, Config: config})
	s.Secure = true
	s.ca.Write(s.file("cert.pem"), s.file("key.pem"), month, "push.example.com")
	s.MustRun("start", "-d")
	open := pushdtest.Dial(t, plain, "/echo")

	for wrong, want := range map[string]string{
		config + "redirect = \"https:no\"\n":                                      `with the port that clients see`,
		config + "redirect = \"http\"\n":                                          `write "https"`,
		strings.Replace(config, "wss://", "tls://", 1) + "redirect = \"https\"\n": "redirect needs a listener",
	} {
		s.WriteConfig(wrong)
		if r := s.Run("check"); r.Code != 1 || !strings.Contains(r.Stderr, want) {
			t.Errorf("check: %d %s", r.Code, r.Stderr)
		}
	}
	s.WriteConfig(config + "redirect = \"https\"\n")
	if r := reload(t, s.Server); !r.OK || r.Moved != 1 {
		t.Fatalf("%+v", r)
	}
	open.SendText("was there before")
	open.WantText("was there before")

	to := fmt.Sprintf("https://push.example.com:%d", s.Port)
	const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	conn, err := net.Dial("tcp", plain)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(pushdtest.Timeout))
	r := bufio.NewReader(conn)
	for _, c := range []struct {
		request  string
		status   int
		location string
	}{
		{"GET / HTTP/1.1\r\nHost: push.example.com\r\n\r\n", 308, "/"},
		{"POST /a/b%20c?d=e&f=%0d%0a HTTP/1.1\r\nHost: push.example.com:80\r\nContent-Length: 4\r\n\r\nbody", 308, "/a/b%20c?d=e&f=%0d%0a"},
		{"GET //elsewhere.example/x HTTP/1.1\r\nHost: push.example.com\r\n\r\n", 308, "//elsewhere.example/x"},
		{"GET http://push.example.com?q HTTP/1.1\r\nHost: other.example\r\n\r\n", 308, "/?q"},
		{"OPTIONS * HTTP/1.1\r\nHost: push.example.com\r\n\r\n", 308, "/"},
		{"GET /echo?a=1 HTTP/1.1\r\nHost: push.example.com\r\n" + upgrade + "\r\n", 308, "/echo?a=1"},
		{"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, ""},
	} {
		if _, err := io.WriteString(conn, c.request); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%q: %v", c.request, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		want := ""
		if c.location != "" {
			want = to + c.location
		}
		if got := resp.Header.Get("Location"); resp.StatusCode != c.status || got != want {
			t.Errorf("%q: %s, Location %q, not %q", c.request, resp.Status, got, want)
		}
	}
	s.Dial("/echo") // behind TLS it is as it was

	s.WriteConfig(config + "redirect = \"https:443\"\n") // as clients see it
	if r := reload(t, s.Server); !r.OK {
		t.Fatalf("%+v", r)
	}
	if got := location(t, plain); got != "https://push.example.com/a" {
		t.Errorf("Location %q", got)
	}
}

// location is where a request is sent to.
func location(t *testing.T, addr string) string {
	t.Helper()
	b := browse(t, addr)
	if _, err := io.WriteString(b, "GET /a HTTP/1.1\r\nHost: push.example.com\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(b.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Get("Location")
}
