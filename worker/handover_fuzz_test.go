package worker

import (
	"io"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/protocol/websocket"
	"github.com/pushd/pushd/timer"
	"github.com/pushd/pushd/worker/delivered"
	"github.com/pushd/pushd/worker/handover"
	"github.com/pushd/pushd/worker/hub"
	"github.com/pushd/pushd/worker/reactor"
	"github.com/pushd/pushd/worker/record"
)

var allKinds = []string{anyWS, "http://127.0.0.1:0", "text://127.0.0.1:0", "frame://127.0.0.1:0", "tcp://127.0.0.1:0", anyWSS}

// paper is a loop that nothing runs: what connections without a socket do is
// done here and now.
func paper(tb testing.TB) *loop {
	w, _ := newEchoer(allKinds...)
	w.OnRequest = func(w *Response, r *Request) { _, _ = io.Copy(w, r.Body) }
	w.Limits.MaxBody, w.Limits.MaxMessage = 4096, 4096
	l := &loop{w: w, hub: hub.New[*Conn](), log: slog.New(slog.DiscardHandler), reactor: reactor.NewMemory[*Conn](time.Hour, time.Now())}
	l.counts.refusedLog = map[string]*rateLimit{}
	l.counts.culprits = map[culprit]*repeats{}
	for _, addr := range w.Listen() {
		a, err := parseListen(addr)
		if err != nil {
			tb.Fatal(err)
		}
		l.ports = append(l.ports, &port{addr: a})
	}
	if err := l.routes(w); err != nil {
		tb.Fatal(err)
	}
	l.wheel = timer.New(l.reactor.Now())
	w.loop = l
	return l
}

// seeds are records of connections in many states.
func seeds(l *loop) (list [][]byte) {
	for i, p := range l.ports {
		c := &Conn{loop: l, seat: l.plain.at(p, p.addr.speaks), id: ID{byte(i + 1)}}
		l.conns.add(c)
		list = append(list, c.appendRecord(nil))
		c.input().wait.add([]byte("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"))
		list = append(list, c.appendRecord(nil))
		if i == 0 {
			c.speak(transportWebSocket)
			c.flags, c.bits = flagConnected|flagDeflate|flagFull, 9
			c.out = &queue{frames: [][]byte{[]byte("ab"), []byte("c")}, off: 1, bytes: 2}
			c.in = &input{}
			_, _, _, _ = c.in.dec.Next(mask(0x01, []byte("half of it")), &websocket.Limits{}, false)
			_ = c.Set("a", "b")
			c.remember(record.Query, "", "q=1")
			l.hub.Join(hub.Channel, "all", c)
			list = append(list, c.appendRecord(nil))
		}
		if p.addr.secure {
			c.speak(transportTLS)
			list = append(list, c.appendRecord(nil))
			c.speak(transportWebSocket)
			c.settleSession(paperSession(nil))
			c.in = &input{sealed: []byte{23, 3, 3}}
			c.out = &queue{sealed: []byte("sealed"), frames: [][]byte{[]byte("ab")}, off: 1, bytes: 7}
			list = append(list, c.appendRecord(nil))
			c.seat = l.plain.at(p, transportHTTP)
		}
		l.hub.LeaveAll(c)
		l.conns.remove(c)
	}
	return list
}

// FuzzRecord: whatever a record says, the process lives on with the connection
// that it makes of it: it sends a message, gets one and some bytes, and keeps to
// its limits.
func FuzzRecord(f *testing.F) {
	l := paper(f)
	for _, record := range seeds(l) {
		f.Add(record, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
		f.Add(record, mask(0x81, make([]byte, 200)))
		f.Add(record, []byte("x\n"))
	}
	f.Fuzz(func(t *testing.T, b, sent []byte) {
		_, _, _ = delivered.Parse(b)
		a, err := parseRecord(l, slices.Clone(b))
		if err != nil {
			return
		}
		m := &imports{l: l}
		l.Begin()
		defer l.End()
		conns, _, homeless := m.enrol(&shipment{arrived: []*arrival{a}, files: []int{-1}})
		if len(conns) == 0 {
			t.Fatal("the one before is still here")
		}
		c := conns[0]
		defer func() { l.gone(c, nil) }()
		l.bound(c)
		for _, c := range homeless {
			l.closeConn(c, 1012, "", nil)
		}
		again := len(c.appendRecord(nil))
		if w := c.weight(); w < again || w < a.weight-len(b) {
			t.Fatalf("weighs %d, its record takes %d and weighed %d", w, again, a.weight)
		}
		_ = c.Send(Text("short"))
		_ = c.Send(Binary(make([]byte, 2*compressFrom)))
		c.receive(sent)
		c.receive([]byte{'\n'})
		if n := l.panics.Load(); n != 0 {
			t.Fatalf("%d panics", n)
		}
	})
}

// FuzzTakeover: whatever the other worker writes, with descriptors beside it,
// this one lives on, and keeps none of them.
func FuzzTakeover(f *testing.F) {
	w, _ := newEchoer(allKinds...)
	launch(f, w, &testBus{}, nil)
	message := func(kind byte, files byte, body []byte) []byte {
		return append([]byte{kind, files, byte(len(body) >> 24), byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	}
	f.Add(message(handover.Batch, 1, append(delivered.Vector{}.Append(make([]byte, 8)), 0, 0, 0, 1, record.ID)), true)
	for _, record := range seeds(paper(f)) {
		batch := append(delivered.Vector{{Publisher: 1, Shard: 2}: 3}.Append(make([]byte, 8)), 0, 0, byte(len(record)>>8), byte(len(record)))
		f.Add(slices.Concat(message(handover.Batch, 1, append(batch, record...)), message(handover.Commit, 0, nil), message(handover.End, 0, nil)), true)
	}
	f.Add(slices.Concat(message(handover.Hello, 0, []byte{RecordVersion}), message(handover.Question, 0, nil), message(handover.Ack, 0, nil), message(handover.Landed, 0, nil), message(handover.Report, 0, []byte("{}"))), false)
	f.Add(message(handover.Error, 1, []byte("no room")), false)
	f.Fuzz(func(t *testing.T, written []byte, old bool) {
		ours, theirs := socketpair(t)
		k, err := handover.New(theirs)
		must(t, err)
		theirs.Close()
		client, sock := socketpair(t)
		send(t, ours, written, sock)
		sock.Close()
		must(t, unix.Shutdown(int(ours.Fd()), unix.SHUT_WR))
		if old {
			_ = (&imports{l: w.loop, k: k}).run()
		} else {
			x := newExport(w.loop, k)
			_ = x.run()
			must(t, w.loop.do(x.resume))
		}
		k.Close()
		ours.Close()
		must(t, client.SetDeadline(time.Now().Add(patience)))
		_, _ = client.Write(mask(0x81, make([]byte, 200)))
		must(t, w.loop.do(func() {
			for _, c := range w.loop.conns.all {
				_ = c.Send(Text("a message"))
				w.loop.destroy(c, nil)
			}
			if n := w.loop.panics.Load(); n != 0 {
				t.Errorf("%d panics", n)
			}
		}))
		if _, err := io.ReadAll(client); err != nil && os.IsTimeout(err) {
			t.Fatal("its descriptor is still open somewhere")
		}
		client.Close()
	})
}

// send writes b with a descriptor beside its first byte.
func send(t *testing.T, to *os.File, b []byte, with *os.File) {
	if len(b) == 0 {
		return
	}
	n, err := unix.SendmsgN(int(to.Fd()), b[:1], unix.UnixRights(int(with.Fd())), nil, 0)
	must(t, err)
	_, err = to.Write(b[n:])
	must(t, err)
}
