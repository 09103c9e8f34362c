package worker

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	tlsrec "github.com/pushd/pushd/protocol/tls"
	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/handover"
	"github.com/pushd/pushd/worker/hub"
	"github.com/pushd/pushd/worker/reactor"
	"github.com/pushd/pushd/worker/record"
)

// uploads begins n requests of size bytes each and sends all but the last byte.
func uploads(t *testing.T, s *server, n, size int) (list []*client) {
	for range n {
		c := dial(t, s.addrs[0])
		c.write(fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size-1)))
		list = append(list, c)
	}
	s.eventually("all but the last byte is here", func() bool {
		have := 0
		for _, c := range s.w.loop.conns.all {
			if c.in != nil && c.in.size() >= size {
				have++
			}
		}
		return have == n
	})
	return list
}

func newUploader(limit int) *Worker {
	w, _ := newEchoer(anyWS)
	w.Limits.MaxBody, w.Limits.HandshakeTimeout = limit, patience
	w.OnRequest = func(w *Response, r *Request) { n, _ := io.Copy(io.Discard, r.Body); fmt.Fprint(w, n) }
	return w
}

// TestInputBoundsBatch: what clients have sent of unfinished requests is in the
// records as well, and counts. Nobody loses anything by it.
func TestInputBoundsBatch(t *testing.T) {
	const n, size = 12, 512 << 10
	b := &testBus{}
	w1 := newUploader(size)
	s1 := launch(t, w1, b, nil)
	clients := uploads(t, s1, n, size)
	s1.on(func() {
		x := newExport(w1.loop, nil)
		x.freeze(handover.BatchConns)
		body, fds, err := x.pack()
		for _, fd := range fds {
			closeFD(fd)
		}
		if err != nil || len(fds) != handover.BatchBytes/size-1 || len(body) > handover.BatchBytes || cap(body) > handover.BatchBytes+8192 {
			t.Errorf("%d connections with %d bytes in a batch of %d: %v", len(fds), len(body), handover.BatchBytes, err)
		}
		x.resume()
	})
	_, report := s1.replace(newUploader(size), b)
	if report.Moved != n || report.Error != "" {
		t.Fatalf("%+v", report)
	}
	for _, c := range clients {
		c.write([]byte("x"))
		if _, body := c.response("POST"); body != fmt.Sprint(size) {
			t.Fatal(body)
		}
	}
}

// TestLargeConnectionGoesAlone: one that is larger than a batch, beside others.
func TestLargeConnectionGoesAlone(t *testing.T) {
	const size = handover.BatchBytes + 1<<20
	b := &testBus{}
	sized := func() *Worker {
		w, _ := newEchoer(anyWS)
		w.Limits.MaxMessage = size
		w.OnMessage = func(c *Conn, m Message) { _ = c.SendText(fmt.Sprint(len(m.Data))) }
		return w
	}
	w1 := sized()
	s1 := launch(t, w1, b, nil)
	clients, message := []*client{}, mask(0x82, make([]byte, size))
	for range 2 {
		c := connect(t, s1.addrs[0], "/")
		c.write(message[:len(message)-1])
		clients = append(clients, c, connect(t, s1.addrs[0], "/"))
	}
	s1.eventually("all but the last byte is here", func() bool {
		have := 0
		for _, c := range w1.loop.conns.all {
			have += c.weight()
		}
		return have >= 2*size
	})
	s1.on(func() {
		x := newExport(w1.loop, nil)
		x.freeze(handover.BatchConns)
		heavy := 0
		for _, c := range x.held {
			if c.weight() > handover.BatchBytes {
				heavy++
			}
		}
		if len(x.held) == 0 || heavy > 0 && len(x.held) > 1 {
			t.Errorf("%d in a batch, %d of them larger than one", len(x.held), heavy)
		}
		x.resume()
	})
	_, report := s1.replace(sized(), b)
	if report.Moved != 4 || report.Error != "" || report.Bytes < 2*size {
		t.Fatalf("%+v", report)
	}
	for i, c := range clients {
		if i%2 == 0 {
			c.write(message[len(message)-1:])
			c.want(fmt.Sprint(size))
		} else {
			c.text("hi")
			c.want("2")
		}
	}
}

// TestConnectionThatCannotMove has more than a reader takes: it is asked to come
// back, and the others move.
func TestConnectionThatCannotMove(t *testing.T) {
	w, _ := newEchoer(anyWS)
	w.Limits.MaxMessage = 1 << 20
	s := serve(t, w)
	clients := echoes(s, 4)
	clients[1].write(mask(0x82, make([]byte, 200_000))[:150_000])
	s.eventually("half of it is here", func() bool {
		for _, c := range w.loop.conns.all {
			if c.weight() > 100_000 {
				return true
			}
		}
		return false
	})
	x := newExport(w.loop, nil)
	x.most = 100_000
	s.on(func() {
		x.begin()
		x.freeze(handover.BatchConns)
		if len(x.held) != 3 || x.out.Drained != 1 {
			t.Errorf("%d move, %d were told to come back", len(x.held), x.out.Drained)
		}
		x.resume()
	})
	clients[1].wantClose(1012)
	for i, c := range clients {
		if i != 1 {
			c.text("here")
			c.want("here")
		}
	}
}

// TestTighterLimits: half a message that the new process would not have begun to
// read ends there.
func TestTighterLimits(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWS)
	s1 := launch(t, w1, b, nil)
	clients := echoes(s1, 2)
	clients[1].write(mask(0x82, make([]byte, 4000))[:2000])
	s1.eventually("half of it is here", func() bool {
		for _, c := range w1.loop.conns.all {
			if c.in != nil {
				return true
			}
		}
		return false
	})
	w2, _ := newEchoer(anyWS)
	w2.Limits.MaxMessage = 1000
	_, report := s1.replace(w2, b)
	if report.Moved != 2 || report.Error != "" {
		t.Fatalf("%+v", report)
	}
	clients[1].wantClose(1009)
	clients[0].text("here")
	clients[0].want("here")
}

// importer returns the other end of a channel on which s takes connections over.
func importer(t *testing.T, s *server) *handover.Courier {
	ours, theirs := socketpair(t)
	k, err := handover.New(ours)
	must(t, err)
	ours.Close()
	t.Cleanup(k.Close)
	other, err := handover.New(theirs)
	must(t, err)
	theirs.Close()
	go func() {
		_ = (&imports{l: s.w.loop, k: other}).run()
		other.Close()
	}()
	_, err = k.Expect(handover.Hello, 0)
	must(t, err)
	return k
}

// recordOf is that of a connection at a listener of l, which has not got it.
func recordOf(l *loop, id byte, change func(*Conn)) []byte {
	c := &Conn{loop: l, seat: l.plain.at(l.ports[0], transportWebSocket), id: ID{id}, flags: flagConnected}
	if change != nil {
		change(c)
	}
	return c.appendRecord(nil)
}

// batchOf is a batch of those records.
func batchOf(records ...[]byte) []byte {
	b := delivered.Vector{}.Append(make([]byte, 8))
	for _, r := range records {
		b = append(append(b, byte(len(r)>>24), byte(len(r)>>16), byte(len(r)>>8), byte(len(r))), r...)
	}
	return b
}

// TestBadBatches: what makes no sense is refused as a whole, and its descriptors
// are closed; what two connections claim to be, one is.
func TestBadBatches(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := serve(t, w)
	l := w.loop
	good := recordOf(l, 1, nil)
	for name, tc := range map[string]struct {
		files   int
		records [][]byte
	}{
		"more records than descriptors":  {1, [][]byte{good, recordOf(l, 2, nil)}},
		"more descriptors than records":  {2, [][]byte{good}},
		"deflate without a window":       {1, [][]byte{recordOf(l, 3, func(c *Conn) { c.set(flagDeflate) })}},
		"packets of a WebSocket":         {1, [][]byte{recordOf(l, 3, func(c *Conn) { c.speak(transportPacket) })}},
		"a request in a channel":         {1, [][]byte{recordOf(l, 3, func(c *Conn) { c.speak(transportHTTP); l.hub.Join(hub.Channel, "x", c) })}},
		"a transport that is not here":   {1, [][]byte{recordOf(l, 3, func(c *Conn) { c.speak(&transport{number: 15}) })}},
		"sealed bytes without a session": {1, [][]byte{recordOf(l, 3, func(c *Conn) { c.input().sealed = []byte{23} })}},
		"unsent sealed bytes without a session": {1, [][]byte{recordOf(l, 3, func(c *Conn) {
			c.out = &queue{sealed: []byte{23}}
		})}},
		"a session before its handshake":    {1, [][]byte{recordOf(l, 3, func(c *Conn) { c.settleSession(paperSession(t)); c.speak(transportTLS) })}},
		"a handshake at a port without TLS": {1, [][]byte{recordOf(l, 3, func(c *Conn) { c.speak(transportTLS) })}},
		"a whole record that is not read": {1, [][]byte{recordOf(l, 3, func(c *Conn) {
			c.settleSession(paperSession(t))
			c.input().sealed = make([]byte, tlsrec.MaxRecord)
		})}},
		"a damaged session": {1, [][]byte{record.Append(recordOf(l, 3, nil), record.Session, []byte{1, 2, 3})}},
		"two sessions":      {1, [][]byte{record.Append(recordOf(l, 3, func(c *Conn) { c.settleSession(paperSession(t)) }), record.Session, paperSession(t).Append(nil))}},
		"too many session values": {1, [][]byte{recordOf(l, 3, func(c *Conn) {
			c.remember(record.Value, "k", strings.Repeat("v", maxSession))
		})}},
	} {
		k := importer(t, s)
		clients, fds := pipes(t, tc.files)
		must(t, k.Send(handover.Batch, batchOf(tc.records...), fds))
		closeAll(fds)
		if _, err := k.Expect(handover.Ack, 0); err == nil || !strings.Contains(err.Error(), "record") {
			t.Errorf("%s: %v", name, err)
		}
		for _, c := range clients {
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s: its descriptor: %v", name, err)
			}
		}
	}
	s.on(func() {
		for _, g := range l.hub.Group(hub.Channel, "x").Members() {
			l.hub.LeaveAll(g)
		}
	})

	k := importer(t, s)
	clients, fds := pipes(t, 2)
	must(t, k.Send(handover.Batch, batchOf(good, good), fds))
	closeAll(fds)
	_, err := k.Expect(handover.Ack, 0)
	must(t, err)
	must(t, k.Send(handover.Commit, nil, nil))
	_, err = k.Expect(handover.Landed, 0)
	must(t, err)
	if _, err := clients[1].Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the second of one name: %v", err)
	}
	s.on(func() {
		if n := l.conns.len(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// pipes returns n socket pairs.
func pipes(t *testing.T, n int) (ends []*os.File, fds []int) {
	for range n {
		a, b := socketpair(t)
		fd, err := reactor.Duplicate(int(b.Fd()))
		must(t, err)
		b.Close()
		t.Cleanup(func() { a.Close() })
		ends, fds = append(ends, a), append(fds, fd)
	}
	return ends, fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		closeFD(fd)
	}
}

// TestMessagesAreCountedBeyond32Bits, also in the process after.
func TestMessagesAreCountedBeyond32Bits(t *testing.T) {
	l := paper(t)
	c := &Conn{loop: l, seat: l.plain.at(l.ports[0], transportHTTP), id: ID{1}}
	c.msgs.in, c.msgs.out = math.MaxUint32, math.MaxUint32-1
	c.gotMessage()
	c.sentMessages(3)
	a, err := parseRecord(l, c.appendRecord(nil))
	must(t, err)
	for _, c := range []*Conn{c, a.c} {
		if in, out, _, _ := c.Counters(); in != 1<<32 || out != 1<<32+1 {
			t.Errorf("%d in, %d out", in, out)
		}
	}
}
