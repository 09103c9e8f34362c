package reactor

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOneIsWoken: of those that wait for a listener in sets of their own a client
// wakes one.
func TestOneIsWoken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	const waiting = 5
	woken, threads := make(chan int, waiting), make(chan int)
	for range waiting {
		epoll, err := newEpoll()
		must(t, err)
		defer closeFD(epoll)
		shared := &listener{fd: descriptor(t, ln.(*net.TCPListener))}
		defer closeFD(shared.fd)
		must(t, shared.watch(epoll))
		end, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
		must(t, err)
		must(t, epollAdd(epoll, end, eventsRead, 0))
		done := make(chan bool)
		defer func() { signal(end); <-done }()
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked: the thread is this goroutine's
			threads <- unix.Gettid()
			events := make([]unix.EpollEvent, 1)
			n, err := unix.EpollWait(epoll, events, -1)
			for err == unix.EINTR {
				n, err = unix.EpollWait(epoll, events, -1)
			}
			if n > 0 && int(events[0].Fd) == shared.fd {
				woken <- epoll
			}
		}()
		sleeps(t, <-threads)
	}
	dial(t, ln.Addr())
	await(t, "the one that is woken", woken)
	select {
	case <-woken:
		t.Error("a second one was woken")
	case <-time.After(100 * time.Millisecond): // a busy machine may miss it, and never sees what is not there
	}
}

// sleeps waits until a thread of this process does so in epoll_wait.
func sleeps(t *testing.T, tid int) {
	t.Helper()
	numbers := []string{fmt.Sprintf("%d ", unix.SYS_EPOLL_PWAIT), "232 "} // epoll_wait of amd64
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
		must(t, err)
		if strings.HasPrefix(string(text), numbers[0]) || strings.HasPrefix(string(text), numbers[1]) {
			return
		}
	}
	t.Fatal("the thread does not wait for events")
}

// TestListenerFollowsTheLoop: it is watched by the set that the loop waits for,
// gnet's or ours.
func TestListenerFollowsTheLoop(t *testing.T) {
	t.Setenv(FallbackEnv, "")
	s, tcp, _ := start(t)
	watched := func(byOurs bool) {
		t.Helper()
		for end := time.Now().Add(patience); ; {
			var in, at int
			s.on(func() {
				in, at = s.r.listeners[0].in, s.r.engine.epoll
				if byOurs {
					at = s.r.own.epoll
				}
			})
			if in == at {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("the listener is in %d, not in %d", in, at)
			}
		}
	}
	watched(false)
	c := settled(t, s, tcp)
	watched(true)
	says(t, dial(t, tcp), "hello", "HELLO")
	watched(true)
	s.on(func() {
		s.r.Deafen(false)
		if in := s.r.listeners[0].in; in != nowhere {
			t.Errorf("a deaf one is in %d", in)
		}
		must(t, s.r.Listen())
	})
	watched(true)
	c.Close()
	await(t, "Closed", s.closed)
	watched(false)
	says(t, dial(t, tcp), "hello", "HELLO")
}

// TestRestLeavesTheListener: who is ahead rests until the others have caught up, or
// nobody waits; then it accepts again.
func TestRestLeavesTheListener(t *testing.T) {
	s, tcp, _ := start(t)
	lines := make([]line, 8)
	other := newBalance(lines, 1, 77)
	other.join(0)
	s.on(func() { s.r.Share(newBalance(lines, 0, 76)) })
	before := CallsSoFar()
	for range 3 * leastLead {
		says(t, dial(t, tcp), "hello", "HELLO") // though the other one does not accept
	}
	if got := lines[1].sockets.Load(); got != 3*leastLead {
		t.Errorf("the others are told of %d sockets", got)
	}
	if rests := CallsSoFar().Since(before).Rests; rests < restsInVain/2 || rests > 2*restsInVain+3*leastLead {
		t.Errorf("rested %d times", rests)
	}
	other.join(0)
	other.note(1000)
	other.accepted(1000)
	before = CallsSoFar()
	says(t, dial(t, tcp), "hello", "HELLO")
	if rests := CallsSoFar().Since(before).Rests; rests != 0 {
		t.Errorf("rested %d times for one that has more", rests)
	}
	s.on(func() { s.r.Deafen(false) })
	if lines[1].owner.Load() != 0 {
		t.Error("who does not accept has a line")
	}
}

// TestListenOnAnOldKernel: one that cannot wake one alone wakes all.
func TestListenOnAnOldKernel(t *testing.T) {
	epoll, err := newEpoll()
	must(t, err)
	defer closeFD(epoll)
	refuses, err := newEpoll() // as the kernel does for an epoll instance
	must(t, err)
	defer closeFD(refuses)
	if err := epollAdd(epoll, refuses, eventsAccept, 0); err == nil {
		t.Fatal("the kernel takes what it should refuse")
	}
	must(t, (&listener{fd: refuses}).watch(epoll))
}
