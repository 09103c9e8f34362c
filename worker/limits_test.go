package worker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/protocol"
)

// stall connects a client that reads nothing for now.
func stall(t *testing.T, addr string) *client {
	t.Helper()
	return connect(t, addr, "/")
}

func TestSlowClientIsClosed(t *testing.T) {
	w := New(anyWS)
	w.Limits.MaxQueue = 256 << 10
	var full, most int
	var sendErr, closed error
	w.OnBufferFull = func(*Conn) { full++ }
	w.OnClose = func(_ *Conn, err error) { closed = err }
	s := serve(t, w)
	c := stall(t, s.addrs[0])
	s.eventually("the queue is over its limit", func() bool {
		for _, c := range w.loop.conns.snapshot() {
			sendErr = c.Send(Message{Data: make([]byte, 32<<10), Binary: true})
			most = max(most, c.QueueBytes())
		}
		return sendErr != nil
	})
	if !errors.Is(sendErr, ErrSlow) || full != 1 || most > 256<<10 {
		t.Fatalf("Send: %v, OnBufferFull %d times, at most %d bytes queued", sendErr, full, most)
	}
	s.eventually("it is closed", func() bool { return errors.Is(closed, ErrSlow) })
	if st := s.stats(); st.SendFailuresBy["slow"] != 1 || st.QueueBytes != 0 {
		t.Fatalf("%+v", st)
	}
	_ = c
}

func TestSlowClientGetsCloseFrame(t *testing.T) {
	w := New(anyWS)
	w.Limits.MaxQueue = 64 << 10
	s := serve(t, w)
	c := stall(t, s.addrs[0])
	s.eventually("overflow", func() bool {
		for _, c := range w.loop.conns.snapshot() {
			if c.Send(Message{Data: make([]byte, 8<<10), Binary: true}) != nil {
				return true
			}
		}
		return false
	})
	c.wantClose(1013) // whole frames up to here, or frame() fails
}

func TestDropOldestAndLatest(t *testing.T) {
	for _, policy := range []Slow{SlowDropOldest, SlowLatest} {
		t.Run(string(policy), func(t *testing.T) {
			w := New(anyWS)
			w.Limits.MaxQueue = 64 << 10
			w.Slow = policy
			dropped, sent := 0, 0
			w.OnError = func(_ *Conn, err error) {
				if errors.Is(err, ErrQueueFull) {
					dropped++
				}
			}
			s := serve(t, w)
			c := stall(t, s.addrs[0])
			s.eventually("messages are dropped", func() bool {
				for _, c := range w.loop.conns.snapshot() {
					for range 50 {
						sent++
						must(t, c.SendText(fmt.Sprintf("%08d", sent)+strings.Repeat(".", 40_000)))
					}
				}
				return dropped > 0
			})
			last, got := 0, 0
			for last < sent {
				_, p, err := c.frame()
				must(t, err)
				var n int
				if _, err := fmt.Sscanf(string(p[:8]), "%d", &n); err != nil || n <= last || len(p) != 40_008 {
					t.Fatalf("message %q after %d", p[:8], last)
				}
				last = n
				got++
			}
			if got == sent {
				t.Fatal("nothing was dropped")
			}
			if s.stats().SendFailuresBy["dropped"] != uint64(sent-got) {
				t.Fatalf("%d of %d arrived, counted %v", got, sent, s.stats().SendFailuresBy)
			}
		})
	}
}

func TestBufferDrainAndBigMessageAlone(t *testing.T) {
	w := New(anyWS)
	w.Limits.MaxQueue = 64 << 10
	var full, drained int
	w.OnBufferFull = func(*Conn) { full++ }
	w.OnBufferDrain = func(*Conn) { drained++ }
	s := serve(t, w)
	c := stall(t, s.addrs[0])
	big := strings.Repeat("b", 16<<20)
	s.on(func() {
		for _, c := range w.loop.conns.snapshot() {
			if err := c.SendText(big); err != nil {
				t.Errorf("a message alone in an empty queue: %v", err)
			}
		}
	})
	s.on(func() {
		if full != 1 || drained != 0 {
			t.Errorf("full %d, drained %d", full, drained)
		}
	})
	if _, p, err := c.frame(); err != nil || string(p) != big {
		t.Fatalf("%d bytes arrived, %v", len(p), err)
	}
	s.eventually("OnBufferDrain", func() bool { return drained == 1 })
	s.on(func() {
		for _, c := range w.loop.conns.snapshot() {
			if c.out != nil || w.loop.reactor.AwaitsWritable() != 0 {
				t.Error("a drained connection keeps its queue")
			}
		}
	})
}

func TestPauseReadHoldsBackMessages(t *testing.T) {
	w := New(anyWS)
	var got []string
	var conn *Conn
	w.OnMessage = func(c *Conn, m Message) {
		conn = c
		got = append(got, m.String())
		if m.String() == "pause" {
			c.PauseRead()
		}
	}
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/")
	c.write(append(mask(0x81, []byte("pause")), mask(0x81, []byte("held"))...))
	s.eventually("pause", func() bool { return len(got) == 1 })
	c.text("later")
	s.on(func() {
		if len(got) != 1 || !conn.has(flagMuted) {
			t.Errorf("paused, but got %v", got)
		}
		conn.ResumeRead()
	})
	s.eventually("the rest", func() bool { return strings.Join(got, " ") == "pause held later" })
}

func TestPingsAndDeadClients(t *testing.T) {
	w := New(anyWS)
	w.PingInterval, w.PingTimeout = time.Second, time.Second
	var closed error
	w.OnClose = func(_ *Conn, err error) { closed = err }
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/")
	for range 2 {
		first, p, err := c.frame()
		if err != nil || first != 0x89 || len(p) != 0 {
			t.Fatalf("want a ping, got %#x %q %v", first, p, err)
		}
		c.write(mask(0x8a, nil))
	}
	if first, _, err := c.frame(); err != nil || first != 0x89 {
		t.Fatalf("want a ping, got %#x %v", first, err)
	}
	s.eventually("a silent client is closed", func() bool { return errors.Is(closed, ErrTimeout) })
}

// TestTimeoutGoodbye: OnTimeout may say goodbye to a silent client.
func TestTimeoutGoodbye(t *testing.T) {
	w := New(anyWS)
	w.PingInterval, w.PingTimeout = time.Second, time.Second
	var closed error
	w.OnTimeout = func(c *Conn) { c.Close(4201, "no pong") }
	w.OnClose = func(_ *Conn, err error) { closed = err }
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/")
	if first, _, err := c.frame(); err != nil || first != 0x89 {
		t.Fatalf("want a ping, got %#x %v", first, err)
	}
	if first, p, err := c.frame(); err != nil || first != 0x88 || string(p) != "\x10\x69no pong" {
		t.Fatalf("want close 4201, got %#x %q %v", first, p, err)
	}
	c.write(mask(0x88, []byte("\x10\x69")))
	s.eventually("OnClose", func() bool { return errors.Is(closed, ErrTimeout) })
}

func TestControlFlood(t *testing.T) {
	w := New(anyWS)
	s := serve(t, w)
	c := connect(t, s.addrs[0], "/")
	var flood []byte
	for range 250 {
		flood = append(flood, mask(0x89, nil)...)
	}
	c.write(flood)
	c.wantClose(1008)
}

func TestMaxConnectionsPausesAccept(t *testing.T) {
	w := New(anyWS)
	w.Limits.MaxConnections = 3
	w.OnConnect = func(c *Conn) { _ = c.SendText("in") }
	s := serve(t, w)
	var in []*client
	for range 3 {
		c := connect(t, s.addrs[0], "/")
		c.want("in")
		in = append(in, c)
	}
	waiting := dial(t, s.addrs[0])
	done := make(chan bool)
	go func() { done <- waiting.upgrade("/").StatusCode == 101 }()
	s.on(func() {
		if !w.loop.accept.paused {
			t.Error("accepting goes on at the limit")
		}
	})
	in[0].conn.Close()
	if !<-done {
		t.Fatal("the waiting client was not served")
	}
	waiting.want("in")
}

func TestPerIP(t *testing.T) {
	w := New(anyWS)
	w.Limits.PerIP = 2
	w.OnConnect = func(c *Conn) { _ = c.SendText("in") }
	s := serve(t, w)
	a, b := connect(t, s.addrs[0], "/"), connect(t, s.addrs[0], "/")
	a.want("in")
	b.want("in")
	if _, err := dial(t, s.addrs[0]).r.ReadByte(); err == nil {
		t.Fatal("a third connection of one address was let in")
	}
	a.conn.Close()
	s.eventually("room", func() bool { return w.CountConnections() == 1 })
	connect(t, s.addrs[0], "/").want("in")
}

// accident lowers the descriptor limit under a running worker until an accept has
// failed and gnet has stopped.
func (s *server) accident() {
	s.t.Helper()
	t := s.t
	trigger, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|closeOnExec, 0)
	must(t, err)
	defer unix.Close(trigger)
	addr, err := net.ResolveTCPAddr("tcp", s.addrs[0])
	must(t, err)
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	must(t, unix.Connect(trigger, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}))
	for end := time.Now().Add(patience); !strings.Contains(s.log.String(), "stopped unexpectedly"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("gnet did not stop:\n%s", s.log)
		}
	}
}

// TestAcceptErrorKeepsConnections lowers the descriptor limit under a running
// worker, so that accept fails and gnet stops.
func TestAcceptErrorKeepsConnections(t *testing.T) {
	w := New(anyWS)
	w.OnMessage = func(c *Conn, m Message) { _ = c.Send(m) }
	var closed int
	w.OnClose = func(*Conn, error) { closed++ }
	s := serve(t, w)
	var clients []*client
	for i := range 100 {
		c := connect(t, s.addrs[0], "/")
		c.text(fmt.Sprint("before ", i))
		c.want(fmt.Sprint("before ", i))
		clients = append(clients, c)
	}
	half := mask(0x81, []byte("split over the accident"))
	clients[7].write(half[:9])
	s.accident()
	clients[7].write(half[9:])
	clients[7].want("split over the accident")
	for i, c := range clients {
		c.text(fmt.Sprint("after ", i))
		c.want(fmt.Sprint("after ", i))
	}
	s.on(func() {
		if closed != 0 || w.CountConnections() < 100 {
			t.Errorf("%d closed, %d left", closed, w.CountConnections())
		}
	})
	fresh := connect(t, s.addrs[0], "/")
	fresh.text("new clients come in")
	fresh.want("new clients come in")
}

func TestPacketProtocols(t *testing.T) {
	dir := t.TempDir()
	w := New("text://127.0.0.1:0", "frame://127.0.0.1:0", "tcp://127.0.0.1:0", "unix://"+filepath.Join(dir, "raw.sock"), "text://"+filepath.Join(dir, "text.sock"))
	w.OnConnect = func(c *Conn) { _ = c.SendText("hi"); c.Join("all") }
	w.OnMessage = func(c *Conn, m Message) {
		if m.String() == "all" {
			must(t, w.Publish("all", Text("to all")))
			return
		}
		_ = c.Send(m)
	}
	s := serve(t, w)
	var clients []*client
	for i, tc := range []struct{ hi, send, want string }{
		{"hi\n", "one\r\ntwo\n", "one\ntwo\n"},
		{"\x00\x00\x00\x06hi", "\x00\x00\x00\x05a\x00\x00\x00\x06bc", "\x00\x00\x00\x05a\x00\x00\x00\x06bc"},
		{"hi", "raw", "raw"}, {"hi", "raw", "raw"}, {"hi\n", "x\n", "x\n"},
	} {
		c := dial(t, s.addrs[i])
		c.wantBytes(tc.hi)
		for j := range len(tc.send) { // in single bytes
			if strings.HasPrefix(tc.send, "raw") {
				c.write([]byte(tc.send))
				break
			}
			c.write([]byte(tc.send[j : j+1]))
		}
		c.wantBytes(tc.want)
		clients = append(clients, c)
	}
	clients[0].write([]byte("all\n"))
	for i, want := range []string{"to all\n", "\x00\x00\x00\x0ato all", "to all", "to all", "to all\n"} {
		clients[i].wantBytes(want)
	}
	for i, bad := range []string{strings.Repeat("x", 70_000), "\x7f\xff\xff\xff", ""} {
		if bad != "" {
			clients[i].write([]byte(bad))
			clients[i].wantEOF()
		}
	}
}

func (c *client) wantBytes(want string) {
	c.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
		c.t.Fatalf("got %q %v, want %q", got[:n], err, want)
	}
}

func TestDatagrams(t *testing.T) {
	w := New("udp://127.0.0.1:0", anyWS)
	w.OnConnect = func(c *Conn) { c.Join("all") }
	w.OnMessage = func(c *Conn, m Message) {
		must(t, w.Publish("all", m))
		_ = c.SendText("thanks")
	}
	s := serve(t, w)
	ws := connect(t, s.addrs[1], "/")
	s.eventually("joined", func() bool { return w.CountConnections() == 1 })
	c, err := net.Dial("udp", s.addrs[0])
	must(t, err)
	defer c.Close()
	_, err = c.Write([]byte("datagram"))
	must(t, err)
	buf := make([]byte, 100)
	must(t, c.SetDeadline(time.Now().Add(patience)))
	n, err := c.Read(buf)
	if err != nil || string(buf[:n]) != "thanks" {
		t.Fatalf("got %q %v", buf[:n], err)
	}
	ws.want("datagram")
}

// shout is a protocol of one's own: upper-case words that end in "!".
type shout struct{}

func (shout) Input(b []byte, _ int) (int, error)       { return strings.IndexByte(string(b), '!') + 1, nil }
func (shout) Decode(p []byte) ([]byte, error)          { return p[:len(p)-1], nil }
func (shout) Encode(dst []byte, payload []byte) []byte { return append(append(dst, payload...), '!') }

func init() { protocol.Register("shout", shout{}) }

func TestOwnProtocol(t *testing.T) {
	w := New("shout://127.0.0.1:0")
	w.OnMessage = func(c *Conn, m Message) { _ = c.Send(m) }
	s := serve(t, w)
	c := dial(t, s.addrs[0])
	c.write([]byte("HEY!YOU!"))
	c.wantBytes("HEY!YOU!")
}

func TestQueuesOfPostAndGo(t *testing.T) {
	w := New(anyWS)
	s := serve(t, w)
	block, blocked := make(chan struct{}), make(chan struct{})
	must(t, w.Post(func() { close(blocked); <-block }))
	<-blocked
	for range maxPosted {
		must(t, w.Post(func() {}))
	}
	if err := w.Post(func() {}); !errors.Is(err, ErrBusy) {
		t.Fatalf("a full queue says %v", err)
	}
	close(block)
	s.eventually("the queue empties", func() bool { return w.loop.reactor.Posted() == 0 })
	hold := make(chan struct{})
	for range maxTasks {
		must(t, w.Go(func() { <-hold }))
	}
	if err := w.Go(func() {}); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "under way in Go") {
		t.Fatalf("too many goroutines: %v", err)
	}
	close(hold)
}
