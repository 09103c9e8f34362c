package reactor

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// settled opens a client whose socket has left gnet.
func settled(t *testing.T, s *shouter, tcp net.Addr) net.Conn {
	t.Helper()
	c := dial(t, tcp)
	says(t, c, "stay", "STAY")
	return c
}

// TestSettle: a settled socket is read, written and closed as one of gnet's, and
// gnet has forgotten it.
func TestSettle(t *testing.T) {
	t.Setenv(FallbackEnv, "") // it is about what that switches off
	s, tcp, _ := start(t)
	c := settled(t, s, tcp)
	says(t, c, "hello", "HELLO")
	s.on(func() {
		if got := strings.Join(s.events, ", "); got != "opened 0, readable, settled, readable" {
			t.Error(got)
		}
		if s.r.own.n != 1 {
			t.Errorf("%d sockets are settled", s.r.own.n)
		}
	})
	says(t, c, "bye", "")
	if err := await(t, "Closed", s.closed); err != nil {
		t.Errorf("our own close has error %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v", err)
	}
	gone := settled(t, s, tcp)
	gone.Close()
	if err := await(t, "Closed", s.closed); !errors.Is(err, io.EOF) {
		t.Errorf("the peer's close has error %v", err)
	}
	s.on(func() {
		if s.r.own.n != 0 {
			t.Errorf("%d sockets are left", s.r.own.n)
		}
	})
	says(t, settled(t, s, tcp), "next", "NEXT") // at a number that was used before
}

// TestAfterRound: what sockets ask for that are ready together comes when all of
// them were read, without the wake-up of a Post; gnet's are a round each.
func TestAfterRound(t *testing.T) {
	s, tcp, _ := start(t)
	const n = 20
	clients := make([]net.Conn, n)
	for i := range clients {
		clients[i] = settled(t, s, tcp)
	}
	var rings uint64
	posted, over := make(chan struct{}), make(chan struct{})
	must(t, s.r.Post(func() { // the loop is here, and looks at no socket
		defer close(over)
		<-posted // which has rung
		s.events, s.rounded, rings = nil, make(chan struct{}, n), CallsSoFar().Rings
		var fds []unix.PollFd
		for i, c := range clients {
			_, err := c.Write([]byte("round"))
			must(t, err)
			fds = append(fds, unix.PollFd{Fd: int32(s.peers[i].h.FD()), Events: unix.POLLIN})
		}
		for ready, err := 0, error(nil); ready < n; ready, err = unix.Poll(fds, 10) {
			if err != nil && err != unix.EINTR {
				t.Error(err)
				return
			}
		}
	}, 0))
	close(posted)
	<-over
	for _, c := range clients {
		says(t, c, "", "ROUND")
	}
	for range clients { // whoever asks the loop rings
		<-s.rounded
	}
	s.on(func() {
		s.rounded = nil
		want := strings.Repeat("readable ", n) + strings.Repeat("round ", n)
		if got := strings.Join(s.events, " ") + " "; got != want {
			t.Error(got)
		}
		if rung := s.rings[n-1] - rings; !s.r.own.off && rung != 0 {
			t.Errorf("the loop was woken %d times for what it had found", rung)
		}
	})
	c := dial(t, tcp)
	says(t, c, "round", "ROUND")
	s.on(func() {})
	s.on(func() {
		if got := strings.Join(s.events[2*n:], " "); got != "opened 0 readable round" {
			t.Error(got)
		}
	})
}

// TestSettleLater: in a turn about something else, as after a deferred answer.
func TestSettleLater(t *testing.T) {
	t.Setenv(FallbackEnv, "") // it is about what that switches off
	s, tcp, _ := start(t)
	c := dial(t, tcp)
	says(t, c, "hello", "HELLO")
	s.on(func() {
		for _, conn := range s.peers {
			s.r.Settle(conn.h)
			s.r.Settle(conn.h) // is one already
		}
	})
	says(t, c, "again", "AGAIN")
	s.on(func() {
		if s.r.own.n != 1 || len(s.closed) != 0 {
			t.Errorf("%d settled, %d closed", s.r.own.n, len(s.closed))
		}
	})
}

func TestSettledWritable(t *testing.T) {
	s, tcp, _ := start(t)
	c := settled(t, s, tcp)
	says(t, c, "much", "")
	if n, err := io.CopyN(io.Discard, c, 16<<20); n != 16<<20 {
		t.Fatalf("%d bytes came: %v", n, err)
	}
	says(t, c, "still here", "STILL\x00HERE")
}

// TestBothKinds: neither gnet's sockets nor the settled ones starve the others,
// and clients still get in.
func TestBothKinds(t *testing.T) {
	s, tcp, udp := start(t)
	own, guest := settled(t, s, tcp), dial(t, tcp)
	for range 100 {
		says(t, own, "a", "A")
		says(t, guest, "b", "B")
		says(t, dial(t, udp), "c", "C")
		says(t, dial(t, tcp), "d", "D")
	}
}

// TestStaleEvent: an event of a socket that has closed is not its successor's,
// and one that is out of sight has none.
func TestStaleEvent(t *testing.T) {
	t.Setenv(FallbackEnv, "") // it is about what that switches off
	s, tcp, _ := start(t)
	c := settled(t, s, tcp)
	s.on(func() {
		p := s.peers[0]
		s.r.Detach(p.h)
		_, err := io.WriteString(c, "late") // so that whoever reads finds something
		must(t, err)
		for end := time.Now().Add(patience); !p.h.Unread() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		s.r.read(p.h.fd, p.h.gen)
		must(t, s.r.Attach(p.h))
		s.r.read(p.h.fd, p.h.gen+1)
		s.r.Close(Handle{fd: p.h.fd, gen: p.h.gen + 1})
		if got := strings.Join(s.events, ", "); got != "opened 0, readable, settled" {
			t.Error(got)
		}
	})
	says(t, c, "", "LATE")
}

// TestHaltClosesSettled: what is open when the loop ends is told so.
func TestHaltClosesSettled(t *testing.T) {
	s, tcp, _ := start(t)
	settled(t, s, tcp)
	settled(t, s, tcp)
	s.r.Shutdown()
	if len(s.closed) != 2 {
		t.Errorf("%d of 2 were told", len(s.closed))
	}
}

// TestFallback leaves everything to gnet.
func TestFallback(t *testing.T) {
	t.Setenv(FallbackEnv, "gnet")
	s, tcp, _ := start(t)
	c := dial(t, tcp)
	says(t, c, "stay", "STAY")
	says(t, c, "hello", "HELLO")
	s.on(func() {
		if s.r.own.n != 0 {
			t.Error("a socket has left gnet")
		}
	})
}

// TestFetchedComesBeforeTheNextTurn: what gnet has fetched of a socket that goes
// out of sight comes in the same turn of gnet's, before anything that is posted
// from then on: a hand-over writes its records in a function of that kind, and
// what came after them would be lost.
func TestFetchedComesBeforeTheNextTurn(t *testing.T) {
	s, tcp, _ := start(t)
	settled(t, s, tcp) // without one the reactor leaves the wake-up to gnet
	c := dial(t, tcp)
	says(t, c, "hello", "HELLO")
	for range 20 {
		done := make(chan error, 1)
		s.on(func() { // a turn in which the wake-up and the socket become ready, in this order
			guest := s.peers[1]
			s.events = nil
			must(t, s.r.Post(func() {
				s.note("frozen")
				s.r.Detach(guest.h)
				must(t, s.r.Post(func() { s.note("packed"); done <- nil }, 0))
			}, 0))
			_, err := io.WriteString(c, "x")
			must(t, err)
			for end := time.Now().Add(patience); !guest.h.Unread() && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
		})
		await(t, "packed", done)
		got := ""
		s.on(func() {
			got = strings.Join(s.events, ", ")
			must(t, s.r.Attach(s.peers[1].h))
		})
		if strings.Count(got, "readable") != 1 || strings.Index(got, "packed") < strings.Index(got, "readable") {
			t.Fatal(got)
		}
		says(t, c, "", "X")
	}
}
