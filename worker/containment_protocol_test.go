package worker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pushd/pushd/protocol"
	"github.com/pushd/pushd/worker/reactor"
	"golang.org/x/sys/unix"
)

// touchy is a protocol with panics in it: packets that end in ";".
type touchy struct{}

func init() { protocol.Register("touchy", touchy{}) }

func (touchy) Input(b []byte, _ int) (int, error) {
	if b[0] == 'I' {
		panic("as asked: Input")
	}
	return bytes.IndexByte(b, ';') + 1, nil
}

func (touchy) Decode(p []byte) ([]byte, error) {
	if p[0] == 'D' {
		panic("as asked: Decode")
	}
	return p[:len(p)-1], nil
}

func (touchy) Encode(dst, payload []byte) []byte {
	if string(payload) == "E" {
		panic("as asked: Encode")
	}
	return append(append(dst, payload...), ';')
}

// touched serves touchy clients, who are all in one channel, and WebSockets; ended
// gets what OnClose of the former does.
func touched() (w *Worker, ended *[]error) {
	w, ended = New("touchy://127.0.0.1:0", anyWS), new([]error)
	w.OnConnect = func(c *Conn) { c.Join("all") }
	w.OnClose = func(c *Conn, err error) {
		if c.Protocol() == "touchy" {
			*ended = append(*ended, err)
		}
	}
	w.OnMessage = func(c *Conn, m Message) {
		switch m.String() {
		case "self":
			if err := c.SendText("E"); !errors.Is(err, ErrPanic) {
				panic(fmt.Sprint("Send said ", err))
			}
		case "others":
			w.Connections(func(to *Conn) bool { return to == c || to.Protocol() != "touchy" || to.SendText("E") != nil })
		case "many":
			_ = w.SendMany(slices.Clone(w.loop.conns.all), Text("E"))
		case "all":
			_ = w.Publish("all", Text("E"))
		default:
			_ = c.Send(m)
		}
	}
	return w, ended
}

// TestProtocolPanics: a panic of a protocol costs the connections that it was asked
// for, and nobody else.
func TestProtocolPanics(t *testing.T) {
	for _, tc := range []struct {
		send  string // by the first of two
		lives []bool // who does
	}{
		{"hi;I", []bool{false, true}},
		{"hi;D;", []bool{false, true}},
		{"hi;self;", []bool{false, true}},
		{"hi;others;", []bool{true, false}},
		{"hi;many;", []bool{false, false}},
		{"hi;all;", []bool{false, false}},
	} {
		for _, mode := range []string{"", "gnet"} {
			t.Run(strings.Trim(tc.send, "hi;")+" "+mode, func(t *testing.T) {
				t.Setenv(reactor.FallbackEnv, mode)
				w, ended := touched()
				s := serve(t, w)
				clients, ws := []*client{dial(t, s.addrs[0]), dial(t, s.addrs[0])}, connect(t, s.addrs[1], "/")
				s.eventually("all are in", func() bool { return w.CountConnections() == 3 })
				clients[0].write([]byte(tc.send))
				clients[0].wantBytes("hi;") // what went before has come
				closed := 0
				for i, c := range clients {
					if !tc.lives[i] {
						c.wantEOF()
						c.conn.Close()
						closed++
					}
				}
				s.eventually("they are gone", func() bool { return len(*ended) == closed })
				for i, c := range append(clients, dial(t, s.addrs[0])) {
					if i >= len(tc.lives) || tc.lives[i] {
						c.write([]byte("on;"))
						c.wantBytes("on;")
					}
				}
				if strings.Contains(tc.send, "m") || strings.Contains(tc.send, "all") {
					ws.want("E")
				}
				ws.text("on")
				ws.want("on")
				s.on(func() {
					for _, err := range *ended {
						if !errors.Is(err, ErrPanic) {
							t.Error("OnClose got", err)
						}
					}
				})
				if st := s.stats(); st.Panics != 1 || !strings.Contains(s.log.String(), "protocol touchy") || !strings.Contains(s.log.String(), "touchy.") {
					t.Errorf("%d panics, log:\n%s", st.Panics, s.log)
				}
			})
		}
	}
}

// TestProtocolPanicsInAHandover: half a packet whose end brings the panic, and a
// publication of the moment in which the process is replaced.
func TestProtocolPanicsInAHandover(t *testing.T) {
	for _, publish := range []string{"", "E"} {
		b := &testBus{}
		w1, _ := touched()
		w1.OnWorkerReload = func(w *Worker) {
			if publish != "" {
				must(t, w.Publish("all", Text(publish)))
			}
		}
		s1 := launch(t, w1, b, nil)
		half, whole, ws := dial(t, s1.addrs[0]), dial(t, s1.addrs[0]), connect(t, s1.addrs[1], "/")
		half.write([]byte("D"))
		s1.eventually("half a packet is there", func() bool {
			return w1.CountConnections() == 3 && slices.ContainsFunc(w1.loop.conns.all, func(c *Conn) bool { return c.in != nil && c.stage == stageOpen })
		})
		w2, _ := touched()
		s2, report := s1.replace(w2, b)
		if report.Error != "" {
			t.Fatalf("%+v", report)
		}
		panics := s1.stats().Panics
		if publish == "" {
			half.write([]byte(";"))
			whole.write([]byte("on;"))
			whole.wantBytes("on;")
		} else {
			whole.wantEOF()
			ws.want(publish)
		}
		half.wantEOF()
		ws.text("on")
		ws.want("on")
		if panics += s2.stats().Panics; panics != 1 {
			t.Errorf("%d panics\n%s\n%s", panics, s1.log, s2.log)
		}
	}
}

// TestFunctionsOfAnswersPanic: what a handler has given to an answer, or to a link, runs
// beside its callbacks.
func TestFunctionsOfAnswersPanic(t *testing.T) {
	w := New("http://127.0.0.1:0")
	w.OnRequest = func(a *Response, r *Request) {
		switch r.URL.Path {
		case "/over":
			a.WhenOver(func() { panic("as asked: over") })
			a.Defer()
		case "/carried":
			must(t, a.Carried("/", func(*Conn) bool { panic("as asked: carried") }))
		}
	}
	ended := make(chan error, 1)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer theirs.Close()
	w.OnWorkerStart = func(w *Worker) error {
		_, err := w.Link(ours, nil, func([]byte) int { panic("as asked: take") }, func(err error) { ended <- err })
		return err
	}
	s := serve(t, w)
	gone := dial(t, s.addrs[0])
	gone.write([]byte("GET /over HTTP/1.1\r\nHost: a\r\n\r\n"))
	s.eventually("the answer waits", func() bool { return w.loop.conns.len() == 1 && w.loop.conns.all[0].has(flagHeld) })
	gone.conn.Close()
	s.eventually("it is gone", func() bool { return w.loop.conns.len() == 0 })
	c := dial(t, s.addrs[0])
	if resp, _ := c.get("GET /carried HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
	_, err = theirs.WriteString("x")
	must(t, err)
	if err := <-ended; !errors.Is(err, ErrPanic) {
		t.Error("the link ended with", err)
	}
	s.eventually("only who asks is left", func() bool { return w.loop.conns.len() == 1 })
	if st := s.stats(); st.Panics != 3 {
		t.Errorf("%d panics\n%s", st.Panics, s.log)
	}
}
