package client

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
)

// echoes is a wss server that sends each message back, and counts resumptions.
func echoes(t *testing.T, change func(*tls.Config)) (target *Target, resumed *atomic.Int32) {
	t.Helper()
	cert, key := testkit.NewCA(t).Issue(time.Hour, []string{"127.0.0.1"})
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	change(config)
	resumed = new(atomic.Int32)
	target = listen(t, func(c net.Conn) {
		s := tls.Server(c, config)
		if _, err := ws.Upgrade(s); err != nil {
			return
		}
		if s.ConnectionState().DidResume {
			resumed.Add(1)
		}
		for {
			data, op, err := wsutil.ReadClientData(s)
			if err != nil || wsutil.WriteServerMessage(s, op, data) != nil {
				return
			}
		}
	})
	target.TLS = &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	return target, resumed
}

func TestSecure(t *testing.T) {
	big := strings.Repeat("x", 300_000)
	for name, change := range map[string]func(*tls.Config){
		"1.3": func(*tls.Config) {},
		"1.2": func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
	} {
		t.Run(name, func(t *testing.T) {
			target, resumed := echoes(t, change)
			l, err := NewLoop()
			if err != nil {
				t.Fatal(err)
			}
			done, known := 0, 0
			h := &log{}
			h.onOpen = func(c *Conn) {
				if c.Resumed() {
					known++
				}
				l.Send(c, Text, []byte("hi"))
			}
			h.onMsg = func(c *Conn, data []byte) {
				switch string(data) {
				case "hi":
					l.Send(c, Binary, []byte(big))
				case big:
					l.Close(c)
				default:
					t.Errorf("got %d bytes", len(data))
				}
			}
			h.onEnd = func(*Conn, error) {
				if done++; done == 3 {
					l.Stop()
					return
				}
				l.Dial(target, h, 0)
			}
			l.Dial(target, h, 0)
			if err := l.Run(); err != nil {
				t.Fatal(err)
			}
			one := []string{"opened", "1 hi", "2 xxxxx…300000", "closed <nil>"}
			if got := strings.Join(h.events, "\n"); got != strings.Join(append(append(one, one...), one...), "\n") {
				t.Errorf("%s", got)
			}
			if n := resumed.Load(); n != 2 || known != 2 {
				t.Errorf("%d of 3 connections were resumed, not 2; the client says %d", n, known)
			}
		})
	}
}

// A server that is no TLS server, or ends in the handshake, or a connection that
// is given up in it, leaves nothing behind.
func TestSecureFails(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"plain": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
		"ends":  func(net.Conn) {},
		"half":  func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 3, 1, 0, 2}) },
	} {
		target := listen(t, serve)
		target.TLS = &tls.Config{InsecureSkipVerify: true}
		h := &log{}
		runOne(t, target, h)
		if len(h.events) != 1 || !strings.HasPrefix(h.events[0], "closed") || strings.HasSuffix(h.events[0], "<nil>") {
			t.Errorf("%s: %q", name, h.events)
		}
	}
}
