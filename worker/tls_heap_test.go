package worker

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/pushd/pushd/worker/reactor"
)

// What TLS may add to an idle connection, in bytes of live heap: a session of 80
// and a seat of 16. The ring of ciphers is a part of each worker.
const (
	tlsBudget    = 112
	ringBudget   = 96 << 10
	idleTLSConns = 1000
)

// crowdTLS opens n WebSockets under TLS whose client ends are bare descriptors.
func (s *server) crowdTLS(n int) {
	s.t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}}
	fds := make([]int, 0, n)
	s.t.Cleanup(func() {
		for _, fd := range fds {
			closeFD(fd)
		}
	})
	for range n {
		raw, err := net.Dial("tcp", s.addrs[0])
		must(s.t, err)
		must(s.t, raw.SetDeadline(time.Now().Add(patience)))
		conn := tls.Client(raw, config)
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
		must(s.t, err)
		if resp.StatusCode != http.StatusSwitchingProtocols {
			s.t.Fatal(resp.Status)
		}
		f, err := raw.(*net.TCPConn).File()
		must(s.t, err)
		fd, err := reactor.Duplicate(int(f.Fd()))
		must(s.t, err)
		f.Close()
		raw.Close()
		fds = append(fds, fd)
	}
	s.eventually("all are connected", func() bool { return s.w.loop.conns.len() == n })
}

// TestIdleHeapTLS: an idle connection under TLS takes no more than tlsBudget beside
// a plain one, before a hand-over and behind it.
func TestIdleHeapTLS(t *testing.T) {
	b := &testBus{}
	w1, _ := newEchoer(anyWSS)
	s1 := launch(t, w1, b, nil)
	warm := connectTLS(t, s1.addrs[0], v13) // what the first one brings along for good
	warm.conn.Close()
	s1.eventually("it has left", func() bool { return w1.loop.conns.len() == 0 })
	if *heapTable {
		runtime.MemProfileRate = 1
	}
	sites, base := heapSites(), liveHeap()
	s1.crowdTLS(idleTLSConns)
	heapOf(t, "idle", base, allowed(idleBudget+tlsBudget))
	printSites(t, "idle", sites)
	w2, _ := newEchoer(anyWSS)
	s2, report := s1.replace(w2, b)
	if report.Moved != idleTLSConns {
		t.Fatalf("%+v", report)
	}
	s1.stop()
	*s1 = server{t: t, stopped: true}
	heapOf(t, "after a reload", base, allowed(reloadBudget+tlsBudget))
	s2.eventually("all are here", func() bool { return w2.loop.conns.len() == idleTLSConns })
}

func heapOf(t *testing.T, when string, base, budget int) {
	t.Helper()
	per := func() int { return (liveHeap() - base - ringBudget) / idleTLSConns }
	for end := time.Now().Add(patience); !*heapTable && per() > budget && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("%s: %d B of live heap per connection, budget %d", when, per(), budget)
	if n := per(); n > budget {
		t.Errorf("%s: %d B of live heap per connection, budget %d", when, n, budget)
	}
}
