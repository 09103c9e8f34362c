package worker

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// keeper is a handler that holds its clients.
type keeper struct {
	clients Clients
	heard   []string
	after   int // hold after so many messages; 0 = never
}

func (k *keeper) Clients() *Clients { return &k.clients }
func (k *keeper) OnMessage(c *Conn, m Message) {
	if k.heard = append(k.heard, m.String()); len(k.heard) == k.after {
		k.clients.Hold(c.Worker())
	}
}

// TestClientsHeld: what clients send while they are held waits, in the middle of
// a read too, goes along in a hand-over, and comes in order after the release.
func TestClientsHeld(t *testing.T) {
	k := &keeper{after: 2}
	w := New(anyWS)
	w.Routes = []Route{{Pattern: "/", Handler: k}}
	b := &testBus{}
	s := launch(t, w, b, nil)
	c := connect(t, s.addrs[0], "/")
	var all []byte
	for i := range 5 {
		all = append(all, mask(0x81, []byte(fmt.Sprint(i)))...)
	}
	c.write(all)
	s.eventually("two were heard", func() bool { return len(k.heard) == 2 && k.clients.Held() })
	c.write(mask(0x81, []byte("5")))
	s.eventually("the kernel has the rest", func() bool {
		one := w.loop.conns.all[0]
		return one.has(flagMuted) && one.in != nil && len(k.clients.waiting) > 0
	})
	s.on(func() {
		one := w.loop.conns.all[0]
		if w.loop.due(one); one.has(flagDead) || *w.loop.conns.when(one) == 0 {
			t.Error("one that waits is taken for dead, or forgotten")
		}
		if k.clients.Find(w, one.Number()) != one || k.clients.Find(w, one.Number()+1) != nil || NumberOf(one.ID()) != one.Number() {
			t.Error("it is not found by its number")
		}
		n := 0
		k.clients.Each(w, func(*Conn) bool { n++; return true })
		if n != 1 {
			t.Errorf("%d clients", n)
		}
	})
	k2 := &keeper{}
	w2 := New(anyWS)
	w2.Routes = []Route{{Pattern: "/", Handler: k2}}
	s2, report := s.replace(w2, b)
	if report.Error != "" || report.Moved != 1 {
		t.Fatalf("%+v", report)
	}
	s2.eventually("the rest is heard", func() bool { return len(k2.heard) == 4 })
	s2.on(func() {
		if got := fmt.Sprint(k.heard, k2.heard); got != "[0 1] [2 3 4 5]" {
			t.Error(got)
		}
		k2.clients.Hold(w2)
	})
	c.write(mask(0x81, []byte("6")))
	s2.eventually("it waits", func() bool { return len(k2.clients.waiting) > 0 })
	s2.on(func() { k2.clients.Release(w2) })
	s2.eventually("it is heard", func() bool { return len(k2.heard) == 5 && k2.heard[4] == "6" })
}

// TestLink: a link is read and written by the loop, in order and whole, and is in
// no count and no listing, whoever has the socket.
func TestLink(t *testing.T) {
	for _, mode := range []string{"", "gnet"} {
		t.Run("reactor "+mode, func(t *testing.T) {
			t.Setenv("PUSHD_REACTOR", mode)
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			must(t, err)
			ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
			defer theirs.Close()
			must(t, theirs.SetDeadline(time.Now().Add(patience)))
			w := New(anyWS)
			var got []byte
			ended := false
			var link *Link
			w.OnWorkerStart = func(w *Worker) (err error) {
				link, err = w.Link(ours, []byte("un"), func(p []byte) int {
					if len(p) < 4 { // frames of four bytes
						return 0
					}
					got = append(got, p[:4]...)
					return 4
				}, func(error) { ended = true })
				link.Write([]byte("hello"))
				return err
			}
			s := serve(t, w)
			hear := func(want string) {
				t.Helper()
				b := make([]byte, len(want))
				if _, err := io.ReadFull(theirs, b); err != nil || string(b) != want {
					t.Fatalf("%q, %v", b, err)
				}
			}
			hear("hello")
			_, err = theirs.WriteString("read")
			must(t, err)
			s.eventually("a frame has come", func() bool { return string(got) == "unre" })
			if st := s.stats(); st.Connections != 0 || w.CountConnections() != 0 {
				t.Errorf("%d connections", st.Connections)
			}
			s.on(func() {
				if len(w.loop.conns.all) != 0 {
					t.Error("it is in the registry")
				}
				link.Write([]byte("again"))
			})
			hear("again")
			_, err = theirs.WriteString("12") // "ad" waits
			must(t, err)
			s.eventually("the rest has come", func() bool { return string(got) == "unread12" })
			theirs.Close()
			s.eventually("the end is told", func() bool { return ended })
		})
	}
}
