package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
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

// killed kills a process and waits until it runs no more.
func killed(t *testing.T, s *pushdtest.Server, pid int) {
	t.Helper()
	signal(t, pid, unix.SIGKILL)
	pushdtest.Eventually(t, "the killed process is gone", func() bool {
		return !slices.ContainsFunc(s.Processes(), func(p pushdtest.Process) bool { return p.PID == pid })
	})
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

// flows waits until a broadcast reaches all members again and reads it.
// Those that only a part of them got come first.
func flows(t *testing.T, s *pushdtest.Server, members []*member) {
	t.Helper()
	tries := 0
	pushdtest.Eventually(t, "a broadcast reaches everyone", func() bool {
		tries++
		status, answer := s.Post("/v1/broadcast", fields{"data": fmt.Sprint("flows ", tries)})
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Fatalf("broadcast: %d %v", status, answer)
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

func TestKilledBroker(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	all, _ := crowd(t, s, "/echo")
	before := s.Status()
	killed(t, s, before.Broker.PID)
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
}

// TestStoppedBroker: while the broker process hangs, workers go on, a client
// whose messages it no longer takes is told, and the API's clients wait; the
// watchdog ends it, and with it a request that the process had accepted.
func TestStoppedBroker(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	all, _ := crowd(t, s, "/echo")
	talker := s.Dial("/chat")
	broker := s.Status().Broker.PID
	signal(t, broker, unix.SIGSTOP)
	answered := make(chan string, 1)
	go func() {
		var answer fields
		status, err := call(s, http.DefaultClient, http.MethodPost, "/v1/publish", fields{"channel": "none", "data": "x"}, &answer)
		answered <- fmt.Sprint(status, " ", err)
	}()
	told, deadline := false, time.Now().Add(pushdtest.Timeout)
	for turn := 0; s.Status().Broker.PID == broker; turn++ {
		if took := echoes(t, all, fmt.Sprint("turn ", turn)); took > time.Second {
			t.Errorf("an echo took %s: the broker blocks the worker", took)
		}
		told = told || toldToComeBack(t, talker)
		if time.Now().After(deadline) {
			t.Fatal("the watchdog has not replaced the broker")
		}
	}
	if !told {
		t.Error("a client that published all the time was not told that the broker is away")
	}
	if got := <-answered; got != "200 <nil>" && got != "503 <nil>" && !strings.HasSuffix(got, "EOF") && !strings.HasSuffix(got, "reset by peer") {
		t.Errorf("the API's client got %s", got)
	}
	flows(t, s, all)
	sameConnections(t, s, all)
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
	before := s.Status()
	killed(t, s, before.Workers[0].PID)
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
}

// TestAcceptQueueOutlivesWorkers: those who wait when all workers die are
// served by the next ones.
func TestAcceptQueueOutlivesWorkers(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	workers := s.Status().Workers
	for _, w := range workers {
		signal(t, w.PID, unix.SIGSTOP)
		pushdtest.Eventually(t, "it stands still", func() bool { return state(w.PID) == "T" })
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
		killed(t, s, w.PID)
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
		hang        func(*testing.T, *pushdtest.Server, *member)
	}{
		{"stopped", "goroutine ", pushdtest.Options{Config: twoProcesses}, func(t *testing.T, s *pushdtest.Server, m *member) {
			signal(t, s.Status().Workers[m.Slot].PID, unix.SIGSTOP)
		}},
		{"endless loop", "main.spin(", pushdtest.Options{Package: "cmd/pushd/testdata/spin"}, func(_ *testing.T, _ *pushdtest.Server, m *member) {
			m.SendText("spin")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := pushdtest.Start(t, tc.options)
			_, inSlot := crowd(t, s, "/echo")
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
		})
	}
}

// TestStartWhileOrphansDrain: the clients of a killed master's workers are sent
// away in good order while a new server takes the new ones.
func TestStartWhileOrphansDrain(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(twoProcesses, `"100ms"`, `"3s"`, 1)})
	all, _ := crowd(t, s, "/echo")
	orphans := s.Status()
	killed(t, s, orphans.Master.PID)
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
}

// state is the letter that ps shows for a process.
func state(pid int) string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(raw), ") ")
	letter, _, _ := strings.Cut(rest, " ")
	return letter
}

// cpu is the time that a process has spent.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	const hertz = 100                                                    // USER_HZ of every Linux
	after := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')'):])) // [0] is ")", [1] field 3
	user, _ := strconv.Atoi(after[12])
	system, _ := strconv.Atoi(after[13])
	return time.Duration(user+system) * time.Second / hertz
}

func TestNoDescriptorsLeft(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses, Manual: true})
	limited(t, s, 160)
	all, _ := crowd(t, s, "/echo")
	exhaust(t, s, all)
}

// TestLimitFallsUnderWorkers: an accept that fails stops the event loop; the
// worker raises the limit to what it may have and goes on with everyone.
func TestLimitFallsUnderWorkers(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	all, _ := crowd(t, s, "/echo")
	lowerLimits(t, s)
	before := s.Status()
	guests, in := rush(t, s)
	pushdtest.Eventually(t, "everyone comes in", func() bool { return in.Load() == int64(len(guests)) })
	echoes(t, all, "unharmed")
	sameConnections(t, s, all)
	for i, w := range s.Status().Workers {
		if w.PID != before.Workers[i].PID {
			t.Errorf("worker %d has died", i)
		}
	}
	if !strings.Contains(s.Log(), "stopped unexpectedly") {
		t.Error("no accept has failed: nothing was tested")
	}
}

// limited starts the server with a descriptor limit.
func limited(t *testing.T, s *pushdtest.Server, files int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), pushdtest.Timeout)
	defer cancel()
	c := s.Command(ctx, "start", "-d")
	script := exec.CommandContext(ctx, "sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d; exec "$@"`, files), "sh"}, c.Args...)...)
	script.Dir, script.Env = c.Dir, c.Env
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("start: %v\n%s", err, out)
	}
}

// lowerLimits leaves the workers room for a few descriptors more.
func lowerLimits(t *testing.T, s *pushdtest.Server) {
	t.Helper()
	for _, w := range s.Status().Workers {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.PID))
		if err != nil {
			t.Fatal(err)
		}
		var limit unix.Rlimit
		if err := unix.Prlimit(w.PID, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
			t.Fatal(err)
		}
		limit.Cur = uint64(len(open) + 10)
		if err := unix.Prlimit(w.PID, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// rush brings many clients at once and counts those who are let in.
func rush(t *testing.T, s *pushdtest.Server) (guests []net.Conn, in *atomic.Int64) {
	t.Helper()
	in = new(atomic.Int64)
	for range 300 {
		conn, err := knock(fmt.Sprintf("127.0.0.1:%d", s.Port), "/echo")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		guests = append(guests, conn)
		go func() {
			if letIn(conn) == nil {
				in.Add(1)
			}
		}()
	}
	return guests, in
}

// exhaust brings more clients than there are descriptors, then makes room.
func exhaust(t *testing.T, s *pushdtest.Server, established []*member) {
	t.Helper()
	began := time.Now()
	guests, in := rush(t, s)
	pushdtest.Eventually(t, "accepting pauses in both processes", func() bool {
		return strings.Count(s.Log(), "accepting is paused") >= 2
	})
	if longest := echoes(t, established, "unharmed"); longest > time.Second {
		t.Errorf("an echo took %s", longest)
	}
	quiet(t, s)
	was := in.Load()
	if was >= int64(len(guests)) {
		t.Fatal("everyone came in: nothing was exhausted")
	}
	if lines, seconds := strings.Count(s.Log(), "\n"), int(time.Since(began)/time.Second)+1; lines > 1+2*seconds {
		t.Errorf("%d lines of log in %d s, want one of the start and one a second and process", lines, seconds)
	}
	// The first in the queue were let in first: their leaving makes room.
	const leave = 20
	room := time.Now()
	for _, conn := range guests[:leave] {
		conn.Close()
	}
	pushdtest.Eventually(t, "those who waited come in", func() bool { return in.Load() >= was+leave })
	if took := time.Since(room); took > 2*time.Second { // a second, and what the machine's other work takes
		t.Errorf("it took %s after there was room", took)
	}
	echoes(t, established, "to the end")
}

// quiet watches for a second that the workers have next to nothing to do.
func quiet(t *testing.T, s *pushdtest.Server) {
	t.Helper()
	workers := s.Status().Workers
	var before []time.Duration
	for _, w := range workers {
		before = append(before, cpu(t, w.PID))
	}
	began := time.Now()
	<-time.After(time.Second) // the time that is measured, not a wait for something
	for i, w := range workers {
		if spent, wall := cpu(t, w.PID)-before[i], time.Since(began); spent > wall/5 {
			t.Errorf("worker %d spent %s of %s", i, spent, wall)
		}
	}
}

const asNobody = `
drain = "100ms"
[[worker]]
name = "push"
listen = ["websocket://127.0.0.1:{{port}}", "unix://{{dir}}/run/lines.sock"]
count = 2
user = "nobody"
handler = "echo"
routes = { "/chat" = "chat" }
`

func TestWorkersOfAnotherUser(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: asNobody, Manual: true})
	if os.Geteuid() != 0 {
		if r := s.Run("start", "-d"); r.Code != 1 || !strings.Contains(r.Stderr, "only root can change user") {
			t.Errorf("start as an ordinary user: %d %s", r.Code, r.Stderr)
		}
		return
	}
	for dir := filepath.Dir(s.Binary); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // a program that nobody may run starts nowhere
			t.Fatal(err)
		}
	}
	s.MustRun("start", "-d")
	st := s.Status()
	for pid, want := range map[int]string{st.Workers[0].PID: "65534", st.Workers[1].PID: "65534", st.Broker.PID: "0", st.Master.PID: "0"} {
		if got := uids(t, pid); got != strings.Join([]string{want, want, want, want}, " ") {
			t.Errorf("process %d has the user ids %s, want %s", pid, got, want)
		}
	}
	all, inSlot := crowd(t, s, "/chat")
	want(t, s, "/v1/publish", fields{"channel": lobby, "data": "to all"}, fields{"reached": len(all), "complete": true})
	for _, m := range all {
		m.WantText("to all")
	}
	inSlot[0][0].SendText("across")
	inSlot[1][0].WantText("across")
	closedToOthers(t, s.Dir)
}

// uids are the real, effective, saved and file system user of a process.
func uids(t *testing.T, pid int) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "\nUid:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Join(strings.Fields(line), " ")
}

// closedToOthers wants the sockets of the server out of everyone's reach.
func closedToOthers(t *testing.T, dir string) {
	t.Helper()
	sockets := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type() != fs.ModeSocket {
			return err
		}
		sockets++
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o007 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil || sockets < 2 {
		t.Errorf("%d sockets found, %v", sockets, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "run")); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("runtime folder: %v %v", info, err)
	}
}

const withSecrets = `
drain = "100ms"
log_level = "debug"
[api]
key = "api-SECRET"
[metrics]
listen = "{{metrics}}"
[[ingest]]
listen = "udp://{{api}}"
key = "ingest-SECRET"
[[worker]]
listen = "websocket://127.0.0.1:{{port}}"
count = 2
routes = { "/notify" = { handler = "notify", options = { secret = "login-SECRET", cookie = "login" } } }
`

// TestSecretsAreToldNowhere: neither those of the config nor those of clients,
// right or wrong, at the highest log level.
func TestSecretsAreToldNowhere(t *testing.T) {
	s := pushdtest.Start(t, pushdtest.Options{Config: withSecrets, Env: []string{"PUSHD_API_KEY="}})
	s.Key = "api-SECRET"
	addr := fmt.Sprintf("127.0.0.1:%d", s.Port)
	token := strings.TrimSpace(s.MustRun("token", "--uid", "42"))
	s.Dial("/notify?token=" + token)
	s.Dial("/notify", "Cookie: login="+token)
	for _, wrong := range []string{"/notify?token=guess-SECRET", "/notify?token=" + token + "x", "/notify?token=%zz" + token} {
		if h := pushdtest.Handshake(t, addr, wrong); h.Response.StatusCode == http.StatusSwitchingProtocols {
			t.Fatal("a wrong token was let in")
		}
	}
	want(t, s, "/v1/send", fields{"uid": "42", "data": "x"}, fields{"reached": 2, "online": true, "complete": true})
	s.Key = "guess-SECRET"
	if status, _ := s.Post("/v1/send", fields{"uid": "42", "data": "x"}); status != http.StatusUnauthorized {
		t.Errorf("a wrong key: %d", status)
	}
	udp, err := net.Dial("udp", s.API)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	fmt.Fprint(udp, `{"key":"guess-SECRET","uid":"42","data":"x"}`)
	pushdtest.Eventually(t, "the refused datagram is logged", func() bool { return strings.Contains(s.Log(), "ingest") })
	s.MustRun("reload")
	shown := map[string]string{"the log": s.Log()}
	for _, command := range []string{"status", "status --json", "plan", "plan --json", "check", "connections", "connections --json"} {
		shown[command] = s.MustRun(strings.Fields(command)...)
	}
	for _, p := range s.Processes() {
		shown["ps"] += p.Args + "\n"
	}
	for where, text := range shown {
		if i := strings.Index(text, "SECRET"); i >= 0 {
			t.Errorf("%s shows a secret: %.200s", where, text[max(0, i-100):])
		}
		if strings.Contains(text, token) {
			t.Errorf("%s shows a client's token", where)
		}
		if text == "" {
			t.Errorf("%s shows nothing at all", where)
		}
	}
}
