package main_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// secureWorkers are two workers that speak wss, and one whose clients come
// through a proxy that leaves TLS alone.
type secureWorkers struct {
	*secureServer
	t        *testing.T
	sessions tls.ClientSessionCache
	proxied  string // "127.0.0.1:…"
}

func newSecureWorkers(t *testing.T) *secureWorkers {
	t.Helper()
	s := &secureWorkers{&secureServer{ca: testkit.NewCA(t)}, t, tls.NewLRUClientSessionCache(8), pushdtest.FreeAddr(t)}
	s.Server = pushdtest.Start(t, pushdtest.Options{Manual: true, Env: []string{"PUSHD_TLS_LOOK=1h"}, Config: `
watchdog = 0
trusted_proxies = ["127.0.0.1"]
[[worker]]
name = "push"
listen = "wss://127.0.0.1:{{port}}"
tls = { cert = "cert.pem", key = "key.pem" }
count = 2
routes = { "/echo" = "echo" }
[[worker]]
name = "proxied"
listen = "wss://` + s.proxied + `"
tls = { cert = "cert.pem", key = "key.pem" }
count = 1
proxy_protocol = true
routes = { "/echo" = "echo" }
`})
	s.Secure = true
	s.ca.Write(s.file("cert.pem"), s.file("key.pem"), month, "push.example.com")
	s.MustRun("start", "-d")
	return s
}

// upgrade opens a WebSocket, first in the clear what before says, and returns
// what TLS has agreed on. A session's ticket comes with the answer.
func (s *secureWorkers) upgrade(addr, before string, sessions tls.ClientSessionCache) (tls.ConnectionState, net.Conn) {
	s.t.Helper()
	raw, err := net.DialTimeout("tcp", addr, pushdtest.Timeout)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(2 * pushdtest.Timeout))
	if _, err := io.WriteString(raw, before); err != nil {
		s.t.Fatal(err)
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: s.ca.Pool(), ServerName: "push.example.com", ClientSessionCache: sessions})
	_, err = io.WriteString(conn, "GET /echo HTTP/1.1\r\nHost: push.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatal(resp, err)
	}
	s.echoes(conn, "hello")
	return conn.ConnectionState(), conn
}

// echoes says something over a WebSocket and waits for it.
func (s *secureWorkers) echoes(conn net.Conn, text string) {
	s.t.Helper()
	if _, err := conn.Write(pushdtest.Frame(pushdtest.OpText, []byte(text))); err != nil {
		s.t.Fatal(err)
	}
	if _, got, err := testkit.ReadFrame(conn); err != nil || string(got) != text {
		s.t.Fatalf("%q, not %q: %v", got, text, err)
	}
}

// resumed says whether a client of the worker of that slot resumes its session.
func (s *secureWorkers) resumed(slot int) (yes bool) {
	s.t.Helper()
	s.Alone(slot, func() {
		state, conn := s.upgrade(fmt.Sprintf("127.0.0.1:%d", s.Port), "", s.sessions)
		conn.Close()
		yes = state.DidResume
	}, "push")
	return yes
}

// serials are the serial numbers of the certificates that new clients see, of
// both workers.
func (s *secureWorkers) serials() (all []string) {
	s.t.Helper()
	for slot := range 2 {
		s.Alone(slot, func() {
			state, conn := s.upgrade(fmt.Sprintf("127.0.0.1:%d", s.Port), "", nil)
			conn.Close()
			all = append(all, state.PeerCertificates[0].SerialNumber.String())
		}, "push")
	}
	return all
}

// TestSecureWorkers: what workers behind TLS have in common.
func TestSecureWorkers(t *testing.T) {
	t.Parallel()
	s := newSecureWorkers(t)
	t.Run("a session is resumed at any worker", func(t *testing.T) {
		s.t = t
		if s.resumed(0) {
			t.Error("the first handshake resumes something")
		}
		if !s.resumed(1) || !s.resumed(0) {
			t.Error("the other worker does not know the ticket")
		}
		for range 2 {
			if r := reload(t, s.Server); !r.OK {
				t.Fatalf("%+v", r)
			}
			if !s.resumed(1) || !s.resumed(0) {
				t.Error("the new processes do not know the ticket of the old ones")
			}
		}
	})
	t.Run("a new certificate is for new clients", func(t *testing.T) {
		s.t = t
		open := slices.Concat(s.DialEach("/echo", 2, "push")...)
		before, first := s.Status(), s.serials()
		s.ca.Write(s.file("cert.pem"), s.file("key.pem"), month, "push.example.com")
		if out := s.MustRun("reload", "--json"); strings.Contains(out, `"moved":4`) {
			t.Error("connections have moved:", out)
		}
		for i, w := range s.Status().Workers {
			if w.PID != before.Workers[i].PID {
				t.Errorf("%+v, before %+v", w, before.Workers[i])
			}
		}
		if second := s.serials(); first[0] != first[1] || second[0] != second[1] || first[0] == second[0] {
			t.Errorf("certificates %v, then %v", first, second)
		}
		for _, c := range open {
			c.SendText("still here")
			c.WantText("still here")
			c.Close()
		}
	})
	t.Run("who says nothing is nobody", func(t *testing.T) {
		s.t = t
		for slot := range 2 {
			s.Alone(slot, func() {
				for range 3 {
					c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
					if err != nil {
						t.Fatal(err)
					}
					c.Close()
				}
				c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port)) // one that is refused, behind them
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(pushdtest.Timeout))
				_, _ = io.WriteString(c, "nothing of TLS")
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Error("it is answered")
				}
			}, "push")
		}
		s.onlyRefused("plain", 2)
	})
	t.Run("the proxy's header comes before TLS", func(t *testing.T) {
		s.t = t
		_, conn := s.upgrade(s.proxied, "PROXY TCP4 192.0.2.7 192.0.2.1 4321 443\r\n", nil)
		if list := listing(t, s.Server, ""); len(list) != 1 || list[0].IP != "192.0.2.7" {
			t.Errorf("the client's address is not the one of the header: %+v", list)
		}
		if r := reload(t, s.Server); !r.OK || r.Moved != 1 {
			t.Errorf("%+v", r)
		}
		s.echoes(conn, "moved")
		if list := listing(t, s.Server, ""); len(list) != 1 || list[0].IP != "192.0.2.7" {
			t.Errorf("after a move the client's address is not the one of the header: %+v", list)
		}
	})
}

// onlyRefused waits until the clients of push are gone, and fails the test unless
// n were refused, all for that cause, and the log knows no other.
func (s *secureWorkers) onlyRefused(cause string, n int) {
	s.t.Helper()
	var st struct {
		Workers []struct {
			Connections int
			Refused     map[string]int `json:"handshakes_refused"`
		}
	}
	pushdtest.Eventually(s.t, "the clients are gone", func() bool {
		st.Workers = nil
		if err := json.Unmarshal([]byte(s.MustRun("status", "--json")), &st); err != nil {
			s.t.Fatal(err)
		}
		total := 0
		for _, w := range st.Workers {
			if total += w.Refused[cause]; w.Connections > 0 {
				return false
			}
		}
		return total >= n
	})
	total := 0
	for _, w := range st.Workers {
		for why, times := range w.Refused {
			if total += times; times > 0 && why != cause {
				s.t.Errorf("%d were refused for %s", times, why)
			}
		}
	}
	if log := s.Log(); total != n || strings.Count(log, "refused a client") != strings.Count(log, "cause="+cause) {
		s.t.Errorf("%d were refused, not %d:\n%s", total, n, log)
	}
}
