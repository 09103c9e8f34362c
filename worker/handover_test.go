package worker

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/handover"
)

// replace plays the master: it starts a new worker and moves the connections of
// old to it.
func (old *server) replace(w *Worker, b *testBus) (*server, control.Exported) {
	old.t.Helper()
	fresh := launch(old.t, w, b, old)
	return fresh, old.moveTo(fresh)
}

func (old *server) moveTo(fresh *server) control.Exported {
	old.t.Helper()
	ours, theirs := socketpair(old.t)
	must(old.t, fresh.master.Send(control.TypeImport, 1, nil, theirs))
	theirs.Close()
	if m := fresh.receive(); m.Type != control.TypeAnswer || m.Error != "" {
		old.t.Fatalf("import: %+v", m)
	}
	return old.export(ours)
}

func (old *server) export(end *os.File) (report control.Exported) {
	old.t.Helper()
	must(old.t, old.master.Send(control.TypeExport, 2, nil, end))
	end.Close()
	m := old.receive()
	must(old.t, json.Unmarshal(m.Body, &report))
	return report
}

func socketpair(t testing.TB) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|closeOnExec|nonBlocking, 0)
	must(t, err)
	return os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
}

// echoer counts its callbacks.
type echoer struct{ connects, closes, resumes int }

func newEchoer(listen ...string) (*Worker, *echoer) {
	w, e := New(listen...), &echoer{}
	w.OnConnect = func(c *Conn) { e.connects++; c.Join("all") }
	w.OnClose = func(*Conn, error) { e.closes++ }
	w.OnResume = func(*Conn) { e.resumes++ }
	w.OnMessage = func(c *Conn, m Message) { _ = c.Send(m) }
	return w, e
}

func TestHandoverKeepsConnections(t *testing.T) {
	b := &testBus{}
	w1, e1 := newEchoer(anyWS)
	s1 := launch(t, w1, b, nil)
	var clients []*client
	ids := map[string]bool{}
	for i := range 500 {
		c := connect(t, s1.addrs[0], fmt.Sprintf("/?n=%d", i))
		c.text("before")
		c.want("before")
		clients = append(clients, c)
	}
	s1.on(func() {
		for _, c := range w1.loop.conns.all {
			ids[c.ID()] = true
			c.Bind("u")
			must(t, c.Set("k", c.RawQuery()))
		}
	})
	w2, e2 := newEchoer(anyWS)
	s2, report := s1.replace(w2, b)
	if report.Error != "" || report.Moved != 500 || report.Left != 0 || report.Drained != 0 {
		t.Fatalf("%+v", report)
	}
	for i, c := range clients {
		c.text(fmt.Sprint("after ", i))
		c.want(fmt.Sprint("after ", i))
	}
	s2.on(func() {
		if e1.closes != 0 || e2.connects != 0 || e2.resumes != 500 {
			t.Errorf("OnClose %d, OnConnect %d, OnResume %d", e1.closes, e2.connects, e2.resumes)
		}
		for _, c := range w2.loop.conns.all {
			in, out, _, _ := c.Counters()
			if !ids[c.ID()] || c.UID() != "u" || c.Get("k") != c.RawQuery() || !c.InChannel("all") || in != 2 || out != 2 || c.Path() != "/" {
				t.Errorf("%s: uid %q, k %q, query %q, channels %v, messages %d/%d, path %s",
					c.ID(), c.UID(), c.Get("k"), c.RawQuery(), c.Channels(), in, out, c.Path())
				return
			}
		}
	})
	must(t, s2.w.loop.do(func() { must(t, w2.Publish("all", Text("to all"))) }))
	for _, c := range clients {
		c.want("to all")
	}
	fresh := connect(t, s2.addrs[0], "/")
	fresh.text("new ones come in")
	fresh.want("new ones come in")
}

// TestHandoverAtEveryByte moves a connection after each byte of a fragmented,
// masked message with a ping in its middle, and of a handshake before it.
func TestHandoverAtEveryByte(t *testing.T) {
	b := &testBus{}
	w, _ := newEchoer(anyWS)
	s := launch(t, w, b, nil)
	request := "GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	stream := append([]byte(request), mask(0x01, []byte("grüße "))...)
	stream = append(stream, mask(0x89, []byte("ping"))...)
	stream = append(stream, mask(0x80, []byte(strings.Repeat("ü", 70)))...)
	c := dial(t, s.addrs[0])
	must(t, c.conn.SetDeadline(time.Time{}))
	for i, at := range stream {
		c.write([]byte{at})
		sent := uint64(i + 1)
		s.eventually("the byte is read", func() bool {
			for _, c := range s.w.loop.conns.all {
				if in, _ := c.traffic(); in >= sent {
					return true
				}
			}
			return false
		})
		w2, _ := newEchoer(anyWS)
		next, report := s.replace(w2, b)
		if report.Error != "" || report.Moved != 1 {
			t.Fatalf("after byte %d: %+v", i, report)
		}
		s.stop()
		s.stopped = true
		s = next
	}
	if resp, _ := c.response("GET"); resp.StatusCode != 101 {
		t.Fatal(resp.Status)
	}
	if first, p, err := c.frame(); err != nil || first != 0x8a || string(p) != "ping" {
		t.Fatalf("%#x %q %v", first, p, err)
	}
	c.want("grüße " + strings.Repeat("ü", 70))
}

func TestHandoverOfEveryKind(t *testing.T) {
	b := &testBus{}
	dir := t.TempDir()
	addrs := []string{anyWS, "text://127.0.0.1:0", "frame://127.0.0.1:0", "tcp://127.0.0.1:0", "unix://" + filepath.Join(dir, "a.sock")}
	make1 := func() *Worker {
		w, _ := newEchoer(addrs...)
		w.Limits.MaxQueue = 16 << 20
		w.OnRequest = func(w *Response, r *Request) { _, _ = w.WriteString("answer to " + r.URL.Path) }
		return w
	}
	s1 := launch(t, make1(), b, nil)
	keepAlive := dial(t, s1.addrs[0])
	if _, body := keepAlive.get("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"); body != "answer to /1" {
		t.Fatal(body)
	}
	half := dial(t, s1.addrs[0])
	half.write([]byte("POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"))
	text, frame, raw, sock := dial(t, s1.addrs[1]), dial(t, s1.addrs[2]), dial(t, s1.addrs[3]), dial(t, s1.addrs[4])
	text.write([]byte("one\ntw"))
	text.wantBytes("one\n")
	frame.write([]byte("\x00\x00\x00\x07a"))
	raw.write([]byte("x"))
	raw.wantBytes("x")
	sock.write([]byte("x"))
	sock.wantBytes("x")
	slow := connect(t, s1.addrs[0], "/slow")
	big := strings.Repeat("s", 8<<20)
	s1.on(func() {
		for _, c := range s1.w.loop.conns.all {
			if c.Path() == "/slow" {
				must(t, c.SendText(big))
				must(t, c.SendText("behind it"))
			}
		}
	})
	s1.eventually("all bytes are read", func() bool {
		n := uint64(0)
		for _, c := range s1.w.loop.conns.all {
			if c.transport != transportWebSocket {
				in, _ := c.traffic()
				n += in
			}
		}
		return n == uint64(len("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabone\ntw\x00\x00\x00\x07axx"))
	})
	s2, report := s1.replace(make1(), b)
	if report.Moved != 7 || report.Error != "" {
		t.Fatalf("%+v", report)
	}
	if _, body := keepAlive.get("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"); body != "answer to /2" {
		t.Fatal(body)
	}
	if _, body := half.get("cd"); body != "answer to /half" {
		t.Fatal(body)
	}
	text.write([]byte("o\n"))
	text.wantBytes("two\n")
	frame.write([]byte("bc"))
	frame.wantBytes("\x00\x00\x00\x07abc")
	raw.write([]byte("y"))
	raw.wantBytes("y")
	sock.write([]byte("y"))
	sock.wantBytes("y")
	if _, p, err := slow.frame(); err != nil || string(p) != big {
		t.Fatalf("%d bytes, %v", len(p), err)
	}
	slow.want("behind it")
	_ = s2
}

// TestHandoverWithDeferredAnswer: the connection stays until its answer is
// given, then moves.
func TestHandoverWithDeferredAnswer(t *testing.T) {
	b := &testBus{}
	var held *Response
	w1, _ := newEchoer(anyWS)
	w1.OnRequest = func(w *Response, _ *Request) { w.Defer(); held = w }
	s1 := launch(t, w1, b, nil)
	c := dial(t, s1.addrs[0])
	c.write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	s1.eventually("the request is deferred", func() bool { return held != nil })
	w2, _ := newEchoer(anyWS)
	w2.OnRequest = func(w *Response, _ *Request) { _, _ = w.WriteString("second worker") }
	done := make(chan control.Exported)
	go func() { _, r := s1.replace(w2, b); done <- r }()
	s1.eventually("the hand-over has begun", func() bool { return w1.loop.phase.moving() })
	s1.on(func() { _, _ = held.WriteString("first worker"); held.End() })
	if _, body := c.response("GET"); body != "first worker" {
		t.Fatal(body)
	}
	if r := <-done; r.Moved != 1 || r.Error != "" {
		t.Fatalf("%+v", r)
	}
	if _, body := c.get("GET / HTTP/1.1\r\nHost: a\r\n\r\n"); body != "second worker" {
		t.Fatal(body)
	}
}

// TestDeliveryThroughHandover publishes all the time, from outside and from the
// connections themselves, while they move again and again.
func TestDeliveryThroughHandover(t *testing.T) {
	b := &testBus{}
	w, _ := newEchoer(anyWS)
	s := launch(t, w, b, nil)
	var clients []*client
	for range 300 {
		c := connect(t, s.addrs[0], "/")
		clients = append(clients, c)
	}
	s.eventually("all are in", func() bool { return w.CountConnections() == 300 })
	outside := b.client()
	must(t, outside.Start(nobody{}))
	defer outside.Close()
	stop, sent := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				sent <- n
				return
			default:
				_ = outside.Publish(&Publication{Kind: KindMessage, Scope: ScopeChannel, Target: "all",
					Shard: Shard(ScopeChannel, "all"), Data: []byte(fmt.Sprint(n))})
				time.Sleep(5 * time.Millisecond)
			}
		}
	}()
	for range 5 {
		next, _ := newEchoer(anyWS)
		fresh, report := s.replace(next, b)
		if report.Error != "" || report.Moved != 300 {
			t.Fatalf("%+v", report)
		}
		s.stop()
		s.stopped = true
		s = fresh
	}
	close(stop)
	n := <-sent
	for i, c := range clients {
		for want := range n {
			if _, p, err := c.frame(); err != nil || string(p) != fmt.Sprint(want) {
				t.Fatalf("client %d: got %q %v, want %d of %d", i, p, err, want, n)
			}
		}
	}
}

type nobody struct{}

func (nobody) Deliver([]Publication)     {}
func (nobody) Query(BusQuery)            {}
func (nobody) Gap(uint64, uint8, uint64) {}

// TestRollback plays new workers that fail at each step. The old one must go on
// as if nothing had been.
func TestRollback(t *testing.T) {
	const conns = 30
	for _, tc := range []struct {
		name  string
		step  string
		peer  func(*handover.Courier) // the new worker
		moved int                     // committed to it before it failed
	}{
		{"dies at once", "hello", func(*handover.Courier) {}, 0},
		{"speaks an old version", "hello", func(k *handover.Courier) { _ = k.Send(handover.Hello, []byte{0}, nil) }, 0},
		{"dies after the canary has come", "canary", func(k *handover.Courier) { hello(k); swallow(k) }, 0},
		{"refuses the canary", "canary", func(k *handover.Courier) {
			hello(k)
			swallow(k)
			_ = k.Send(handover.Error, []byte("out of descriptors"), nil)
		}, 0},
		{"answers nonsense", "canary", func(k *handover.Courier) { hello(k); swallow(k); _ = k.Send('?', nil, nil) }, 0},
		{"dies after a commit", "after 8 connections", func(k *handover.Courier) {
			hello(k)
			swallow(k)
			_ = k.Send(handover.Ack, nil, nil)
			_, _ = k.Expect(handover.Commit, 0)
			_ = k.Send(handover.Landed, nil, nil)
			swallow(k)
		}, handover.CanaryConns},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, e := newEchoer(anyWS)
			s := launch(t, w, &testBus{}, nil)
			var clients []*client
			for range conns {
				c := connect(t, s.addrs[0], "/")
				c.text("hi")
				c.want("hi")
				clients = append(clients, c)
			}
			half := mask(0x81, []byte("half a frame"))
			for _, c := range clients {
				c.write(half[:7])
			}
			ours, theirs := socketpair(t)
			go func() {
				k, err := handover.New(theirs)
				theirs.Close()
				if err == nil {
					tc.peer(k)
					k.Close()
				}
			}()
			report := s.export(ours)
			if report.Error == "" || report.Step != tc.step || report.Moved != tc.moved {
				t.Fatalf("%+v, want step %q", report, tc.step)
			}
			s.on(func() { must(t, w.Publish("all", Text("missed while frozen"))) })
			must(t, s.master.Send(control.TypeResume, 3, nil))
			if m := s.receive(); m.ID != 3 {
				t.Fatalf("%+v", m)
			}
			alive := 0
			for _, c := range clients {
				if _, err := c.conn.Write(half[7:]); err != nil {
					continue
				}
				got := []string{}
				for range 2 {
					if _, p, err := c.frame(); err == nil {
						got = append(got, string(p))
					}
				}
				if len(got) == 2 {
					alive++
					if got[0]+got[1] != "missed while frozenhalf a frame" && got[0]+got[1] != "half a framemissed while frozen" {
						t.Fatalf("got %q", got)
					}
				}
			}
			if alive != conns-tc.moved {
				t.Fatalf("%d of %d are alive, %d were committed", alive, conns, tc.moved)
			}
			s.on(func() {
				if e.closes != 0 || w.CountConnections() != conns-tc.moved {
					t.Errorf("OnClose %d, %d connections", e.closes, w.CountConnections())
				}
			})
			fresh := connect(t, s.addrs[0], "/")
			fresh.text("accepting again")
			fresh.want("accepting again")
		})
	}
}

func hello(k *handover.Courier) {
	_ = k.Send(handover.Hello, []byte{RecordVersion}, nil)
	_, _ = k.Expect(handover.Question, 0)
	_ = k.Send(handover.Question, nil, nil)
}

// swallow takes a batch and closes what came with it.
func swallow(k *handover.Courier) {
	_, _ = k.Expect(handover.Batch, 0)
}
