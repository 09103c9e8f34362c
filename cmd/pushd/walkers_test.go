package main_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/history"
	"github.com/pushd/pushd/cmd/pushdtest"
)

// A standing load for tests that fail a server on purpose: clients that echo,
// members that get what is published, visitors that come and go, readers that
// are too slow. Each keeps a record, and in the end the checker of pushbench
// judges all of them. Unlike pushbench's own load it makes up for those that
// the server has lost.

// mass is how many there are of each sort in each of the two worker processes.
type mass struct{ echo, members, slow int }

const (
	echoPace    = 200 * time.Millisecond // between two messages of an echo client
	publishPace = 50 * time.Millisecond  // between two publishes
	visitPace   = 30 * time.Millisecond  // between two visitors
	slowPace    = 50 * time.Millisecond  // between two messages that a slow client reads
	slowSize    = 32 << 10               // bytes of such a message
	slowAhead   = 150                    // of them are on their way to a slow client, at most
	mainStream  = 1 << 20                // the stream that is published; those of clients are below
)

type standing struct {
	t *testing.T
	s *pushdtest.Server

	began   time.Time
	stop    chan struct{}
	visits  chan struct{} // closed when the last visitor has left
	done    chan struct{} // closed when the publisher has, who outlasts the visitors
	nextID  atomic.Uint32
	stopper sync.Once

	mu     sync.Mutex
	live   []*walker
	ended  []history.Session
	stream history.Stream
	faults []string
	broken int64 // when the test last broke something: who is lost with it is owed nothing from then on
}

// walker is a client of the load.
type walker struct {
	*pushdtest.Client
	path string
	slot int // of its worker
	port int // its own, by which the server's lists tell it

	mu   sync.Mutex
	rec  history.Session
	told uint32 // of an echo client: how many of its messages have come back
	done chan struct{}
}

// keepUp opens the load; it runs until judge is called.
func keepUp(t *testing.T, s *pushdtest.Server, m mass) *standing {
	t.Helper()
	st := &standing{t: t, s: s, began: time.Now(), stop: make(chan struct{}), visits: make(chan struct{}), done: make(chan struct{}),
		stream: history.Stream{ID: mainStream, Channel: lobby}}
	st.refill(m)
	go st.publish()
	go st.visit()
	t.Cleanup(func() { st.end(); st.disconnect() })
	return st
}

func (st *standing) now() int64 { return time.Since(st.began).Nanoseconds() + 1 }

// open connects a walker to the worker that accepts and lets it walk.
func (st *standing) open(slot int, path string, role history.Role, walk func(*walker)) {
	st.t.Helper()
	c, err := pushdtest.Knock(st.s.Address(), path)
	if err == nil && c.Response.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(c.Response.Status)
	}
	if err != nil {
		st.t.Fatalf("standing load: %v", err)
	}
	w := st.enter(c, slot, path, role)
	go func() {
		defer close(w.done)
		walk(w)
	}()
}

func (st *standing) enter(c *pushdtest.Client, slot int, path string, role history.Role) *walker {
	w := &walker{Client: c, path: path, slot: slot, port: c.Conn.LocalAddr().(*net.TCPAddr).Port, done: make(chan struct{})}
	w.rec = history.Session{ID: st.nextID.Add(1), Role: role, Opened: st.now()}
	if role == history.Member {
		w.rec.Channel = lobby
	}
	st.mu.Lock()
	st.live = append(st.live, w)
	st.mu.Unlock()
	return w
}

// echo sends numbers and wants them back. It reads on a goroutine of its own.
func (st *standing) echo(w *walker) {
	go func() {
		for seq := uint32(1); st.going(echoPace); seq++ {
			w.mu.Lock()
			w.rec.Sent = seq
			w.mu.Unlock()
			if w.Try(pushdtest.OpText, fmt.Appendf(nil, "%d", seq)) != nil {
				return // the reader notes the end
			}
		}
	}()
	st.listen(w)
}

// dawdle sends big messages and reads them back slowly.
func (st *standing) dawdle(w *walker) {
	conn := w.Conn
	if under, ok := conn.(*tls.Conn); ok {
		conn = under.NetConn()
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(128 << 10) // far less makes TCP itself stall
	go func() {
		for seq := uint32(1); st.going(slowPace / 4); {
			w.mu.Lock()
			far := seq > w.told+slowAhead
			if !far {
				w.rec.Sent = seq
			}
			w.mu.Unlock()
			if far {
				continue
			}
			if w.Try(pushdtest.OpBinary, slowMessage(seq)) != nil {
				return
			}
			seq++
		}
	}()
	st.listen(w)
}

// slowMessage is a message of which no byte equals its neighbour's.
func slowMessage(seq uint32) []byte {
	body := binary.BigEndian.AppendUint32(make([]byte, 0, slowSize), seq)
	for i := len(body); i < slowSize; i++ {
		body = append(body, byte(seq)+byte(i))
	}
	return body
}

// going waits and reports whether the load still stands.
func (st *standing) going(pace time.Duration) bool {
	select {
	case <-st.stop:
		return false
	case <-time.After(pace):
		return true
	}
}

// listen records what comes until the connection ends.
func (st *standing) listen(w *walker) {
	for {
		op, data, err := w.Next(10 * time.Minute)
		if err == nil && op == pushdtest.OpClose {
			err = fmt.Errorf("close frame %q", data)
		}
		if err != nil {
			w.mu.Lock()
			if w.rec.Closed = st.now(); w.rec.Asked == 0 {
				w.rec.Cause = "the server has closed it: " + err.Error()
			}
			w.mu.Unlock()
			w.Conn.Close()
			return
		}
		w.take(op, data)
		if strings.HasSuffix(w.path, "slow") {
			st.going(slowPace)
		}
	}
}

// take records one message.
func (w *walker) take(op byte, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case op == pushdtest.OpBinary && len(data) == slowSize:
		w.told = binary.BigEndian.Uint32(data)
		if !bytes.Equal(data, slowMessage(w.told)) {
			w.rec.Damaged(data)
		}
		w.rec.Receive(w.rec.ID, w.told)
	case w.rec.Role == history.Member && strings.HasPrefix(string(data), "p"):
		if seq, err := strconv.ParseUint(string(data[1:]), 10, 32); err == nil {
			w.rec.Receive(mainStream, uint32(seq))
			return
		}
		w.rec.Damaged(data)
	default:
		seq, err := strconv.ParseUint(string(data), 10, 32)
		if err != nil || w.rec.Role != history.Echo {
			w.rec.Damaged(data)
			return
		}
		w.told = uint32(seq)
		w.rec.Receive(w.rec.ID, w.told)
	}
}

// publish publishes through the API, another process for every client.
func (st *standing) publish() {
	defer close(st.done)
	tick := time.NewTicker(publishPace)
	defer tick.Stop()
	for seq := 1; ; seq++ {
		select {
		case <-st.visits:
			return
		case <-tick.C:
		}
		var answer fields
		p := history.Publish{Start: st.now()}
		status, err := call(st.s, http.DefaultClient, http.MethodPost, "/v1/publish", fields{"channel": lobby, "data": fmt.Sprint("p", seq)}, &answer)
		if err != nil || status != http.StatusOK {
			p.Failed = fmt.Sprint(status, err, answer)
		}
		p.End = st.now()
		st.mu.Lock()
		st.stream.Publishes = append(st.stream.Publishes, p)
		st.mu.Unlock()
	}
}

// visit lets clients come, echo or join, and go.
func (st *standing) visit() {
	defer close(st.visits)
	for n := 0; st.going(visitPace); n++ {
		path, role := "/echo", history.Echo
		if n%2 == 1 {
			path, role = "/chat", history.Member
		}
		c, err := pushdtest.Knock(st.s.Address(), path)
		if err != nil || c.Response.StatusCode != http.StatusSwitchingProtocols {
			st.fault("visitor %d was not let in: %v", n, err)
			continue
		}
		if err := st.welcome(c, role); err != nil {
			st.fault("visitor %d of %s: %v", n, path, err)
		}
		leave(c)
	}
}

// leave says goodbye and waits until the server has closed the connection: it
// never has more than one visitor.
func leave(c *pushdtest.Client) {
	defer c.Conn.Close()
	if c.Try(pushdtest.OpClose, []byte{3, 232}) != nil {
		return
	}
	for {
		if _, _, err := c.Next(pushdtest.Timeout); err != nil {
			return
		}
	}
}

// welcome wants one message, of whatever a client of that role gets.
func (st *standing) welcome(c *pushdtest.Client, role history.Role) error {
	if role == history.Echo {
		if err := c.Try(pushdtest.OpText, []byte("visitor")); err != nil {
			return err
		}
	}
	op, data, err := c.Next(pushdtest.Timeout)
	if err == nil && (op != pushdtest.OpText || role == history.Echo && string(data) != "visitor") {
		err = fmt.Errorf("got opcode %d %q", op, data)
	}
	return err
}

func (st *standing) fault(format string, a ...any) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.faults = append(st.faults, fmt.Sprintf(format, a...))
}

// clients returns those that have a connection.
func (st *standing) clients() (list []*walker) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, w := range st.live {
		select {
		case <-w.done:
		default:
			list = append(list, w)
		}
	}
	return list
}

// breaks says that the test is about to break something.
func (st *standing) breaks() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.broken = st.now()
}

// lost returns how many have been closed since it was last called.
func (st *standing) lost() (n int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.live = slices.DeleteFunc(st.live, func(w *walker) bool {
		select {
		case <-w.done:
			n++
			w.mu.Lock() // it may send still
			defer w.mu.Unlock()
			if w.rec.Cause != "" && st.broken > 0 {
				w.rec.Closed = min(w.rec.Closed, st.broken)
			}
			st.ended = append(st.ended, w.rec)
			return true
		default:
			return false
		}
	})
	return n
}

// refill opens new clients until each worker has m.
func (st *standing) refill(m mass) {
	st.t.Helper()
	for slot := range 2 {
		missing := m
		for _, w := range st.clients() {
			switch {
			case w.slot != slot:
			case w.rec.Role == history.Member:
				missing.members--
			case w.path == "/echo":
				missing.echo--
			default:
				missing.slow--
			}
		}
		st.s.Alone(slot, func() { st.openAll(slot, missing) })
	}
}

func (st *standing) openAll(slot int, m mass) {
	st.t.Helper()
	for range m.echo {
		st.open(slot, "/echo", history.Echo, st.echo)
	}
	for range m.members {
		st.open(slot, "/chat", history.Member, st.listen)
	}
	for range m.slow {
		st.open(slot, "/echo?slow", history.Echo, st.dawdle)
	}
}

// end stops the traffic, but not the reading.
func (st *standing) end() {
	st.stopper.Do(func() { close(st.stop) })
	<-st.done
}

func (st *standing) disconnect() {
	for _, w := range st.clients() {
		w.mu.Lock()
		w.rec.Asked = st.now()
		w.mu.Unlock()
		w.Conn.Close()
		<-w.done
	}
}

// judge ends the load and reports every fault. So many connections may have
// been closed, and so many visitors sent away: those of processes that the test
// has killed.
func (st *standing) judge(mayClose, maySendAway int) {
	st.t.Helper()
	st.end()
	st.settle()
	st.disconnect()
	st.lost()
	h := history.History{Settle: history.Settle, Streams: []history.Stream{st.stream}, Sessions: st.ended}
	violations := history.Check(&h)
	if n := history.Count(violations)[history.Closed]; n > mayClose {
		st.t.Errorf("%d connections were closed, %d may have been", n, mayClose)
	}
	violations = slices.DeleteFunc(violations, func(v history.Violation) bool { return v.Kind == history.Closed && mayClose > 0 })
	for i, v := range violations {
		if i < 10 {
			st.t.Error(v)
		}
	}
	for i, f := range st.faults {
		if i < 10 && len(st.faults) > maySendAway {
			st.t.Error(f)
		}
	}
	st.t.Logf("checked: %d sessions, %d publishes, %d faults", len(h.Sessions), len(st.stream.Publishes), len(violations)+len(st.faults))
}

// settle waits until everything that was sent has come.
func (st *standing) settle() {
	st.t.Helper()
	for deadline := time.Now().Add(pushdtest.Timeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if !slices.ContainsFunc(st.clients(), st.waits) {
			return
		}
	}
	for _, w := range st.clients() {
		if st.waits(w) {
			st.t.Errorf("a client of %s still waits: %+v of %d publishes", w.path, w.rec, len(st.stream.Publishes))
			return
		}
	}
}

// waits reports whether something is on its way to w.
func (st *standing) waits(w *walker) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rec.Role == history.Echo {
		return w.told < w.rec.Sent
	}
	n := len(st.stream.Publishes)
	if n == 0 || st.stream.Publishes[n-1].Start < w.rec.Opened+history.Settle {
		return false // it came too late to be owed anything
	}
	if len(w.rec.Tracks) == 0 {
		return true
	}
	runs := w.rec.Tracks[0].Runs
	return runs[len(runs)-1].Last < uint32(n)
}
