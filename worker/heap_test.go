package worker

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pushd/pushd/worker/reactor"
)

// What an idle connection costs in live heap, counted, so that the budget holds
// on any machine. `make bench-heap` prints where the bytes are:
//
//	go test ./worker -run TestIdleHeap -v -args -heap

var heapTable = flag.Bool("heap", false, "TestIdleHeap prints the heap by allocation site")

// Budgets, in bytes of live heap per idle connection. Go's size classes are in.
const (
	idleBudget   = 260 // joined to one shared channel, heartbeat on
	reloadBudget = 275 // the same after it came from another process
	gnetBudget   = 265 // more, if it stays with gnet
	idleConns    = 4000
)

// allowed is the budget in the mode that the tests run in.
func allowed(budget int) int {
	if os.Getenv(reactor.FallbackEnv) == "gnet" {
		return budget + gnetBudget
	}
	return budget
}

// crowd opens n WebSocket connections whose client ends are bare descriptors,
// which take nothing of the heap.
func (s *server) crowd(n int, path string) {
	s.t.Helper()
	var port int
	_, err := fmt.Sscanf(s.addrs[0], "127.0.0.1:%d", &port)
	must(s.t, err)
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	answer := make([]byte, 1024)
	fds := make([]int, 0, n)
	s.t.Cleanup(func() {
		for _, fd := range fds {
			closeFD(fd)
		}
	})
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|closeOnExec, 0)
		must(s.t, err)
		fds = append(fds, fd)
		must(s.t, unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
		_, err = unix.Write(fd, request)
		must(s.t, err)
		got, err := unix.Read(fd, answer)
		must(s.t, err)
		if !strings.HasPrefix(string(answer[:got]), "HTTP/1.1 101 ") {
			s.t.Fatalf("upgrade: %q", answer[:got])
		}
	}
	s.eventually("all are connected", func() bool { return s.w.loop.conns.len() == n })
}

// liveHeap returns the bytes of the objects that are reachable.
func liveHeap() int {
	runtime.GC()
	runtime.GC() // what finalizers and pools let go of in the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestIdleHeap measures the least that a program can do, and the handler chat
// with a room of its own choice: it must not cost more.
func TestIdleHeap(t *testing.T) {
	least := func() *Worker { w, _ := newEchoer(anyWS); return w }
	t.Run("one channel", func(t *testing.T) { idleHeap(t, "/", least) })
	t.Run("chat with a room", func(t *testing.T) { idleHeap(t, "/chat?room=bench", func() *Worker { return newChat(t) }) })
}

func idleHeap(t *testing.T, path string, program func() *Worker) {
	b := &testBus{}
	w1 := program()
	s1 := launch(t, w1, b, nil)
	if *heapTable {
		runtime.MemProfileRate = 1
	}
	sites, base := heapSites(), liveHeap()
	s1.crowd(idleConns, path)
	within(t, "idle", base, idleBudget)
	printSites(t, "idle", sites)

	w2 := program()
	s2, report := s1.replace(w2, b)
	if report.Moved != idleConns {
		t.Fatalf("%+v", report)
	}
	s1.stop()
	*s1 = server{t: t, stopped: true} // so that only the new one is counted
	within(t, "after a reload", base, reloadBudget)
	printSites(t, "after a reload", sites)
	s2.eventually("all are here", func() bool { return w2.loop.conns.len() == idleConns })
}

// TestSizes holds the structs of which every connection has one to their size
// classes.
func TestSizes(t *testing.T) {
	for _, tc := range []struct {
		name      string
		size, max uintptr
	}{
		{"Conn", unsafe.Sizeof(Conn{}), 128},
		{"extra", unsafe.Sizeof(extra{}), 80},
	} {
		if tc.size > tc.max {
			t.Errorf("%s has %d bytes; more than %d and the heap gives it the next size class", tc.name, tc.size, tc.max)
		}
	}
}

// within compares what has come to the heap since base with the budget. On a
// busy machine what the old process's goroutines hold takes a moment to go: the
// queue of the test's bus alone has 10 MB.
func within(t *testing.T, when string, base, budget int) {
	t.Helper()
	budget = allowed(budget)
	per := (liveHeap() - base) / idleConns
	for end := time.Now().Add(patience); per > budget && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		per = (liveHeap() - base) / idleConns
	}
	t.Logf("%s: %d B of live heap per connection, budget %d", when, per, budget)
	if per > budget {
		t.Errorf("%s: %d B of live heap per connection, budget %d; `make bench-heap` shows where they are", when, per, budget)
	}
}

// heapSites returns the live bytes by allocation site.
func heapSites() map[string]int64 {
	if !*heapTable {
		return nil
	}
	liveHeap()
	records := make([]runtime.MemProfileRecord, 20_000)
	n, ok := runtime.MemProfile(records, false)
	if !ok {
		return nil
	}
	sites := map[string]int64{}
	for _, r := range records[:n] {
		if r.InUseBytes() > 0 {
			sites[site(r.Stack())] += r.InUseBytes()
		}
	}
	return sites
}

// site names the innermost caller outside of the runtime.
func site(stack []uintptr) string {
	frames := runtime.CallersFrames(stack)
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") && !strings.HasPrefix(f.Function, "internal/") || !more {
			name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
			return fmt.Sprintf("%s:%d", name, f.Line)
		}
	}
}

// printSites logs what has come since before, per connection, and the memory of
// the process that is not live heap.
func printSites(t *testing.T, when string, before map[string]int64) {
	if !*heapTable {
		return
	}
	type row struct {
		name string
		per  float64
	}
	var rows []row
	for name, bytes := range heapSites() {
		if per := float64(bytes-before[name]) / idleConns; per >= 0.5 {
			rows = append(rows, row{name, per})
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return int(10*b.per) - int(10*a.per) })
	var out strings.Builder
	fmt.Fprintf(&out, "%s, bytes per connection by allocation site:\n", when)
	for _, r := range rows {
		fmt.Fprintf(&out, "%8.1f  %s\n", r.per, r.name)
	}
	fmt.Fprintf(&out, "the process, KiB:\n")
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/metadata/mspan/inuse:bytes"}, {Name: "/memory/classes/metadata/other:bytes"},
		{Name: "/memory/classes/profiling/buckets:bytes"}, {Name: "/memory/classes/other:bytes"}}
	metrics.Read(samples)
	for _, s := range samples {
		fmt.Fprintf(&out, "%8d  %s\n", s.Value.Uint64()>>10, s.Name)
	}
	t.Log(out.String())
}

// TestMemoryGoesBack leaves garbage behind and waits for the calm second in
// which the process gives it to the system.
func TestMemoryGoesBack(t *testing.T) {
	w, _ := newEchoer(anyWS)
	s := launch(t, w, &testBus{}, nil)
	connect(t, s.addrs[0], "/").text("hello")
	s.eventually("the heap is tidy", func() bool {
		kept, running := w.loop.tidying.Kept()
		return kept > 0 && !running
	})
	const garbage = 32 << 20
	kept := uint64(0)
	s.on(func() {
		kept, _ = w.loop.tidying.Kept()
		ballast = make([]byte, garbage)
		ballast = nil
	})
	s.eventually("the garbage is gone", func() bool {
		t := &w.loop.tidying
		now, running := t.Kept()
		return !running && now != kept && t.Held() < kept+garbage/2
	})
}

// ballast keeps what TestMemoryGoesBack allocates out of reach of the compiler.
var ballast []byte
