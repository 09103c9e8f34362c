package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// publisher publishes numbered messages until it is told to stop.
type publisher struct {
	name string
	send func(n int) error
	sent atomic.Int64
}

// run returns the error at which it gave up.
func (p *publisher) run(stop <-chan struct{}) error {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		case <-time.After(2 * time.Millisecond):
		}
		if err := p.send(n); err != nil {
			return fmt.Errorf("%s, message %d: %w", p.name, n, err)
		}
		p.sent.Add(1)
	}
}

// between two parts of a message some time goes by, so that the first is often
// there alone when the broker process is replaced.
func between() { time.Sleep(time.Millisecond) }

// apiPublisher uses one connection, whatever happens to it; there is no second
// attempt at anything. With fresh it opens one for each request.
func apiPublisher(t *testing.T, s *pushdtest.Server, name string, fresh bool) *publisher {
	var conn net.Conn
	var in *bufio.Reader
	dial := func() (err error) {
		if conn, err = net.Dial("tcp", s.API); err == nil {
			in = bufio.NewReader(conn)
			t.Cleanup(func() { conn.Close() })
		}
		return err
	}
	return &publisher{name: name, send: func(n int) error {
		if fresh || conn == nil {
			if err := dial(); err != nil {
				return err
			}
		}
		body, _ := json.Marshal(fields{"channel": lobby, "data": fmt.Sprint(name, " ", n)})
		_ = conn.SetDeadline(time.Now().Add(pushdtest.Timeout))
		for _, part := range []string{
			fmt.Sprintf("POST /v1/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n", s.Key),
			fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
		} {
			if _, err := conn.Write([]byte(part)); err != nil {
				return err
			}
			between()
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		var answer struct{ Reached int }
		err = json.NewDecoder(res.Body).Decode(&answer)
		if fresh {
			conn.Close()
		}
		if err != nil || res.StatusCode != http.StatusOK || res.Close {
			return fmt.Errorf("%s, closed %v, %v", res.Status, res.Close, err)
		}
		return nil
	}}
}

// ingestPublisher sends objects that nobody answers: lines on one connection,
// or datagrams. Lines come in two parts.
func ingestPublisher(t *testing.T, network, addr string) *publisher {
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &publisher{name: network, send: func(n int) error {
		line, _ := json.Marshal(fields{"channel": lobby, "data": fmt.Sprint(network, " ", n)})
		cut := len(line)
		if network == "tcp" {
			line = append(line, '\n')
			cut = n % len(line)
		}
		for _, part := range [][]byte{line[:cut], line[cut:]} {
			if len(part) == 0 {
				continue
			}
			if _, err := conn.Write(part); err != nil {
				return err
			}
			between()
		}
		return nil
	}}
}

// chatPublisher is a member of the room.
func chatPublisher(m *member, name string) *publisher {
	return &publisher{name: name, send: func(n int) error { m.SendText(fmt.Sprint(name, " ", n)); return nil }}
}

// audience checks what members get.
type audience struct {
	mu     sync.Mutex
	faults []string
	next   []map[string]int // per member and publisher
}

// follow reads what member i gets until its connection ends.
func (a *audience) follow(i int, m *member) {
	for {
		_, text, err := m.Next(pushdtest.Timeout)
		if err != nil {
			return
		}
		who, number, _ := strings.Cut(string(text), " ")
		a.mu.Lock()
		if want := a.next[i][who]; number != strconv.Itoa(want) {
			a.faults = append(a.faults, fmt.Sprintf("member %d gets %q, the next would be %d", i, text, want))
		}
		n, _ := strconv.Atoi(number)
		a.next[i][who] = n + 1
		a.mu.Unlock()
	}
}

// has says whether all members have got that many messages of the publisher;
// except is the member that published them.
func (a *audience) has(who string, count, except int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, next := range a.next {
		if i != except && next[who] < count {
			return false
		}
	}
	return true
}

// TestBrokerIsReplacedUnderPublishes: the broker process is replaced again and
// again while six publishers of all kinds go on. None of them notices, and each
// message arrives once and in order at members in both worker processes.
func TestBrokerIsReplacedUnderPublishes(t *testing.T) {
	udp, tcp := pushdtest.FreeAddr(t), pushdtest.FreeAddr(t)
	config := func(n int) string {
		return twoProcesses + fmt.Sprintf("[[ingest]]\nlisten = \"udp://%s\"\n[[ingest]]\nlisten = \"tcp://%s\"\n[[ingest]]\nlisten = \"unix://{{dir}}/%d.sock\"\n", udp, tcp, n)
	}
	s := pushdtest.Start(t, pushdtest.Options{Config: config(0)})
	all, inSlot := crowd(t, s, "/chat")
	ear := &audience{}
	for range all {
		ear.next = append(ear.next, map[string]int{})
	}
	var readers, senders sync.WaitGroup
	for i, m := range all {
		readers.Go(func() { ear.follow(i, m) })
	}
	publishers := []*publisher{
		apiPublisher(t, s, "api", false), apiPublisher(t, s, "fresh", true),
		ingestPublisher(t, "udp", udp), ingestPublisher(t, "tcp", tcp),
		chatPublisher(inSlot[0][0], "near"), chatPublisher(inSlot[1][0], "far"),
	}
	idle := apiPublisher(t, s, "idle", false) // publishes before and after, not meanwhile
	if err := idle.send(0); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	for _, p := range publishers {
		senders.Go(func() {
			if err := p.run(stop); err != nil {
				t.Error(err)
			}
		})
	}
	for n := range 5 {
		for _, p := range publishers {
			least := p.sent.Load() + 50
			pushdtest.Eventually(t, p.name+" publishes", func() bool { return p.sent.Load() >= least || t.Failed() })
		}
		before := s.Status().Broker.PID
		s.WriteConfig(config(n + 1))
		s.MustRun("reload")
		if now := s.Status().Broker.PID; now == before || now == 0 {
			t.Errorf("the broker process %d became %d", before, now)
		}
	}
	close(stop)
	senders.Wait()
	if err := idle.send(1); err != nil {
		t.Errorf("an idle connection: %v", err)
	}
	if t.Failed() {
		return
	}
	idle.sent.Store(2)
	for i, p := range append(publishers, idle) {
		except := map[int]int{4: 0, 5: len(inSlot[0])}[i] // the member that publishes
		if i < 4 || i > 5 {
			except = -1
		}
		pushdtest.Eventually(t, fmt.Sprintf("%d messages of %s have arrived everywhere", p.sent.Load(), p.name),
			func() bool { return ear.has(p.name, int(p.sent.Load()), except) })
	}
	for _, m := range all {
		m.Conn.Close()
	}
	readers.Wait()
	if len(ear.faults) > 0 {
		t.Errorf("%d faults, the first: %s", len(ear.faults), ear.faults[0])
	}
	if log := s.Log(); strings.Contains(log, "publications may be lost") || strings.Contains(log, "not served") || strings.Contains(log, "not received") {
		t.Error("the log speaks of a failed step")
	}
}
