package main_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/cmd/pushdtest"
)

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
	limited(t, s, 200)
	all, _ := crowd(t, s, "/echo")
	l := stand(t, s, "--churn", "0", "--connect-rate", "0") // the rush is all that comes
	exhaust(t, s, all)
	l.end()
}

// TestLimitFallsUnderWorkers: an accept that fails stops the event loop; the
// worker raises the limit to what it may have and goes on with everyone.
func TestLimitFallsUnderWorkers(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	all, _ := crowd(t, s, "/echo")
	l := stand(t, s)
	before := s.Status()
	lowerLimits(t, s, false)
	guests, in := rush(t, s)
	pushdtest.Eventually(t, "everyone comes in", func() bool { return in.Load() == int64(len(guests)) })
	if !strings.Contains(s.Log(), "stopped unexpectedly") {
		t.Error("no accept has failed: nothing was tested")
	}
	survived(t, s, before, all)
	l.end()
}

// TestHardLimitFallsUnderWorkers: where the limit cannot be raised again, the
// worker keeps to the new one: nobody is lost, the rest waits.
func TestHardLimitFallsUnderWorkers(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses})
	all, _ := crowd(t, s, "/echo")
	l := stand(t, s, "--churn", "0", "--connect-rate", "0") // the rush is all that comes
	before := s.Status()
	lowerLimits(t, s, true)
	guests, in := rush(t, s)
	pushdtest.Eventually(t, "an accept fails", func() bool { return strings.Contains(s.Log(), "stopped unexpectedly") })
	for until := time.Now().Add(1500 * time.Millisecond); time.Now().Before(until); { // it must not fail again and again
		echoes(t, all, "unharmed")
	}
	survived(t, s, before, all)
	if n := in.Load(); n == int64(len(guests)) {
		t.Error("everyone came in: the limit was not in force")
	}
	if n := strings.Count(s.Log(), "stopped unexpectedly"); n > len(before.Workers) {
		t.Errorf("event loops stopped %d times", n)
	}
	l.end()
}

// TestReloadOfFullWorkers: a worker without descriptors left moves all the
// same, though each socket needs a second one on its way.
func TestReloadOfFullWorkers(t *testing.T) {
	t.Parallel()
	s := pushdtest.Start(t, pushdtest.Options{Config: twoProcesses, Manual: true})
	limited(t, s, 200)
	all, _ := crowd(t, s, "/echo")
	for strings.Count(s.Log(), "accepting is paused") < 2 { // each says so as it lets its last one in
		all = append(all, &member{Client: s.Dial("/echo")})
	}
	s.MustRun("reload")
	s.MustRun("reload") // from workers that have more descriptors of their own, those of the move
	echoes(t, all, "moved")
}

// TestRoomIsExact: a worker lets in as many as leave its reserve free, whatever
// numbers the descriptors of its clients and its own have.
func TestRoomIsExact(t *testing.T) {
	t.Parallel()
	const files, reserve = 200, 64
	s := pushdtest.Start(t, pushdtest.Options{Config: strings.Replace(twoProcesses, "count = 2", "count = 1", 1), Manual: true})
	limited(t, s, files)
	clients := []*pushdtest.Client{s.Dial("/echo")} // while there is one the worker counts once a second
	for range 2 {                                   // the second process gets it by a hand-over
		pid := s.Status().Workers[0].PID
		open := func() int { return descriptors(t, pid) }
		pushdtest.Eventually(t, "the limit is what is free", func() bool {
			w := s.Status().Workers[0]
			return w.Limit-w.Connections == files-reserve-open()
		})
		for w := s.Status().Workers[0]; len(clients) < w.Limit; {
			clients = append(clients, s.Dial("/echo"))
		}
		if w := s.Status().Workers[0]; w.State != "full" || w.Connections != w.Limit || open() != files-reserve {
			t.Errorf("%s with %d of %d connections and %d descriptors, want %d", w.State, w.Connections, w.Limit, open(), files-reserve)
		}
		for _, c := range clients[1:] { // holes among the numbers
			c.Conn.Close()
		}
		clients = clients[:1]
		s.MustRun("reload")
	}
}

// survived fails the test unless workers and connections are what they were.
func survived(t *testing.T, s *pushdtest.Server, before pushdtest.Status, members []*member) {
	t.Helper()
	echoes(t, members, "unharmed")
	for i, w := range s.Status().Workers {
		if w.PID != before.Workers[i].PID {
			t.Errorf("worker %d has died", i)
		}
	}
	sameConnections(t, s, members)
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
	} else if !strings.Contains(string(out), "connections in each process of push: the limit of open files") {
		t.Errorf("start does not say which limit holds: %s", out)
	}
}

// lowerLimits leaves the workers room for a few descriptors more; with hard
// they may not raise the limit again.
func lowerLimits(t *testing.T, s *pushdtest.Server, hard bool) {
	t.Helper()
	for _, w := range s.Status().Workers {
		var limit unix.Rlimit
		if err := unix.Prlimit(w.PID, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
			t.Fatal(err)
		}
		if limit.Cur = uint64(descriptors(t, w.PID) + 10); hard {
			limit.Max = limit.Cur
		}
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
	if lines, seconds := strings.Count(s.Log(), "\n"), int(time.Since(began)/time.Second)+1; lines > 1+4*seconds {
		t.Errorf("%d lines of log in %d s, want one of the start and two a second and process", lines, seconds)
	}
	// That they leave makes room. All do: whoever of them still waits would come
	// before those who come again.
	for _, conn := range guests {
		conn.Close()
	}
	pushdtest.Eventually(t, "who comes again is let in", func() bool {
		conn, err := knock(fmt.Sprintf("127.0.0.1:%d", s.Port), "/echo")
		if err != nil {
			return false
		}
		t.Cleanup(func() { conn.Close() })
		return letIn(conn) == nil
	})
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
