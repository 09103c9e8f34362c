package worker

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Budgets, in bytes of live heap: of a stream as much as of a WebSocket and 80
// more, of a waiting poll another 100 for what waits; also after a reload.
const (
	streamBudget = idleBudget + 80
	pollBudget   = streamBudget + 100
)

// TestIdleHeapOfStreams measures streams and polls that have joined one channel.
func TestIdleHeapOfStreams(t *testing.T) {
	t.Run("streams", func(t *testing.T) { idleStreams(t, streamBudget, "HTTP/1.1 200 ", streamer) })
	t.Run("polls", func(t *testing.T) { idleStreams(t, pollBudget, "", poller) })
}

func idleStreams(t *testing.T, budget int, answer string, program func() *Worker) {
	b, w1 := &testBus{}, program()
	s1 := launch(t, w1, b, nil)
	if *heapTable {
		runtime.MemProfileRate = 1
	}
	sites, base := heapSites(), liveHeap()
	s1.ask(idleConns, "GET / HTTP/1.1\r\nHost: example.test\r\n\r\n", answer)
	within(t, "idle", base, budget)
	printSites(t, "idle", sites)
	w2 := program()
	s2, report := s1.replace(w2, b)
	if report.Moved != idleConns {
		t.Fatalf("%+v", report)
	}
	s1.stop()
	*s1 = server{t: t, stopped: true} // so that only the new one is counted
	within(t, "after a reload", base, budget)
	s2.eventually("all are here", func() bool { return w2.CountMembers("all") == idleConns })
}

// ask has n clients send a request, whose answer begins so, if one comes now.
// Their ends are bare descriptors, which take nothing of the heap.
func (s *server) ask(n int, request, answer string) {
	s.t.Helper()
	var port int
	_, err := fmt.Sscanf(s.addrs[0], "127.0.0.1:%d", &port)
	must(s.t, err)
	fds := make([]int, 0, n)
	s.t.Cleanup(func() {
		for _, fd := range fds {
			closeFD(fd)
		}
	})
	buf := make([]byte, 1024)
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|closeOnExec, 0)
		must(s.t, err)
		fds = append(fds, fd)
		must(s.t, unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
		_, err = unix.Write(fd, []byte(request))
		must(s.t, err)
		if answer == "" {
			if i%200 == 199 { // no more than the listener has room for
				s.eventually("they wait", func() bool { return s.w.CountMembers("all") == i+1 })
			}
			continue
		}
		got, err := unix.Read(fd, buf)
		must(s.t, err)
		if !strings.HasPrefix(string(buf[:got]), answer) {
			s.t.Fatalf("%q", buf[:got])
		}
	}
	s.eventually("all are connected", func() bool { return s.w.CountMembers("all") == n })
}
