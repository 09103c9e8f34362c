package reactor

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait of these tests; none of them measures time.
const patience = 30 * time.Second

// shouter is a handler of a few lines: it answers in capitals, and writes down
// what happens to each peer.
type shouter struct {
	t      *testing.T
	r      *Reactor[*peer]
	turn   bool
	events []string
	lost   int
	closed chan error
	landed chan *peer
	again  chan struct{}

	rings    []uint64      // so far, at each turn behind a round
	rounded  chan struct{} // nil, or told of each of those
	peers    []*peer
	writable func(*peer) // may be nil
}

type peer struct {
	h   Handle
	udp bool
	out []byte // what the socket has not taken
}

func (s *shouter) Begin() {
	if s.turn {
		s.t.Error("a turn begins within a turn")
	}
	s.turn = true
}

func (s *shouter) End() { s.turn = false }

func (s *shouter) note(what string) {
	if !s.turn {
		s.t.Errorf("%s outside of a turn", what)
	}
	s.events = append(s.events, what)
}

func (s *shouter) Opened(h Handle, i int) (*peer, bool) {
	s.note(fmt.Sprint("opened ", i))
	c := &peer{h: h, udp: i == 1}
	s.peers = append(s.peers, c)
	return c, h.Peer().IsValid()
}

func (s *shouter) Readable(c *peer, p []byte) {
	s.note("readable")
	for i, b := range p { // in place: the buffer is ours for now
		p[i] = b &^ 0x20
	}
	switch {
	case c.udp:
		must(s.t, c.h.Reply(p))
	case strings.HasPrefix(string(p), "BYE"):
		s.r.Close(c.h) // the very socket that the turn is about
	case strings.HasPrefix(string(p), "STAY"):
		s.write(c, p)
		s.r.Settle(c.h)
	case strings.HasPrefix(string(p), "ROUND"):
		s.r.AfterRound(func() {
			s.note("round")
			s.rings = append(s.rings, CallsSoFar().Rings)
			if s.rounded != nil {
				s.rounded <- struct{}{}
			}
		})
		s.write(c, p)
	case strings.HasPrefix(string(p), "MUCH"):
		c.out = make([]byte, 16<<20)
		s.Writable(c)
	default:
		s.write(c, p)
	}
}

func (s *shouter) write(c *peer, p []byte) {
	if n, err := c.h.Write(p); n != len(p) || err != nil {
		s.t.Errorf("wrote %d of %d bytes: %v", n, len(p), err)
	}
}

func (s *shouter) Writable(c *peer) {
	if s.writable != nil {
		s.writable(c)
	}
	n, err := c.h.Write(c.out)
	must(s.t, err)
	if c.out = c.out[n:]; len(c.out) > 0 {
		must(s.t, s.r.AwaitWritable(c.h))
	} else {
		s.r.ForgetWritable(c.h)
	}
}

func (s *shouter) Closed(c *peer, err error) {
	s.note("closed")
	if !c.udp {
		s.closed <- err
	}
}

func (s *shouter) Settled(c *peer, h Handle) {
	s.note("settled")
	c.h = h
}

func (s *shouter) Landed(c *peer, h Handle, err error) {
	s.note("landed")
	must(s.t, err)
	c.h = h
	s.landed <- c
}

func (s *shouter) Lost(*peer) bool { s.note("lost"); s.lost++; return true }

func (s *shouter) Restarted() {
	s.note("restarted")
	must(s.t, s.r.Listen())
	close(s.again)
}

func (s *shouter) Woken(posted []func()) {
	for _, fn := range posted {
		fn()
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a reactor with a listener for TCP and one for UDP.
func start(t *testing.T) (s *shouter, tcp, udp net.Addr) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	s = &shouter{t: t, closed: make(chan error, 1000), landed: make(chan *peer, 1000), again: make(chan struct{})}
	s.r, err = New(s, slog.New(slog.DiscardHandler), []Listener{
		{FD: descriptor(t, ln.(*net.TCPListener))}, {FD: descriptor(t, pc.(*net.UDPConn)), Datagrams: true},
	})
	must(t, err)
	ln.Close()
	pc.Close()
	must(t, s.r.Start())
	t.Cleanup(func() {
		s.r.CloseListeners()
		s.r.Shutdown()
		must(t, s.r.Err())
	})
	s.on(func() { must(t, s.r.Listen()) })
	return s, ln.Addr(), pc.LocalAddr()
}

// descriptor returns a non-blocking duplicate.
func descriptor(t *testing.T, from interface{ File() (*os.File, error) }) int {
	t.Helper()
	f, err := from.File()
	must(t, err)
	defer f.Close()
	fd, err := Duplicate(int(f.Fd()))
	must(t, err)
	must(t, unix.SetNonblock(fd, true))
	return fd
}

func (s *shouter) on(fn func()) {
	s.t.Helper()
	must(s.t, s.r.Do(fn))
}

// says sends a line and compares the answer.
func says(t *testing.T, c net.Conn, line, want string) {
	t.Helper()
	must(t, c.SetDeadline(time.Now().Add(patience)))
	_, err := io.WriteString(c, line)
	must(t, err)
	got := make([]byte, len(want))
	_, err = io.ReadFull(c, got)
	must(t, err)
	if string(got) != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func dial(t *testing.T, to net.Addr) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(to.Network(), to.String(), patience)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func await[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatal("never: " + what)
	}
	return v
}

func TestTurns(t *testing.T) {
	s, tcp, udp := start(t)
	c := dial(t, tcp)
	says(t, c, "hello", "HELLO")
	says(t, dial(t, udp), "packet", "PACKET")
	says(t, c, "bye", "")
	if err := await(t, "Closed", s.closed); err != nil {
		t.Errorf("our own close has error %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v", err)
	}
	s.on(func() {
		got := strings.Join(s.events, ", ")
		if got != "opened 0, readable, opened 1, readable, closed, readable, closed" {
			t.Error(got)
		}
	})
	gone := dial(t, tcp)
	says(t, gone, "x", "X")
	gone.Close()
	if err := await(t, "Closed", s.closed); !errors.Is(err, io.EOF) {
		t.Errorf("the peer's close has error %v", err)
	}
}

// TestWritable: the rest of what a socket has not taken goes out as it drains.
func TestWritable(t *testing.T) {
	s, tcp, _ := start(t)
	c := dial(t, tcp)
	says(t, c, "much", "")
	n, err := io.CopyN(io.Discard, c, 16<<20)
	if n != 16<<20 {
		t.Fatalf("%d bytes came: %v", n, err)
	}
	says(t, c, "still here", "STILL\x00HERE")
	s.on(func() {
		if s.r.AwaitsWritable() != 0 {
			t.Error("it is still waited for")
		}
	})
}

// TestAdopt takes sockets in that the reactor did not accept, more than there are
// dummies at a time, and with input that came before.
func TestAdopt(t *testing.T)        { testAdopt(t, (*Reactor[*peer]).Adopt) }
func TestAdoptSettled(t *testing.T) { testAdopt(t, (*Reactor[*peer]).AdoptSettled) }

func testAdopt(t *testing.T, adopt func(*Reactor[*peer], *peer, int)) {
	s, _, _ := start(t)
	const n = 3 * maxDummies
	var ends []net.Conn
	for range n {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		must(t, err)
		f := os.NewFile(uintptr(pair[0]), "")
		c, err := net.FileConn(f)
		must(t, err)
		f.Close()
		defer c.Close()
		_, err = io.WriteString(c, "early ")
		must(t, err)
		ends = append(ends, c)
		s.on(func() { adopt(s.r, &peer{}, pair[1]) })
	}
	for _, c := range ends {
		says(t, c, "", "EARLY\x00")
		says(t, c, "late", "LATE")
	}
}

// TestDetach: what comes to a socket out of the loop's sight waits until it is
// back; and so with a muted one.
func TestDetach(t *testing.T)        { testDetach(t, (*Reactor[*peer]).Adopt) }
func TestDetachSettled(t *testing.T) { testDetach(t, (*Reactor[*peer]).AdoptSettled) }

func testDetach(t *testing.T, adopt func(*Reactor[*peer], *peer, int)) {
	s, _, _ := start(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	s.on(func() { adopt(s.r, &peer{}, pair[0]) })
	p := await(t, "Landed", s.landed)
	s.on(func() { s.r.Detach(p.h) })
	_, err = unix.Write(pair[1], []byte("b"))
	must(t, err)
	s.on(func() {})
	s.on(func() {
		if strings.Contains(strings.Join(s.events, " "), "readable") {
			t.Error("a detached socket is read")
		}
		must(t, s.r.Attach(p.h))
		must(t, s.r.Mute(p.h, true))
	})
	s.on(func() {})
	s.on(func() {
		if strings.Contains(strings.Join(s.events, " "), "readable") {
			t.Error("a muted socket is read")
		}
		must(t, s.r.Mute(p.h, false))
	})
	f := os.NewFile(uintptr(pair[1]), "")
	end, err := net.FileConn(f)
	must(t, err)
	f.Close()
	defer end.Close()
	says(t, end, "", "B")
}

// TestRescue lets an accept fail: gnet stops, the sockets come back, and what was
// posted meanwhile runs.
func TestRescue(t *testing.T) {
	s, tcp, _ := start(t)
	const n = 20
	var clients []net.Conn
	for i := range 2 * n {
		c := dial(t, tcp)
		says(t, c, "before", "BEFORE")
		if i%2 == 1 { // these do not notice
			says(t, c, "stay", "STAY")
		}
		clients = append(clients, c)
	}
	s.on(func() {}) // the last one has settled
	trigger, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(trigger)
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	must(t, unix.Connect(trigger, &unix.SockaddrInet4{Port: tcp.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}))
	await(t, "Restarted", s.again)
	for _, c := range clients {
		says(t, c, "after", "AFTER")
	}
	says(t, dial(t, tcp), "new", "NEW")
	told := n
	if os.Getenv(FallbackEnv) == "gnet" { // nobody has left it
		told = 2 * n
	}
	s.on(func() {
		if s.lost != told || len(s.closed) != 0 {
			t.Errorf("%d of %d were told, %d closed", s.lost, told, len(s.closed))
		}
	})
}

// TestPosts: functions run in order; the limit holds; a loop that has ended says
// so to everybody.
func TestPosts(t *testing.T) {
	s, _, _ := start(t)
	var order []int
	var wait sync.WaitGroup
	wait.Add(1)
	must(t, s.r.Post(wait.Wait, 0)) // so that the next ones gather
	for i := range 5 {
		must(t, s.r.Post(func() { order = append(order, i) }, 0))
	}
	if err := s.r.Post(func() {}, 3); err != ErrBusy {
		t.Errorf("over the limit: %v", err)
	}
	wait.Done()
	s.on(func() {
		if fmt.Sprint(order) != "[0 1 2 3 4]" {
			t.Error(order)
		}
	})
	s.r.Shutdown()
	if err := s.r.Do(func() {}); err != ErrStopped {
		t.Errorf("Do after the end: %v", err)
	}
	await(t, "Over", s.r.Over())
}

// TestSurplus fails when gnet's connection has changed, so that trim knows it no
// longer.
func TestSurplus(t *testing.T) {
	s, tcp, _ := start(t)
	c := dial(t, tcp)
	says(t, c, "hello", "HELLO")
	s.on(func() {
		if !s.r.surplus.known {
			t.Error("gnet's connection has other fields than trim expects: look at what it keeps, then at findSurplus")
		}
	})
}

// TestWritableWhileWoken: a socket that is found to take bytes again while the
// loop is at work on another one that does is not forgotten.
func TestWritableWhileWoken(t *testing.T) {
	s, tcp, _ := start(t)
	var peers []*peer
	for range 2 {
		says(t, dial(t, tcp), "x", "X")
	}
	s.on(func() { peers = s.peers })
	find := func(p *peer) { // as collect does
		fd := int32(p.h.FD())
		s.r.writable.waiting[fd] = waiter{h: p.h, tag: -1}
		s.r.writable.mu.Lock()
		s.r.writable.ready = append(s.r.writable.ready, unix.EpollEvent{Fd: fd, Pad: -1})
		s.r.writable.mu.Unlock()
		s.r.Wake()
	}
	served := make(chan struct{})
	s.on(func() {
		s.writable = func(p *peer) {
			if p == peers[0] {
				find(peers[1])
			} else {
				close(served)
			}
		}
		find(peers[0])
	})
	await(t, "Writable of the second", served)
}
