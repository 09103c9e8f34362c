package main_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

// longestWait is what a new client may have to wait while a worker is replaced.
const longestWait = 8 * time.Second

// signal sends a signal to a process of the server.
func signal(t *testing.T, pid int, sig unix.Signal) {
	t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		t.Fatalf("signal %d to %d: %v", sig, pid, err)
	}
}

// echoes sends a text to each member and wants it back; it returns the longest
// round trip.
func echoes(t *testing.T, members []*member, text string) (longest time.Duration) {
	t.Helper()
	for _, m := range members {
		began := time.Now()
		m.SendText(text)
		m.WantText(text)
		longest = max(longest, time.Since(began))
	}
	return longest
}

// sameConnections fails the test unless all members still are where they were.
func sameConnections(t *testing.T, s *pushdtest.Server, members []*member) {
	t.Helper()
	list := listing(t, s, "")
	for _, m := range members {
		if !slices.ContainsFunc(list, func(l listed) bool { return l.ID == m.ID && l.Slot == m.Slot }) {
			t.Errorf("connection %s is gone", m.ID)
		}
	}
}

// flows waits until a message of the API reaches all members again and reads
// it. Those that only a part of them got come first.
func flows(t *testing.T, s *pushdtest.Server, members []*member) {
	t.Helper()
	tries, ids := 0, make([]string, len(members))
	for i, m := range members {
		ids[i] = m.ID
	}
	pushdtest.Eventually(t, "a message reaches everyone", func() bool {
		tries++
		status, answer := s.Post("/v1/send", fields{"connections": ids, "data": fmt.Sprint("flows ", tries)})
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Fatalf("send: %d %v", status, answer)
		}
		return answer["reached"] == float64(len(members)) && answer["complete"] == true
	})
	for _, m := range members {
		for last := ""; last != fmt.Sprint("flows ", tries); {
			_, text := m.Read()
			if last = string(text); !strings.HasPrefix(last, "flows ") {
				t.Fatalf("got %q", text)
			}
		}
	}
}

// TestKilledBroker: publishes fail or wait while the broker process is replaced;
// what was taken arrives, but for what the log and the counter call lost.
func TestKilledBroker(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	all, _ := crowd(t, s, "/echo")
	l := stand(t, s)
	before := s.Status()
	s.Kill(before.Broker.PID)
	// The first request waits in the accept queue or gets 503: flows sees to it.
	flows(t, s, all)
	echoes(t, all, "after")
	sameConnections(t, s, all)
	after := s.Status()
	if after.Broker.PID == before.Broker.PID {
		t.Error("the broker was not replaced")
	}
	for i, w := range after.Workers {
		if w.PID != before.Workers[i].PID {
			t.Errorf("worker %d was replaced too", i)
		}
	}
	v := l.end("refused", "loss")
	if lost := v.faults()["loss"]; lost > 0 && v.Numbers["incomplete_answers"] == 0 {
		pushdtest.Eventually(t, fmt.Sprintf("the loss of %d deliveries is counted", lost), func() bool { return s.Status().Gaps() > 0 })
	}
}

// TestStoppedBroker: while the broker process hangs, workers go on, a client
// whose messages it no longer takes is told, and the API's clients wait; the
// watchdog ends it, and with it a request that the process had accepted.
func TestStoppedBroker(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	all, _ := crowd(t, s, "/echo")
	talker := s.Dial("/chat")
	l := stand(t, s, "--talk-rate", "0") // who talks in vain is closed, as the talker here
	broker := s.Status().Broker.PID
	signal(t, broker, unix.SIGSTOP)
	answered := make(chan string, 1)
	go func() {
		var answer fields
		status, err := call(s, http.DefaultClient, http.MethodPost, "/v1/publish", fields{"channel": "none", "data": "x"}, &answer)
		answered <- fmt.Sprint(status, " ", err)
	}()
	told, stood, deadline := false, false, time.Now().Add(pushdtest.Timeout)
	for turn := 0; s.Status().Broker.PID == broker; turn++ {
		echoes(t, all, fmt.Sprint("turn ", turn))
		if !told && toldToComeBack(t, talker) {
			told = true
			echoes(t, all, "told")
			stood = state(broker) == "T"
		}
		if time.Now().After(deadline) {
			t.Fatal("the watchdog has not replaced the broker")
		}
	}
	if !told {
		t.Error("a client that published all the time was not told that the broker is away")
	} else if !stood {
		t.Error("it was told when the broker was gone: the broker blocks the worker")
	}
	if got := <-answered; got != "200 <nil>" && got != "503 <nil>" && !strings.HasSuffix(got, "EOF") && !strings.HasSuffix(got, "reset by peer") {
		t.Errorf("the API's client got %s", got)
	}
	flows(t, s, all)
	sameConnections(t, s, all)
	pushdtest.Eventually(t, "what the old broker took with it is counted", func() bool { return s.Status().Gaps() > 0 })
	l.end("refused", "loss").told(t)
}

// told: whoever published what was lost got an answer that was not complete.
func (v *verdict) told(t *testing.T) {
	t.Helper()
	lost := map[string]bool{}
	for _, f := range v.Violations {
		for i := range f.Count {
			if f.Kind == "loss" {
				lost[fmt.Sprint(f.Stream, f.Seq+i)] = true
			}
		}
	}
	if incomplete := int(v.Numbers["incomplete_answers"]); len(lost) > incomplete {
		t.Errorf("%d publications of the API are lost, %d answers were incomplete: %v", len(lost), incomplete, lost)
	}
}

// toldToComeBack publishes a megabyte, far more than the sockets on the way to
// the broker take, unless it is closed with 1013 before.
func toldToComeBack(t *testing.T, talker *pushdtest.Client) bool {
	t.Helper()
	for range 32 {
		talker.Send(pushdtest.OpBinary, make([]byte, 32<<10))
		switch op, payload, err := talker.Next(time.Millisecond); {
		case err == nil && op == pushdtest.OpClose && bytes.HasPrefix(payload, []byte{1013 >> 8, 1013 & 255}):
			talker.Conn.Close()
			return true
		case err == nil || !errors.Is(err, os.ErrDeadlineExceeded):
			t.Fatalf("the publisher got opcode %d %q, %v", op, payload, err)
		}
	}
	return false
}

// knock asks for a WebSocket without waiting for the answer.
func knock(addr, path string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, pushdtest.Timeout)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(pushdtest.Timeout))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", path, addr)
	return conn, nil
}

// letIn waits for the answer to knock.
func letIn(conn net.Conn) error {
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("handshake: %s", res.Status)
	}
	return err
}

// visitors come one after the other until stopped, each trying until it is
// served, as browsers do. It returns the longest that one had to wait.
func visitors(addr, path string, stop <-chan struct{}) <-chan time.Duration {
	longest := make(chan time.Duration, 1)
	go func() {
		var most time.Duration
		began := time.Now()
		for {
			if conn, err := knock(addr, path); err == nil {
				err = letIn(conn)
				conn.Close()
				most = max(most, time.Since(began))
				if err == nil {
					began = time.Now()
				}
			}
			select {
			case <-stop:
				longest <- most
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return longest
}

func TestKilledWorker(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	_, inSlot := crowd(t, s, "/echo")
	l := stand(t, s, "--talk-rate", "0") // what a client says in the last moment may die with its worker
	before := s.Status()
	s.Kill(before.Workers[0].PID)
	for _, m := range inSlot[0] {
		if _, _, err := m.Next(pushdtest.Timeout); err == nil {
			t.Error("a client of the killed worker still has a connection")
		}
	}
	echoes(t, inSlot[1], "untouched")
	pushdtest.Eventually(t, "it is back", func() bool { return s.Status().Workers[0].State == "ready" })
	if w := s.Status().Workers; w[0].PID == before.Workers[0].PID || w[0].Restarts != 1 || w[1].PID != before.Workers[1].PID {
		t.Errorf("workers: %+v", w)
	}
	flows(t, s, inSlot[1])
	sameConnections(t, s, inSlot[1])
	l.end("closed").onlyOf(t, before.Workers[0].Connections-len(inSlot[0]))
}

// onlyOf: the connections that a worker had of the load were closed, no others.
func (v *verdict) onlyOf(t *testing.T, connections int) {
	t.Helper()
	const came = 10 // or went, between the look and the fault
	if n := v.faults()["closed"]; n < connections-came || n > connections+came {
		t.Errorf("%d of the load's connections were closed, the worker had %d", n, connections)
	}
}

// TestAcceptQueueOutlivesWorkers: those who wait when all workers die are
// served by the next ones.
func TestAcceptQueueOutlivesWorkers(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	workers := s.Status().Workers
	for _, w := range workers {
		pushdtest.Freeze(t, w.PID)
	}
	var waiting []net.Conn
	for range 50 {
		conn, err := knock(fmt.Sprintf("127.0.0.1:%d", s.Port), "/echo")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		waiting = append(waiting, conn)
	}
	began := time.Now()
	for _, w := range workers {
		s.Kill(w.PID)
	}
	for i, conn := range waiting {
		if err := letIn(conn); err != nil {
			t.Fatalf("client %d of the accept queue: %v", i, err)
		}
	}
	if took := time.Since(began); took > longestWait {
		t.Errorf("they waited %s", took)
	}
}

// TestHangingWorker: one that is stopped, and one whose callback never ends.
func TestHangingWorker(t *testing.T) {
	for _, tc := range []struct {
		name, trace string
		options     pushdtest.Options
		load        []string
		hang        func(*testing.T, *pushdtest.Server, *member)
	}{
		{"stopped", "goroutine ", pushdtest.Options{Config: twoProcesses}, []string{"--talk-rate", "0", "--settle", "8s"}, func(t *testing.T, s *pushdtest.Server, m *member) {
			signal(t, s.Status().Workers[m.Slot].PID, unix.SIGSTOP)
		}},
		{"endless loop", "main.spin(", pushdtest.Options{Package: "cmd/pushd/testdata/spin"}, []string{"--channels", "0", "--slow", "0"}, func(_ *testing.T, _ *pushdtest.Server, m *member) {
			m.SendText("spin")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := pushdtest.Start(t, tc.options)
			_, inSlot := crowd(t, s, "/echo")
			l := stand(t, s, tc.load...)
			before := s.Status().Workers
			stop := make(chan struct{})
			longest := visitors(fmt.Sprintf("127.0.0.1:%d", s.Port), "/echo", stop)
			began := time.Now()
			tc.hang(t, s, inSlot[0][0])
			pushdtest.Eventually(t, "the worker is replaced", func() bool {
				echoes(t, inSlot[1], "untouched")
				w := s.Status().Workers[0]
				return w.PID != before[0].PID && w.State == "ready"
			})
			t.Logf("replaced after %s", time.Since(began))
			close(stop)
			if most := <-longest; most > longestWait {
				t.Errorf("a new client waited %s", most)
			}
			if log := s.Log(); !strings.Contains(log, "does not answer") || !strings.Contains(log, tc.trace) {
				t.Errorf("the log has no stacks with %q", tc.trace)
			}
			if w := s.Status().Workers[1]; w.PID != before[1].PID {
				t.Error("the other worker was replaced too")
			}
			sameConnections(t, s, inSlot[1])
			l.end("closed", "late").onlyOf(t, before[0].Connections-len(inSlot[0]))
		})
	}
}

// TestStartWhileOrphansDrain: the clients of a killed master's workers are sent
// away in good order while a new server takes the new ones.
func TestStartWhileOrphansDrain(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(twoProcesses, `"100ms"`, `"3s"`, 1)})
	all, _ := crowd(t, s, "/echo")
	l := stand(t, s, "--settle", "6s") // members of the old server and the new one do not hear each other
	orphans := s.Status()
	s.Kill(orphans.Master.PID)
	died := time.Now()
	s.MustRun("start", "-d")
	t.Logf("a new server was ready %s after the death", time.Since(died))
	c := s.Dial("/echo")
	for _, m := range all {
		m.WantClose(1001)
		m.Conn.Close()
	}
	c.SendText("new")
	c.WantText("new")
	pids := []int{orphans.Broker.PID, orphans.Workers[0].PID, orphans.Workers[1].PID}
	pushdtest.Eventually(t, "the orphans are gone", func() bool {
		return !slices.ContainsFunc(s.Processes(), func(p pushdtest.Process) bool { return slices.Contains(pids, p.PID) })
	})
	c.SendText("still new")
	c.WantText("still new")
	for _, f := range l.end("closed", "refused", "late").Violations {
		onItsWay := f.Session > standingSessions && f.Role != "idle" // one that came while nobody listened is refused or reset
		if f.Kind == "closed" && !onItsWay && !strings.Contains(f.Detail, "1001") {
			t.Errorf("not sent away in good order: %+v", f)
		}
	}
}

const stalling = `
drain = "100ms"
watchdog = "2s"
[[worker]]
name = "push"
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/echo" = "echo", "/chat" = "chat" }
`

// TestStalledMachine: when all of the server's processes stand still for longer
// than the watchdog waits, as on a machine that is suspended, nobody is shot.
func TestStalledMachine(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: stalling})
	all, _ := crowd(t, s, "/echo")
	l := stand(t, s, "--talk-rate", "0")
	st := s.Status()
	pids := []int{st.Master.PID, st.Broker.PID, st.Workers[0].PID, st.Workers[1].PID}
	for _, pid := range pids {
		signal(t, pid, unix.SIGSTOP)
	}
	<-time.After(5 * time.Second) // the stall itself: more than twice the watchdog
	for _, pid := range pids {    // the master first, which has the most reason to shoot
		signal(t, pid, unix.SIGCONT)
	}
	flows(t, s, all)
	echoes(t, all, "after")
	sameConnections(t, s, all)
	st = s.Status()
	if now := []int{st.Master.PID, st.Broker.PID, st.Workers[0].PID, st.Workers[1].PID}; !slices.Equal(now, pids) {
		t.Errorf("processes %v have become %v", pids, now)
	}
	if strings.Contains(s.Log(), "does not answer") {
		t.Error("the watchdog blames somebody")
	}
	l.end("refused", "late") // a publish may have waited for a second
}

// state is the letter that ps shows for a process.
func state(pid int) string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(raw), ") ")
	letter, _, _ := strings.Cut(rest, " ")
	return letter
}
