package worker

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/certs"
)

const anyWSS = "wss://127.0.0.1:0"

// testStore has the one certificate of the TLS listeners of these tests, which
// nobody trusts, and ticket keys.
var testStore = sync.OnceValue(func() *certs.Store {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"push.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	pair := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	store, tickets := certs.NewStore(), certs.NewTickets()
	for _, src := range testTLS.Sources() {
		data := pair
		if src.Kind == certs.KindTickets {
			data = tickets
		}
		if err := store.Put(src.Name, src.Kind, bytes.Clone(data)); err != nil {
			panic(err)
		}
	}
	return store
})

var testTLS = &TLS{Certificates: []certs.Files{{Cert: "test.pem", Key: "test.pem"}}}

// certified gives a worker with TLS listeners what they need.
func certified(w *Worker) *certs.Store {
	if !slices.ContainsFunc(w.Listen(), IsSecure) {
		return nil
	}
	w.TLS = testTLS
	return testStore()
}

var v12 = &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}
var v13 = &tls.Config{InsecureSkipVerify: true}

// over gives a client TLS.
func (c *client) over(config *tls.Config) *client {
	c.t.Helper()
	conn := tls.Client(c.conn, config)
	must(c.t, conn.Handshake())
	c.conn, c.r = conn, bufio.NewReaderSize(conn, 1<<16)
	return c
}

// connectTLS opens a WebSocket under TLS.
func connectTLS(t testing.TB, addr string, config *tls.Config) *client {
	t.Helper()
	c := dial(t, addr).over(config)
	if resp := c.upgrade("/"); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp.Status)
	}
	return c
}

// versions runs a test by TLS 1.3 and 1.2.
func versions(t *testing.T, test func(t *testing.T, config *tls.Config)) {
	t.Run("1.3", func(t *testing.T) { test(t, v13) })
	t.Run("1.2", func(t *testing.T) { test(t, v12) })
}

func TestTLSEcho(t *testing.T) {
	versions(t, func(t *testing.T, config *tls.Config) {
		w, e := newEchoer(anyWSS)
		w.Limits.MaxMessage, w.Limits.MaxQueue = 1<<20, 4<<20
		s := serve(t, w)
		c := connectTLS(t, s.addrs[0], config)
		for _, n := range []int{1, 125, 16_000, 70_000, 1 << 20} {
			text := strings.Repeat("ü", n/2) + "!"
			if n == 1<<20 {
				text = strings.Repeat("x", n)
			}
			c.text(text)
			c.want(text)
		}
		var page ConnPage
		s.query("connections", ConnQuery{}, &page)
		want := "1.3 AES128"
		if config == v12 {
			want = "1.2 AES128"
		}
		if len(page.Connections) != 1 || page.Connections[0].TLS != want || page.Connections[0].Protocol != "websocket" {
			t.Errorf("%+v", page.Connections)
		}
		s.on(func() {
			at := w.loop.conns.all[0]
			if at.more != nil || at.in != nil || at.out != nil || e.connects != 1 {
				t.Errorf("an idle connection has more than it needs: %+v %+v %+v", at.more, at.in, at.out)
			}
			at.Close(1000, "bye")
		})
		c.wantClose(1000)
		c.write(mask(0x88, []byte{3, 232}))
		if _, err := c.r.ReadByte(); err != io.EOF { // close_notify: io.EOF of crypto/tls
			t.Error("the stream ends without close_notify:", err)
		}
		s.eventually("it is gone", func() bool { return e.closes == 1 && w.loop.conns.len() == 0 })
	})
}

func TestTLSOfEveryKind(t *testing.T) {
	versions(t, func(t *testing.T, config *tls.Config) {
		w, _ := newEchoer("https://127.0.0.1:0", "text+tls://127.0.0.1:0", "tls://127.0.0.1:0")
		w.OnRequest = func(r *Response, q *Request) { _, _ = r.Write([]byte("path " + q.URL.Path)) }
		s := serve(t, w)
		c := dial(t, s.addrs[0]).over(config)
		for range 3 {
			c.write([]byte("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"))
			if resp, body := c.response("GET"); resp.StatusCode != 200 || body != "path /x" {
				t.Fatal(resp.Status, body)
			}
		}
		for _, addr := range s.addrs[1:] {
			c = dial(t, addr).over(config)
			c.write([]byte("hello\n"))
			if line, err := c.r.ReadString('\n'); line != "hello\n" {
				t.Fatalf("%q %v", line, err)
			}
		}
		must(t, c.conn.(*tls.Conn).CloseWrite()) // our close_notify is answered with one
		c.wantEOF()
	})
}

// TestTLSRequestAndCloseNotify: who says all at once is answered.
func TestTLSRequestAndCloseNotify(t *testing.T) {
	w, _ := newEchoer("https://127.0.0.1:0")
	w.OnRequest = func(r *Response, _ *Request) { _, _ = r.Write([]byte("ok")) }
	s := serve(t, w)
	c := dial(t, s.addrs[0]).over(v13)
	c.write([]byte("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"))
	must(t, c.conn.(*tls.Conn).CloseWrite())
	if resp, body := c.response("GET"); resp.StatusCode != 200 || body != "ok" {
		t.Fatal(resp.Status, body)
	}
	c.wantEOF()
}

func TestPlainClientAtTLSPort(t *testing.T) {
	w, _ := newEchoer(anyWSS, "tls://127.0.0.1:0")
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	c.write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	if resp, body := c.response("GET"); resp.StatusCode != 400 || !strings.Contains(body, "this port speaks TLS: use wss:// or https://") {
		t.Errorf("%s %q", resp.Status, body)
	}
	c = dial(t, s.addrs[1])
	c.write([]byte("hello\n"))
	c.wantEOF()
	silent := dial(t, s.addrs[0]) // as a health check
	silent.conn.Close()
	s.eventually("all have left", func() bool { return w.loop.conns.len() == 0 })
	if st := s.stats(); st.HandshakesRefused["plain"] != 2 || len(st.HandshakesRefused) != 1 {
		t.Error(st.HandshakesRefused)
	}
	if !strings.Contains(s.log.String(), "forceTLS: true") {
		t.Error(s.log)
	}
}

// pieces is a connection that writes a byte at a time.
type pieces struct{ net.Conn }

func (p pieces) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := p.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// TestTLSInPieces: a byte at a time, the handshake too; a record costs its bytes
// once.
func TestTLSInPieces(t *testing.T) {
	versions(t, func(t *testing.T, config *tls.Config) {
		w, _ := newEchoer(anyWSS)
		s := serve(t, w)
		c := dial(t, s.addrs[0])
		must(t, c.conn.(*net.TCPConn).SetNoDelay(true))
		c.conn = pieces{c.conn}
		c.over(config)
		c.upgrade("/")
		text := strings.Repeat("x", 3000)
		c.text(text)
		c.want(text)
	})
}

func TestTLSHandshakeRefused(t *testing.T) {
	w, _ := newEchoer(anyWSS)
	s := serve(t, w)
	for _, config := range []*tls.Config{
		{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		{InsecureSkipVerify: true, NextProtos: []string{"h2"}},
		{ServerName: "push.example.com"}, // does not trust us
	} {
		if err := tls.Client(dial(t, s.addrs[0]).conn, config).Handshake(); err == nil {
			t.Error("let in")
		}
	}
	c := dial(t, s.addrs[0])
	c.write([]byte{22, 3, 1, 0, 5, 1, 0, 0, 1, 0})
	if b, err := io.ReadAll(c.r); err != nil || len(b) != 7 || b[0] != 21 {
		t.Errorf("%x %v", b, err)
	}
	c = dial(t, s.addrs[0])
	c.write(append([]byte{22, 3, 1, 0xff, 0xff}, make([]byte, 20_000)...))
	if b, err := io.ReadAll(c.r); err != nil || len(b) != 7 || b[0] != 21 || b[6] != 22 {
		t.Errorf("an oversized record is answered with %x %v", b, err)
	}
	s.eventually("all have left", func() bool { return w.loop.conns.len() == 0 && w.loop.secure.shakes == 0 })
	if n := s.stats().HandshakesRefused["tls_handshake"]; n != 5 {
		t.Errorf("%d refused", n)
	}
}

// TestTLSBroken: a record that is none ends the connection with an alert, and what
// came before it counts.
func TestTLSBroken(t *testing.T) {
	versions(t, func(t *testing.T, config *tls.Config) {
		w, e := newEchoer(anyWSS)
		var cause error
		w.OnClose = func(_ *Conn, err error) { e.closes++; cause = err }
		s := serve(t, w)
		c := dial(t, s.addrs[0])
		raw := c.conn
		c.over(config).upgrade("/")
		c.text("before")
		_, err := raw.Write([]byte{23, 3, 3, 0, 40, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		must(t, err)
		c.want("before")
		if _, _, err := c.frame(); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
			t.Error(err)
		}
		c.conn.Close()
		s.eventually("it is gone", func() bool { return e.closes == 1 })
		s.on(func() {
			if cause == nil || !strings.Contains(cause.Error(), "bad_record_mac") {
				t.Error(cause)
			}
		})
	})
}

// TestTLSHandshakesAtOnce: with room for one, others wait for it, and one that
// stalls gives way to them.
func TestTLSHandshakesAtOnce(t *testing.T) {
	w, _ := newEchoer(anyWSS)
	w.Limits.TLSHandshakes, w.Limits.HandshakeTimeout = 1, time.Hour
	s := serve(t, w)
	stallTLS(t, s.addrs[0])
	s.eventually("it is under way", func() bool { return w.loop.secure.shakes == 1 })
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			c := tls.Client(dialLater(t, s.addrs[0]), v13)
			defer c.Close()
			if err := c.Handshake(); err != nil {
				t.Error(err)
			}
		})
	}
	s.eventually("the others wait", func() bool { return len(w.loop.secure.queue) > 0 })
	wg.Wait()
	s.eventually("nothing is left", func() bool { return w.loop.secure.shakes == 0 && w.loop.secure.queue == nil })
	if st := s.stats(); st.HandshakesRefused["timeout"] != 1 {
		t.Error(st.HandshakesRefused)
	}
}

func dialLater(t testing.TB, addr string) net.Conn {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Error(err)
		return nil
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// stallTLS begins a handshake and does not go on with it.
func stallTLS(t testing.TB, addr string) net.Conn {
	conn := dial(t, addr).conn
	hello := helloOf(t, v13)
	_, err := conn.Write(hello)
	must(t, err)
	return conn
}

// helloOf returns the ClientHello of a client.
func helloOf(t testing.TB, config *tls.Config) []byte {
	a, b := net.Pipe()
	go func() { _ = tls.Client(a, config).Handshake() }()
	defer a.Close()
	hello := make([]byte, 5)
	_, err := io.ReadFull(b, hello)
	must(t, err)
	hello = append(hello, make([]byte, int(hello[3])<<8+int(hello[4]))...)
	_, err = io.ReadFull(b, hello[5:])
	must(t, err)
	return hello
}

// TestTLSAhead: what a client sends while its handshake waits is bounded.
func TestTLSAhead(t *testing.T) {
	w, _ := newEchoer(anyWSS)
	s := serve(t, w)
	conn := stallTLS(t, s.addrs[0])
	go func() { _, _ = conn.Write(bytes.Repeat([]byte{23}, 8<<20)) }()
	s.eventually("it is muted", func() bool {
		return w.loop.conns.len() == 1 && w.loop.conns.all[0].has(flagMuted) || w.loop.counts.refusedBy.copy()["tls_handshake"] > 0
	})
	s.on(func() {
		if w.loop.conns.len() == 1 {
			if c := w.loop.conns.all[0]; c.in != nil && c.in.wait.len() > 3*maxAhead {
				t.Errorf("%d bytes wait", c.in.wait.len())
			}
		}
	})
}

// TestTLSFanout: a message to many is queued in the clear, once, and each gets it
// sealed; who reads slowly gets all of it later.
func TestTLSFanout(t *testing.T) {
	versions(t, func(t *testing.T, config *tls.Config) {
		w, _ := newEchoer(anyWSS)
		w.Limits.MaxQueue = 64 << 20
		s := serve(t, w)
		var all []*client
		for range 5 {
			all = append(all, connectTLS(t, s.addrs[0], config))
		}
		text := strings.Repeat("0123456789", 50_000)
		const n = 30
		s.on(func() {
			for i := range n {
				must(t, w.Publish("all", Text(fmt.Sprint(i)+text)))
			}
		})
		s.eventually("sockets are full", func() bool {
			for _, c := range w.loop.conns.all {
				if c.out == nil || len(c.out.frames) == 0 {
					return false
				}
			}
			return true
		})
		s.on(func() {
			a, b := w.loop.conns.all[0].out.frames, w.loop.conns.all[1].out.frames
			if &a[len(a)-1][0] != &b[len(b)-1][0] {
				t.Error("a frame that waits for two is there twice")
			}
			for _, c := range w.loop.conns.all {
				if len(c.out.sealed) > 2*sealAtOnce {
					t.Errorf("%d bytes wait sealed", len(c.out.sealed))
				}
			}
		})
		for _, c := range all {
			for i := range n {
				c.want(fmt.Sprint(i) + text)
			}
		}
		s.eventually("queues are empty", func() bool { return w.loop.counts.queueBytes == 0 })
	})
}

func TestTLSWornOut(t *testing.T) {
	w, _ := newEchoer(anyWSS)
	s := serve(t, w)
	c := connectTLS(t, s.addrs[0], v12)
	s.on(func() { w.loop.wearOut(w.loop.conns.all[0]) })
	c.wantClose(1012)
}

func TestTLSNeedsCertificate(t *testing.T) {
	l := &loop{w: New()}
	a, err := parseListen(anyWSS)
	must(t, err)
	if err := l.guard(&port{addr: a}, nil); err == nil || !strings.Contains(err.Error(), "tls = {") {
		t.Error(err)
	}
	if _, err := parseListen("udp+tls://127.0.0.1:1"); err == nil {
		t.Error("TLS on datagrams")
	}
}
