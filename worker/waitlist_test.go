package worker

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/protocol/control"
)

// gate stops the loop until the function it returns is called.
func (s *server) gate() (open func()) {
	entered, wait := make(chan struct{}), make(chan struct{})
	must(s.t, s.w.loop.reactor.Post(func() { close(entered); <-wait }, 0))
	<-entered
	return func() { close(wait) }
}

// ordered is a worker that notes the order of what it gets, and how much of it
// came before a function that the first message has posted had its turn.
type ordered struct {
	*Worker
	got    []string
	inTurn int // -1: the function has not run
	closed int // of got, when the last connection closed
}

func newOrdered(listen string) *ordered {
	w := &ordered{Worker: New(listen), inTurn: -1, closed: -1}
	w.OnMessage = func(_ *Conn, m Message) { w.take(m.String()[:min(len(m.Data), 5)]) }
	w.OnRequest = func(_ *Response, r *Request) { w.take(r.URL.Path[1:]) }
	w.OnClose = func(*Conn, error) { w.closed = len(w.got) }
	return w
}

func (w *ordered) take(text string) {
	if w.got = append(w.got, text); len(w.got) == 1 {
		_ = w.Post(func() { w.inTurn = len(w.got) })
	}
}

// inOrder reports whether got is 0 to n-1.
func inOrder(got []string, n int) bool {
	for i, text := range got {
		if text != fmt.Sprintf("%05d", i) {
			return false
		}
	}
	return len(got) == n
}

// squeezed returns a compressed text frame of n bytes that begin so.
func squeezed(begin string, n int) []byte {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, 9)
	_, _ = z.Write([]byte(begin + strings.Repeat("a", n-len(begin))))
	_ = z.Flush()
	return mask(0xc1, bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff}))
}

// What a client sends at once is worked on in turns, between which others have
// theirs, in order and to its end, whatever it speaks.
func TestTurnOfOneConnection(t *testing.T) {
	ws := func(t testing.TB, addr string) *client { return connect(t, addr, "/") }
	for name, x := range map[string]struct {
		listen string
		dial   func(t testing.TB, addr string) *client
		input  func(i int) []byte
		n      int
		most   int // in one turn
	}{
		"websocket": {anyWS, ws, func(i int) []byte { return mask(0x81, fmt.Appendf(nil, "%05d", i)) }, 5000, turnMessages},
		"deflate": {anyWS, func(t testing.TB, addr string) *client {
			return connect(t, addr, "/", "Sec-WebSocket-Extensions: permessage-deflate")
		}, func(i int) []byte { return squeezed(fmt.Sprintf("%05d", i), 60<<10) }, 300, turnInflated/(60<<10) + 1},
		"text": {"text://127.0.0.1:0", dial, func(i int) []byte { return fmt.Appendf(nil, "%05d\n", i) }, 8000, turnMessages},
		"http": {"http://127.0.0.1:0", dial, func(i int) []byte {
			return fmt.Appendf(nil, "GET /%05d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		}, 1900, turnMessages},
	} {
		for _, end := range []string{"stays", "leaves", "breaks off"} {
			if name == "http" && end == "breaks off" {
				continue // nobody is there for the answers
			}
			t.Run(name+", "+end, func(t *testing.T) {
				w := newOrdered(x.listen)
				w.Compression = name == "deflate"
				s := serve(t, w.Worker)
				c := x.dial(t, s.addrs[0])
				s.eventually("the connection is there", func() bool { return w.loop.conns.len() == 1 })
				var all []byte
				for i := range x.n {
					all = append(all, x.input(i)...)
				}
				open := s.gate()
				c.write(all)
				switch end {
				case "leaves":
					must(t, c.conn.(*net.TCPConn).CloseWrite())
				case "breaks off":
					must(t, c.conn.(*net.TCPConn).SetLinger(0))
					c.conn.Close()
				}
				open()
				s.eventually("all is worked on", func() bool { return len(w.got) == x.n })
				if !inOrder(w.got, x.n) {
					t.Error("out of order")
				}
				if w.inTurn < 1 || w.inTurn > x.most {
					t.Errorf("%d of %d messages in one turn, want at most %d", w.inTurn, x.n, x.most)
				}
				if end != "stays" {
					s.eventually("it is closed", func() bool { return w.loop.conns.len() == 0 })
					if name != "http" && w.closed != x.n {
						t.Errorf("closed after %d of %d messages", w.closed, x.n)
					}
				}
				s.eventually("nothing is left", func() bool { return len(w.loop.rest.queue) == 0 })
			})
		}
	}
}

// What many clients send at once does not keep whoever comes by the door
// waiting for all of it.
func TestTurnOfManyConnections(t *testing.T) {
	const clients, took = 120, time.Millisecond
	w := newOrdered(anyWS)
	take := w.OnMessage
	w.OnMessage = func(c *Conn, m Message) {
		take(c, m)
		time.Sleep(took) // the work
		_ = c.Send(m)
	}
	s := serve(t, w.Worker)
	conns := make([]*client, clients)
	for i := range conns {
		conns[i] = connect(t, s.addrs[0], "/")
	}
	for round := range 2 {
		open := s.gate()
		for _, c := range conns {
			c.text("hello")
		}
		open()
		for _, c := range conns {
			c.want("hello")
		}
		s.on(func() {
			if most := int(batchTime/took) + 1; w.inTurn < 1 || w.inTurn > most {
				t.Errorf("round %d: %d messages before the door had its turn, want at most %d", round, w.inTurn, most)
			}
			w.got, w.inTurn = nil, -1
		})
		s.on(func() { // the door has had its turn: sockets have all their time again
			if spent := w.loop.rest.spent; spent != 0 {
				t.Errorf("round %d: %s are spent already", round, spent)
			}
		})
	}
}

// A connection with a rest moves in a hand-over: the rest is worked on there,
// behind what was worked on here.
func TestRestMoves(t *testing.T) {
	const n = 2000
	b := &testBus{}
	slowly := func() *ordered {
		w := newOrdered(anyWS)
		take := w.OnMessage
		w.OnMessage = func(c *Conn, m Message) { take(c, m); time.Sleep(time.Millisecond) }
		return w
	}
	w1, w2 := slowly(), slowly()
	s1 := launch(t, w1.Worker, b, nil)
	c := connect(t, s1.addrs[0], "/")
	var all []byte
	for i := range n {
		all = append(all, mask(0x81, fmt.Appendf(nil, "%05d", i))...)
	}
	s2 := launch(t, w2.Worker, b, s1)
	ours, theirs := socketpair(t)
	must(t, s2.master.Send(control.TypeImport, 1, nil, theirs))
	theirs.Close()
	if m := s2.receive(); m.Error != "" {
		t.Fatal(m.Error)
	}
	open := s1.gate()
	c.write(all)
	open()
	if report := s1.export(ours); report.Moved != 1 || report.Error != "" {
		t.Fatalf("%+v", report)
	}
	s2.eventually("all is worked on", func() bool { return len(w1.got)+len(w2.got) == n })
	if len(w2.got) == 0 || !inOrder(append(w1.got, w2.got...), n) {
		t.Errorf("%d here, %d there, in order: %v", len(w1.got), len(w2.got), inOrder(append(w1.got, w2.got...), n))
	}
}

// A loop that is busy answers the master's ping, one that hangs does not.
func TestBusyIsAlive(t *testing.T) {
	s := serve(t, New(anyWS))
	l := s.w.loop
	entered, leave := [2]chan struct{}{}, [2]chan struct{}{}
	s.on(func() { // both run in the next turn of the door
		for i := range entered {
			entered[i], leave[i] = make(chan struct{}), make(chan struct{})
			must(t, l.reactor.Post(func() { close(entered[i]); <-leave[i] }, 0))
		}
	})
	ping := func(id uint64) { must(t, s.master.Send(control.TypePing, id, nil)) }
	pong := func() uint64 {
		m := s.receive()
		if m.Type != control.TypePong {
			t.Fatalf("%+v", m)
		}
		return m.ID
	}
	<-entered[0]
	if ping(1); pong() != 1 {
		t.Fatal("what the loop did before is not seen")
	}
	ping(2)                                            // nothing has happened since
	must(t, s.master.Send(control.TypeExport, 9, nil)) // is refused at once,
	if m := s.receive(); m.ID != 9 || m.Error == "" {  // behind the ping
		t.Fatalf("%+v: a loop that hangs looks alive", m)
	}
	close(leave[0])
	<-entered[1]
	if ping(3); pong() != 3 {
		t.Fatal("a loop that is busy looks dead")
	}
	close(leave[1])
	if pong() != 2 {
		t.Fatal("the question has no answer")
	}
}

// A client whose answer lies in the socket has not been silent, however late
// the loop looks at its deadline.
func TestUnreadIsHeard(t *testing.T) {
	w := New("websocket://127.0.0.1:0", "text://127.0.0.1:0", anyWSS)
	w.Limits.TLSHandshakes = 1
	s := serve(t, w)
	l := s.w.loop
	silent := func(c *Conn) {
		c.lastRecv -= uint32((w.PingInterval + w.PingTimeout).Seconds()) + 1
		c.set(flagPinged)
		l.due(c)
	}
	stalled := func() *client {
		conn := stallTLS(t, s.addrs[2])
		s.eventually("it is asked for more", func() bool {
			return l.conns.len() == 1 && l.conns.all[0].shaking() != nil && l.conns.all[0].shaking().wants
		})
		return &client{t: t, conn: conn}
	}
	for name, x := range map[string]struct {
		dial  func() *client
		bytes []byte
		late  func(c *Conn) // its time is over
	}{
		"pong":    {func() *client { return connect(t, s.addrs[0], "/") }, mask(0x8a, nil), silent},
		"request": {func() *client { return dial(t, s.addrs[0]) }, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), silent},
		"a proxy's header": {func() *client { return dial(t, s.addrs[1]) }, fmt.Appendf(nil, headerOf, 1), func(c *Conn) {
			c.set(flagHeader)
			l.due(c)
		}},
		"a handshake that others wait for": {stalled, []byte{22}, func(c *Conn) {
			c.shaking().since = l.now - shakePatience - 1
			l.secure.queue = []*shaking{{c: c}}
			l.secure.giveWay(l)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			client := x.dial()
			s.eventually("it is there", func() bool { return l.conns.len() == 1 })
			dead := [2]bool{}
			s.on(func() {
				c := l.conns.all[0]
				client.write(x.bytes)
				for end := time.Now().Add(patience); !c.sock.Unread() && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
				x.late(c)
				dead[0] = c.has(flagDead)
				var b [100]byte
				_, _ = unix.Read(c.sock.FD(), b[:])
				x.late(c)
				dead[1] = c.has(flagDead)
			})
			if dead != [2]bool{false, true} {
				t.Errorf("ended with bytes to read: %v, without: %v", dead[0], dead[1])
			}
			s.eventually("it is gone", func() bool { return l.conns.len() == 0 })
		})
	}
}

// Of the answers to the pings of a client that does not read, the newest waits.
func TestPongsAreBounded(t *testing.T) {
	x := newStuck(t, New(anyWS))
	pings := func(from, to int) {
		for i := from; i < to; i++ {
			x.client.write(mask(0x89, fmt.Appendf(nil, "%0125d", i)))
		}
		x.eventually("the pings are worked on", func() bool {
			return x.w.loop.conns.all[0].control&0xffff != 0 && !x.w.loop.conns.all[0].sock.Unread()
		})
	}
	waiting := func() (frames, pongs int) {
		x.on(func() {
			q := x.w.loop.conns.all[0].out
			for i := range q.frames {
				if q.mark(i) == pongMark {
					pongs++
				}
			}
			frames = len(q.frames)
		})
		return frames, pongs
	}
	pings(0, 45)
	if frames, pongs := waiting(); frames != 2 || pongs != 1 {
		t.Fatalf("%d frames wait, %d pongs", frames, pongs)
	}
	x.say("chat", "a message")
	fresh := New(anyWS)
	fresh.Limits.MaxQueue = 2 * stuckBytes
	next, report := x.replace(fresh, x.bus)
	if report.Moved != 1 {
		t.Fatalf("%+v", report)
	}
	x.server = next
	pings(45, 90)
	if frames, pongs := waiting(); frames != 3 || pongs != 1 || x.info().Dropped != 0 {
		t.Errorf("%d frames wait after the hand-over, %d pongs; %+v", frames, pongs, x.info())
	}
	x.on(func() { x.w.Limits.MaxQueue = x.w.loop.conns.all[0].out.bytes - 1 })
	pings(90, 91)
	if st := x.stats(); st.SendFailuresBy["control"] != 1 || st.SendFailures != 1 {
		t.Errorf("a pong without room: %v", st.SendFailuresBy)
	}
	if _, p, err := x.client.frame(); err != nil || len(p) != stuckBytes {
		t.Fatalf("%d bytes, %v", len(p), err)
	}
	x.client.want("a message")
}

// What a callback sends to its own client is collected, and counts against
// max_queue meanwhile.
func TestCorkIsBounded(t *testing.T) {
	w := New(anyWS)
	w.Slow = SlowDropOldest
	w.OnMessage = func(c *Conn, _ Message) {
		for range 100 {
			_ = c.Send(Message{Data: make([]byte, 1000)})
		}
	}
	x := newStuck(t, w)
	x.on(func() { w.Limits.MaxQueue = w.loop.conns.all[0].out.bytes + 5000 })
	x.client.text("go")
	x.eventually("it has sent", func() bool { return w.loop.counts.messagesOut > 100 })
	x.on(func() {
		if q := w.loop.conns.all[0].out.bytes; q > w.Limits.MaxQueue+10 { // and the header of the last one
			t.Errorf("%d bytes wait, the limit is %d", q, w.Limits.MaxQueue)
		}
	})
}

// Requests of a client that does not read the answers wait.
func TestPipelineIsBounded(t *testing.T) {
	const n, size = 300, 100 << 10
	w := newOrdered("http://127.0.0.1:0")
	w.Limits.MaxQueue = 64 << 10
	w.OnRequest = func(r *Response, q *Request) {
		w.take(q.URL.Path[1:])
		_, _ = r.Write(bytes.Repeat([]byte("x"), size))
	}
	s := serve(t, w.Worker)
	c := dial(t, s.addrs[0])
	var all []byte
	for i := range n {
		all = fmt.Appendf(all, "GET /%05d HTTP/1.1\r\nHost: a\r\n\r\n", i)
	}
	c.write(all)
	served, most := 0, 0
	s.eventually("its socket is full", func() bool { return w.loop.conns.len() == 1 && w.loop.conns.all[0].out != nil })
	s.on(func() { served, most = len(w.got), w.loop.conns.all[0].out.bytes })
	if served == n || most > 2*size {
		t.Errorf("%d requests are served, %d bytes wait", served, most)
	}
	for range n {
		if resp, body := c.response("GET"); resp.StatusCode != 200 || len(body) != size {
			t.Fatalf("%s, %d bytes", resp.Status, len(body))
		}
	}
	s.on(func() {
		if !inOrder(w.got, n) {
			t.Error("out of order")
		}
	})
	var page ConnPage
	s.query("connections", ConnQuery{}, &page)
	if raw, _ := json.Marshal(page); len(page.Connections) != 1 || page.Connections[0].SendQueue != 0 {
		t.Errorf("%s", raw)
	}
}
