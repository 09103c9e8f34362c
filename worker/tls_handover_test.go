package worker

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushd/pushd/protocol/control"
	tlsrec "github.com/pushd/pushd/protocol/tls"
	"github.com/pushd/pushd/worker/handover"
)

// paperSession is a session of which nobody has the other end.
func paperSession(t testing.TB) *tlsrec.Session {
	b := []byte{1, 0x13, 0x01}
	for i := range byte(2) {
		b = append(binary.BigEndian.AppendUint64(append(b, 0), 7), bytes.Repeat([]byte{i + 1}, 32)...)
	}
	s, err := tlsrec.Restore(b)
	if err != nil {
		if t == nil {
			panic(err)
		}
		t.Fatal(err)
	}
	return s
}

// tap is a client's connection of which the test lets through what it wants.
type tap struct {
	net.Conn
	mu   sync.Mutex
	held []byte
	open bool
}

func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		return p.Conn.Write(b)
	}
	p.held = append(p.held, b...)
	return len(b), nil
}

// let lets n of the bytes that are held through, -1 all and what follows.
func (p *tap) let(t testing.TB, n int) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open = n < 0; p.open {
		n = len(p.held)
	}
	_, err := p.Conn.Write(p.held[:n])
	must(t, err)
	p.held = p.held[n:]
}

func (p *tap) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

func (p *tap) close() { p.mu.Lock(); p.open = false; p.mu.Unlock() }

// moves is a connection that goes from process to process.
type moves struct {
	t *testing.T
	b *testBus
	s *server
	n int
}

func (m *moves) move() {
	m.t.Helper()
	w, _ := newEchoer(m.s.w.Listen()...)
	w.Limits = m.s.w.Limits
	next, report := m.s.replace(w, m.b)
	if report.Error != "" || report.Drained != 0 || report.Left != 0 {
		m.t.Fatalf("move %d: %+v", m.n, report)
	}
	m.s.stop()
	m.s.stopped = true
	m.s = next
	m.n++
}

// arrived waits until the one client has sent so many bytes.
func (m *moves) arrived(bytes uint64) {
	m.t.Helper()
	m.s.eventually(fmt.Sprintf("%d bytes are here", bytes), func() bool {
		for _, c := range m.s.w.loop.conns.all {
			if in, _ := c.traffic(); in >= bytes {
				return true
			}
		}
		return false
	})
}

// TestTLSHandoverAtEveryByte moves a connection within its hello, within the
// request, and after each byte of a record, with keys that change.
func TestTLSHandoverAtEveryByte(t *testing.T) {
	versions(t, func(t *testing.T, config *tls.Config) {
		config = config.Clone()
		config.CurvePreferences = []tls.CurveID{tls.X25519} // a short hello
		b := &testBus{}
		w, _ := newEchoer(anyWSS)
		m := &moves{t: t, b: b, s: launch(t, w, b, nil)}
		c := dial(t, m.s.addrs[0])
		must(t, c.conn.SetDeadline(time.Time{}))
		p := &tap{Conn: c.conn}
		conn := tls.Client(p, config)
		done := make(chan error, 1)
		go func() { done <- conn.Handshake() }()
		for p.waiting() == 0 {
			time.Sleep(time.Millisecond)
		}
		sent := uint64(0)
		step := func(n int) {
			p.let(t, n)
			sent += uint64(n)
			m.arrived(sent)
			m.move()
		}
		m.move() // it has said nothing
		for range 4 {
			step(1)
		}
		for p.waiting() > 20 {
			step(20)
		}
		p.let(t, -1)
		must(t, <-done)
		c.conn, c.r = conn, bufio.NewReaderSize(conn, 1<<16)
		m.s.eventually("the handshake is over", func() bool { return m.s.w.loop.conns.all[0].session != nil })
		p.close()
		m.s.on(func() { sent, _ = m.s.w.loop.conns.all[0].traffic() })

		fmt.Fprint(conn, "GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		for p.waiting() > 12 {
			step(12)
		}
		step(p.waiting())
		if resp, _ := c.response("GET"); resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(resp.Status)
		}
		_, err := conn.Write(mask(0x01, []byte("half a "))) // two records of one message
		must(t, err)
		_, err = conn.Write(mask(0x80, []byte("message")))
		must(t, err)
		for i := 0; p.waiting() > 0; i++ {
			step(1)
			if i%7 == 0 {
				m.s.on(func() { m.s.w.loop.conns.all[0].session.Rekey() })
			}
		}
		c.want("half a message")
		m.s.on(func() {
			if at := m.s.w.loop.conns.all[0]; at.in != nil || at.more != nil && at.more.held != nil {
				t.Errorf("%+v %+v", at.in, at.more)
			}
		})
		t.Log(m.n, "moves")
	})
}

// TestTLSHandoverHalfSent: what is sealed and not taken by the socket, and what
// waits behind it, arrives over several moves.
func TestTLSHandoverHalfSent(t *testing.T) {
	versions(t, func(t *testing.T, config *tls.Config) {
		b := &testBus{}
		w, _ := newEchoer(anyWSS)
		w.Limits.MaxQueue = 64 << 20
		m := &moves{t: t, b: b, s: launch(t, w, b, nil)}
		c := connectTLS(t, m.s.addrs[0], config)
		must(t, c.conn.SetDeadline(time.Now().Add(10*patience)))
		text := strings.Repeat("0123456789", 50_000)
		sealed := 0
		for i := range 12 {
			m.s.on(func() {
				at := m.s.w.loop.conns.all[0]
				for k := range 3 {
					must(t, at.SendText(fmt.Sprint(3*i+k)+text))
				}
				at.session.Rekey()
				if len(at.out.sealed) > 0 {
					sealed++
				}
			})
			m.move()
			if i >= 4 {
				c.want(fmt.Sprint(i-4) + text)
			}
		}
		if sealed == 0 {
			t.Error("no move had sealed bytes to take along")
		}
		for i := 8; i < 36; i++ {
			c.want(fmt.Sprint(i) + text)
		}
		c.text("and back")
		c.want("and back")
		m.s.eventually("nothing waits", func() bool { return m.s.w.loop.counts.queueBytes == 0 })
	})
}

// TestTLSHandshakeDuringHandover: a handshake that is under way finishes where it
// began, and moves then; one that has not begun moves at once.
func TestTLSHandshakeDuringHandover(t *testing.T) {
	versions(t, func(t *testing.T, config *tls.Config) {
		b := &testBus{}
		w1, _ := newEchoer(anyWSS)
		s1 := launch(t, w1, b, nil)
		clients := []*client{connectTLS(t, s1.addrs[0], config)}
		silent := dial(t, s1.addrs[0])
		c := dial(t, s1.addrs[0])
		p := &tap{Conn: c.conn}
		conn := tls.Client(p, config)
		done := make(chan error, 1)
		go func() { done <- conn.Handshake() }()
		for p.waiting() == 0 {
			time.Sleep(time.Millisecond)
		}
		p.let(t, p.waiting())
		s1.eventually("its turn has come", func() bool {
			for _, c := range w1.loop.conns.all {
				if s := c.shaking(); s != nil && s.wants && c.in == nil {
					return w1.loop.conns.len() == 3
				}
			}
			return false
		})
		w2, _ := newEchoer(anyWSS)
		type moved struct {
			s *server
			r control.Exported
		}
		over := make(chan moved, 1)
		go func() {
			s2, report := s1.replace(w2, b)
			over <- moved{s2, report}
		}()
		s1.eventually("the others have moved", func() bool { return w1.loop.conns.len() == 1 && w1.loop.phase == phaseWaiting })
		p.let(t, -1)
		must(t, <-done)
		m := <-over
		if m.r.Error != "" || m.r.Moved != 3 || m.r.Left != 0 {
			t.Fatalf("%+v", m.r)
		}
		c.conn, c.r = conn, bufio.NewReaderSize(conn, 1<<16)
		for _, late := range []*client{c, silent.over(config)} {
			if resp := late.upgrade("/"); resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(resp.Status)
			}
			clients = append(clients, late)
		}
		for _, c := range clients {
			c.text("here")
			c.want("here")
		}
		_ = m.s
	})
}

// TestTLSHandoverUnderLoad: clients that never pause, by both versions, with keys
// that change in the middle, over four moves: none loses an answer, or a byte.
func TestTLSHandoverUnderLoad(t *testing.T) {
	const conns, moved = 60, 4
	b := &testBus{}
	w, _ := newEchoer(anyWSS)
	m := &moves{t: t, b: b, s: launch(t, w, b, nil)}
	var wg sync.WaitGroup
	var stop atomic.Bool
	var answers atomic.Int64
	for i := range conns {
		config := v13
		if i%3 == 0 {
			config = v12
		}
		c := connectTLS(t, m.s.addrs[0], config)
		must(t, c.conn.SetDeadline(time.Now().Add(10*patience)))
		wg.Go(func() {
			for k := 0; !stop.Load(); k++ {
				text := fmt.Sprint(i, " ", k, strings.Repeat("x", k*k%3000))
				if _, err := c.conn.Write(mask(0x81, []byte(text))); err != nil {
					t.Error(i, k, err)
					return
				}
				if _, p, err := c.frame(); err != nil || string(p) != text {
					t.Errorf("client %d, message %d: %q %v", i, k, p, err)
					return
				}
				answers.Add(1)
			}
		})
	}
	for range moved {
		at := answers.Load()
		m.s.on(func() {
			for i, c := range m.s.w.loop.conns.all {
				if i%2 == 0 {
					c.session.Rekey()
				}
			}
		})
		m.move()
		for end := time.Now().Add(patience); answers.Load() < at+conns && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
	}
	stop.Store(true)
	wg.Wait()
	t.Log(answers.Load(), "answers")
	m.s.on(func() {
		if n := m.s.w.loop.conns.len(); n != conns {
			t.Errorf("%d connections", n)
		}
	})
}

// TestTLSRollback: a batch that is taken back goes on with the keys as they were:
// the other process has not used them, as it touches nothing before the commit.
func TestTLSRollback(t *testing.T) {
	w, _ := newEchoer(anyWSS)
	s := launch(t, w, &testBus{}, nil)
	var clients []*client
	for i := range 20 {
		clients = append(clients, connectTLS(t, s.addrs[0], []*tls.Config{v13, v12}[i%2]))
	}
	for round := range 3 {
		ours, theirs := socketpair(t)
		go func() {
			k, err := handover.New(theirs)
			theirs.Close()
			if err == nil {
				hello(k)
				swallow(k)
				k.Close()
			}
		}()
		if report := s.export(ours); report.Step != "canary" || report.Moved != 0 {
			t.Fatalf("%+v", report)
		}
		s.on(func() { must(t, w.Publish("all", Text("missed while frozen"))) })
		must(t, s.master.Send(control.TypeResume, 3, nil))
		if m := s.receive(); m.ID != 3 {
			t.Fatalf("%+v", m)
		}
		for _, c := range clients {
			c.want("missed while frozen")
			c.text(fmt.Sprint("round ", round))
			c.want(fmt.Sprint("round ", round))
		}
	}
}

// TestTLSNeedsAReader: a program that does not know TLS is refused while there
// are such clients, before anything is touched; without them it is not.
func TestTLSNeedsAReader(t *testing.T) {
	w, _ := newEchoer(anyWS, anyWSS)
	s := launch(t, w, &testBus{}, nil)
	plain := echoes(s, 2)
	c := connectTLS(t, s.addrs[1], v13)
	hand := func() (control.Exported, int) {
		ours, theirs := socketpair(t)
		k, err := handover.New(theirs)
		must(t, err)
		theirs.Close()
		taken := oldReader(t, k)
		report := s.export(ours)
		return report, <-taken
	}
	if report, taken := hand(); report.Step != "hello" || !strings.Contains(report.Error, "1 of 3 connections need a later one") || taken != 0 {
		t.Fatalf("%+v", report)
	}
	c.text("here")
	c.want("here")
	must(t, s.master.Send(control.TypeResume, 3, nil))
	s.receive()
	c.conn.Close()
	s.eventually("it has left", func() bool { return w.loop.conns.len() == 2 })
	if report, taken := hand(); report.Error != "" || taken != len(plain) {
		t.Fatalf("%+v", report)
	}
}

// TestTLSEndsOnTheWay: close_notify that is read when the connection is frozen
// ends it where it goes.
func TestTLSEndsOnTheWay(t *testing.T) {
	b := &testBus{}
	w, e := newEchoer(anyWSS)
	s := launch(t, w, b, nil)
	c := connectTLS(t, s.addrs[0], v13)
	s.on(func() { w.loop.conns.all[0].PauseRead() })
	c.text("said before")
	must(t, c.conn.(*tls.Conn).CloseWrite())
	s.eventually("it is in the kernel", func() bool { return w.loop.conns.all[0].sock.Unread() })
	w2, e2 := newEchoer(anyWSS)
	w2.OnResume = func(c *Conn) { e2.resumes++; c.ResumeRead() }
	_, report := s.replace(w2, b)
	if report.Moved != 1 {
		t.Fatalf("%+v", report)
	}
	c.want("said before")
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Error(err)
	}
	if e.closes != 0 {
		t.Error("it was closed where it came from")
	}
}

// TestTLSAfterAcceptError: sessions, a record that has come in part, and a handshake
// that is under way outlive an accept error.
func TestTLSAfterAcceptError(t *testing.T) {
	w, e := newEchoer(anyWSS)
	w.OnRequest = func(r *Response, _ *Request) { _, _ = r.Write([]byte("ok")) }
	s := serve(t, w)
	settled, idle := connectTLS(t, s.addrs[0], v13), dial(t, s.addrs[0])
	half := &tap{Conn: idle.conn, open: true}
	idle.conn = half
	idle.over(v12)
	half.close()
	idle.write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	half.let(t, 20) // within a record
	late := dial(t, s.addrs[0])
	hello := &tap{Conn: late.conn}
	conn := tls.Client(hello, v13)
	done := make(chan error, 1)
	go func() { done <- conn.Handshake() }()
	for hello.waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	hello.let(t, hello.waiting())
	s.eventually("the handshake waits for its client", func() bool {
		wants, part := false, false
		for _, c := range w.loop.conns.all {
			wants = wants || c.shaking() != nil && c.shaking().wants && c.in == nil
			part = part || c.in != nil && len(c.in.sealed) > 0
		}
		return wants && part
	})
	s.accident()
	half.let(t, -1)
	if resp, body := idle.response("GET"); resp.StatusCode != 200 || body != "ok" {
		t.Error(resp.Status, body)
	}
	hello.let(t, -1)
	must(t, <-done)
	late.conn, late.r = conn, bufio.NewReaderSize(conn, 1<<16)
	late.upgrade("/")
	for _, c := range []*client{settled, late} {
		c.text("after")
		c.want("after")
	}
	s.on(func() {
		if e.closes != 0 || w.loop.conns.len() != 3+1 && w.loop.conns.len() != 3 {
			t.Errorf("%d closed, %d left", e.closes, w.loop.conns.len())
		}
	})
}
