package worker

import (
	"strings"
	"testing"

	"github.com/pushd/pushd/worker/bus"
)

// newChat makes a worker with the handler chat at /chat.
func newChat(t *testing.T) *Worker {
	t.Helper()
	h, err := NewHandler("chat", nil)
	must(t, err)
	w := New(anyWS)
	w.Routes = []Route{{Pattern: "/chat", Handler: h}}
	return w
}

// TestChatFromTheVersionBefore: that one keeps a room's channel as a session
// value too. A client that comes from there stays in its room, and nothing is
// left of the value, in this process or in the next.
func TestChatFromTheVersionBefore(t *testing.T) {
	b := &testBus{}
	w1, w2, w3 := newChat(t), newChat(t), newChat(t)
	s1 := launch(t, w1, b, nil)
	red, alsoRed := connect(t, s1.addrs[0], "/chat?room=red"), connect(t, s1.addrs[0], "/chat?room=red")
	lobby := connect(t, s1.addrs[0], "/chat")
	s1.eventually("all are connected", func() bool { return w1.loop.conns.len() == 3 })
	s1.on(func() {
		for _, c := range w1.loop.conns.all {
			if c.more != nil {
				t.Errorf("a client in %v holds %+v", c.Channels(), *c.more)
			}
			if c.InChannel("chat:red") {
				must(t, c.Set("room", "chat:red"))
			}
		}
	})
	talk := func() {
		red.text("to red")
		alsoRed.want("to red")
		lobby.text("nobody hears this")
		alsoRed.text("back")
		red.want("back")
	}
	talk()
	s2, _ := s1.replace(w2, b)
	s2.on(func() {
		for _, c := range w2.loop.conns.all {
			if c.more != nil {
				t.Errorf("a client in %v came with %+v", c.Channels(), *c.more)
			}
		}
	})
	talk()
	s2.replace(w3, b)
	talk()
}

// TestChatFollowsItsChannel: the room of a client is the channel that it is in,
// also when the back end has taken it there; in none, it talks to nobody.
func TestChatFollowsItsChannel(t *testing.T) {
	w := newChat(t)
	s := launch(t, w, &testBus{}, nil)
	lobby, red := connect(t, s.addrs[0], "/chat"), connect(t, s.addrs[0], "/chat?room=red")
	var c *Conn
	s.eventually("all are connected", func() bool { return w.loop.conns.len() == 2 })
	moved := connect(t, s.addrs[0], "/chat?room=blue")
	s.eventually("all are connected", func() bool { return w.loop.conns.len() == 3 })
	s.on(func() {
		c = w.loop.conns.all[2]
		c.Leave("chat:blue")
		c.Join("news")
	})
	moved.text("nobody hears this")
	s.eventually("it has arrived", func() bool { return c.msgs.in == 1 })
	s.on(func() { c.Join("chat:red") })
	moved.text("to red")
	red.want("to red")
	red.text("back")
	moved.want("back")
	s.on(func() {
		c.Join("chat:lobby")
		c.Leave("chat:red")
	})
	moved.text("to the lobby")
	lobby.want("to the lobby")
}

// TestChatAllocatesNothingOfItsOwn: a message in a room costs what its
// publication does, and no more.
func TestChatAllocatesNothingOfItsOwn(t *testing.T) {
	w := newChat(t)
	s := launch(t, w, &testBus{}, nil)
	s.crowd(1, "/chat?room="+strings.Repeat("r", 100))
	taken := 0
	s.on(func() { w.loop.broker = bus.PartsOf(taker{w.loop.broker, &taken}) })
	frame := mask(0x82, make([]byte, 128))
	buf := make([]byte, len(frame))
	own := s.allocs(func(l *loop) { must(t, w.Publish("chat:x", Binary(frame), Except(l.conns.all[0]))) })
	n := s.allocs(func(l *loop) {
		copy(buf, frame) // it is unmasked in place
		l.conns.all[0].receive(buf)
	})
	if n > own {
		t.Errorf("a message of a client: %v allocations, Publish alone %v", n, own)
	}
	if taken != 2*21 { // one to warm up
		t.Errorf("%d messages were published", taken)
	}
}

// taker is a broker that takes every publication and forgets it.
type taker struct {
	Broker
	taken *int
}

func (b taker) Publish(*Publication) error { *b.taken++; return nil }
