package worker

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest/testkit"
	"github.com/pushd/pushd/protocol/control"
	"github.com/pushd/pushd/worker/reactor"
	"golang.org/x/sys/unix"
)

// patience bounds every wait of these tests; none of them measures time.
const patience = testkit.Patience

// testBus carries publications between the workers of a test. Each gets all of
// them, in one order.
type testBus struct {
	mu      sync.Mutex
	clients []*loopback
	nextID  uint64
	first   *BusQuery     // who comes is asked this at once; nil = nothing
	hold    chan struct{} // who comes hears nothing until it is closed; nil = all
}

// loopback is a worker's end of a bus.
type loopback struct {
	bus      *testBus
	id       uint64
	seq      map[uint8]uint64
	in       Inbox
	ch       chan func()
	done     chan struct{}
	answers  chan Answer
	fail     error
	barriers int
	server   string              // of several; "" = there is one
	asked    chan func(all bool) // the done of each Everywhere
}

func (b *testBus) client() *loopback {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nextID++
	return &loopback{bus: b, id: b.nextID, seq: map[uint8]uint64{}, ch: make(chan func(), 1<<16),
		done: make(chan struct{}), answers: make(chan Answer, 1024), asked: make(chan func(bool), 64)}
}

func (c *loopback) Start(in Inbox) error {
	c.in = in
	if c.bus.first != nil {
		in.Query(*c.bus.first)
	}
	c.bus.mu.Lock()
	c.bus.clients = append(c.bus.clients, c)
	if hold := c.bus.hold; hold != nil {
		c.ch <- func() { <-hold }
	}
	c.bus.mu.Unlock()
	go func() {
		defer close(c.done)
		for deliver := range c.ch {
			deliver()
		}
	}()
	return nil
}

func (c *loopback) Publish(p *Publication) error {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	c.seq[p.Shard]++
	p.Publisher, p.Seq = c.id, c.seq[p.Shard]
	for _, to := range c.bus.clients {
		p := *p
		to.ch <- func() { to.in.Deliver([]Publication{p}) }
	}
	return nil
}

func (c *loopback) Barrier(_ bool, reached func()) error {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	if c.fail == nil {
		c.barriers++
		c.ch <- reached
	}
	return c.fail
}

// on has it hang on a server of several.
func (c *loopback) on(server string) {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	c.server = server
}

func (c *loopback) Server() string {
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	return c.server
}

func (c *loopback) Everywhere(_ time.Duration, done func(bool)) error {
	c.asked <- done
	return nil
}

func (c *loopback) Heard(func(uint64, uint8, uint64)) {}
func (c *loopback) Expect(uint64, uint8, uint64)      {}

func (c *loopback) PublishAll(ps []Publication) error {
	for i := range ps {
		if err := c.Publish(&ps[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *loopback) Answer(_ string, a Answer) { c.answers <- a }
func (c *loopback) Stats() BrokerStats        { return BrokerStats{Connected: true} }

func (c *loopback) Close() error {
	c.bus.mu.Lock()
	for i, o := range c.bus.clients {
		if o == c {
			c.bus.clients = append(c.bus.clients[:i], c.bus.clients[i+1:]...)
			break
		}
	}
	c.bus.mu.Unlock()
	close(c.ch)
	<-c.done
	return nil
}

// server is a worker running in this process under a pretended master.
type server struct {
	t      testing.TB
	w      *Worker
	broker *loopback
	master *control.Conn
	addrs  []string
	kept   []int // the master's own descriptors of the listeners
	init   control.Init
	trusts []netip.Prefix

	stopped bool
	ended   chan error
	log     *testkit.Log
}

// serve starts w and waits until it is ready.
func serve(t testing.TB, w *Worker, proxies ...netip.Prefix) *server {
	t.Helper()
	return launch(t, w, &testBus{}, nil, proxies...)
}

// launch starts w on b. With a predecessor it takes over that one's sockets, and
// its proxies unless there are others.
func launch(t testing.TB, w *Worker, b *testBus, old *server, proxies ...netip.Prefix) *server {
	t.Helper()
	if old != nil && proxies == nil {
		proxies = old.trusts
	}
	s := &server{t: t, w: w, broker: b.client(), trusts: proxies, ended: make(chan error, 1), log: new(testkit.Log)}
	master, child, err := control.Pair()
	must(t, err)
	s.master = master
	ctl, err := control.Open(child)
	must(t, err)
	init := control.Init{Version: 1, Role: control.RoleWorker, Name: w.Name, Generation: 1, DrainMS: 100}
	for i, addr := range w.Listen() {
		if old != nil {
			init.Generation, init.Heir = old.init.Generation+1, true
			s.addrs = append(s.addrs, old.addrs[i])
			fd, err := reactor.Duplicate(old.kept[i])
			must(t, err)
			init.Listeners = append(init.Listeners, control.Listener{Address: addr, FD: fd})
		} else {
			init.Listeners = append(init.Listeners, s.bind(addr))
		}
		fd, err := reactor.Duplicate(init.Listeners[i].FD)
		must(t, err)
		t.Cleanup(func() { closeFD(fd) })
		s.kept = append(s.kept, fd)
	}
	s.init = init
	// The race detector does not see the order that the control channel gives.
	started, before := make(chan struct{}), w.OnWorkerStart
	w.OnWorkerStart = func(w *Worker) error {
		close(started)
		if before != nil {
			return before(w)
		}
		return nil
	}
	go func() {
		s.ended <- w.Serve(Process{Control: ctl, Init: init, Broker: s.broker, TrustedProxies: proxies, Certs: certified(w),
			Log: slog.New(slog.NewTextHandler(s.log, nil))})
		ctl.Close()
	}()
	m := s.receive()
	if m.Type != control.TypeReady {
		t.Fatalf("worker said %s %s", m.Type, m.Body)
	}
	<-started
	t.Cleanup(s.stop)
	return s
}

// bind plays the master's part: the socket outlives the worker's use of it.
func (s *server) bind(addr string) control.Listener {
	scheme, local, _ := strings.Cut(addr, "://")
	var f *os.File
	var err error
	switch {
	case scheme == "udp":
		pc, lerr := net.ListenPacket("udp", local)
		must(s.t, lerr)
		s.addrs = append(s.addrs, pc.LocalAddr().String())
		f, err = pc.(*net.UDPConn).File()
		pc.Close()
	case strings.HasPrefix(local, "/"):
		ln, lerr := net.Listen("unix", local)
		must(s.t, lerr)
		ln.(*net.UnixListener).SetUnlinkOnClose(false)
		s.addrs = append(s.addrs, local)
		f, err = ln.(*net.UnixListener).File()
		ln.Close()
	default:
		ln, lerr := net.Listen("tcp", local)
		must(s.t, lerr)
		s.addrs = append(s.addrs, ln.Addr().String())
		f, err = ln.(*net.TCPListener).File()
		ln.Close()
	}
	must(s.t, err)
	fd, err := reactor.Duplicate(int(f.Fd()))
	must(s.t, err)
	f.Close()
	must(s.t, unix.SetNonblock(fd, true))
	return control.Listener{Address: addr, FD: fd}
}

func (s *server) receive() control.Message {
	s.t.Helper()
	must(s.t, s.master.SetReadDeadline(time.Now().Add(patience)))
	m, _, err := s.master.Receive()
	must(s.t, err)
	return m
}

// stop ends the worker and checks that it ends well.
func (s *server) stop() {
	if s.stopped {
		return
	}
	_ = s.master.Send(control.TypeStop, 0, control.Stop{Code: 1001, DrainMS: 1})
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("Serve: %v", err)
		}
	case <-time.After(patience):
		s.t.Error("worker did not stop")
	}
	s.master.Close()
}

// query asks the worker over the control channel.
func (s *server) query(what string, args, into any) {
	s.t.Helper()
	raw, err := json.Marshal(args)
	must(s.t, err)
	must(s.t, s.master.Send(control.TypeQuery, 7, control.Query{What: what, Args: raw}))
	m := s.receive()
	if m.Error != "" {
		s.t.Fatal(m.Error)
	}
	must(s.t, json.Unmarshal(m.Body, into))
}

func (s *server) stats() (st Stats) { s.t.Helper(); s.query("stats", nil, &st); return st }

// on runs fn on the loop.
func (s *server) on(fn func()) {
	s.t.Helper()
	must(s.t, s.w.loop.do(fn))
}

// eventually waits until ok holds on the loop.
func (s *server) eventually(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		done := false
		s.on(func() { done = ok() })
		if done {
			return
		}
	}
	s.t.Fatalf("never: %s\nlog:\n%s", what, s.log)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client is a WebSocket client that does as little as a test needs.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	resp *http.Response
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	conn, err := net.DialTimeout(network, addr, patience)
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	c := &client{t: t, conn: conn, r: bufio.NewReaderSize(conn, 1<<16)}
	t.Cleanup(func() { conn.Close() })
	return c
}

// upgrade asks for a WebSocket and returns the response, whatever it is.
func (c *client) upgrade(path string, header ...string) *http.Response {
	c.t.Helper()
	key := make([]byte, 16)
	_, _ = rand.Read(key)
	fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n",
		path, "example.test", base64.StdEncoding.EncodeToString(key), lines(header))
	resp, err := http.ReadResponse(c.r, nil)
	must(c.t, err)
	c.resp = resp
	return resp
}

func lines(header []string) string {
	var b strings.Builder
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	return b.String()
}

// connect opens a WebSocket.
func connect(t testing.TB, addr, path string, header ...string) *client {
	t.Helper()
	c := dial(t, addr)
	if resp := c.upgrade(path, header...); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade of %s: %s", path, resp.Status)
	}
	return c
}

// mask returns a masked client frame.
func mask(first byte, payload []byte) []byte { return testkit.Frame(first, payload) }

func (c *client) write(b []byte) {
	c.t.Helper()
	_, err := c.conn.Write(b)
	must(c.t, err)
}

func (c *client) text(s string) { c.t.Helper(); c.write(mask(0x81, []byte(s))) }

// frame reads one server frame.
func (c *client) frame() (first byte, payload []byte, err error) { return testkit.ReadFrame(c.r) }

// want reads a text message and compares it.
func (c *client) want(text string) {
	c.t.Helper()
	first, p, err := c.frame()
	if err != nil || first != 0x81 || string(p) != text {
		c.t.Fatalf("got frame %#x %q %v, want text %q", first, p, err, text)
	}
}

// wantClose reads up to the close frame and compares its code, 0 = none.
func (c *client) wantClose(code uint16) {
	c.t.Helper()
	for {
		first, p, err := c.frame()
		if err != nil {
			c.t.Fatalf("waiting for close %d: %v", code, err)
		}
		if first != 0x88 {
			continue
		}
		got := uint16(0)
		if len(p) >= 2 {
			got = binary.BigEndian.Uint16(p)
		}
		if got != code {
			c.t.Fatalf("closed with %d %q, want %d", got, p, code)
		}
		return
	}
}

// wantEOF checks that the server closes the stream.
func (c *client) wantEOF() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); err != nil && !errors.Is(err, net.ErrClosed) {
		c.t.Fatalf("want the end of the stream, got %q %v", b, err)
	}
}
