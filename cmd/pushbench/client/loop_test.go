package client

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain fails if a test leaves a descriptor open.
func TestMain(m *testing.M) {
	// The runtime keeps an epoll of its own from the first network use on.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close()
	}
	before := descriptors()
	code := m.Run()
	if after := descriptors(); code == 0 && after > before {
		println("descriptors before and after:", before, after)
		code = 1
	}
	os.Exit(code)
}

func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// listen serves each connection with f and waits for all of them at the end.
func listen(t *testing.T, f func(c net.Conn)) *Target {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			f(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	target, err := ParseTarget("ws://"+listener.Addr().String()+"/path?x=1", []string{"127.0.3.4", "127.0.3.5"})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// runOne runs a fresh loop until its one connection has ended.
func runOne(t *testing.T, target *Target, h *log) {
	t.Helper()
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	end := h.onEnd
	h.onEnd = func(c *Conn, err error) {
		if end != nil {
			end(c, err)
		}
		l.Stop()
	}
	l.After(time.Minute, func() { t.Error("nothing ended"); l.Stop() })
	l.Post(func() { l.Dial(target, h, 7) })
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
}

func head(c net.Conn) string {
	var b []byte
	for buf := make([]byte, 1); !strings.HasSuffix(string(b), "\r\n\r\n"); b = append(b, buf[0]) {
		if _, err := c.Read(buf); err != nil {
			return string(b)
		}
	}
	return string(b)
}

func TestRequest(t *testing.T) {
	seen := make(chan [2]string, 1)
	target := listen(t, func(c net.Conn) {
		seen <- [2]string{head(c), c.RemoteAddr().String()}
		_, _ = io.WriteString(c, "HTTP/1.1 403 Forbidden\r\n\r\n")
	})
	target.Origin = "http://elsewhere"
	var end error
	runOne(t, target, &log{onEnd: func(_ *Conn, err error) { end = err }})
	got := <-seen
	request, from := got[0], got[1]
	var refused *RefusedError
	if !errors.As(end, &refused) || !strings.Contains(refused.Status, "403") {
		t.Errorf("ended with %v", end)
	}
	for _, want := range []string{"GET /path?x=1 HTTP/1.1\r\n", "Origin: http://elsewhere\r\n", "Host: 127.0.0.1:", "Sec-WebSocket-Version: 13\r\n"} {
		if !strings.Contains(request, want) {
			t.Errorf("%q is not in %q", want, request)
		}
	}
	if !strings.HasPrefix(from, "127.0.3.4:") {
		t.Errorf("came from %s", from)
	}
}

// TestPostAfterTheEnd: the number of a loop's descriptor is soon another's, whose
// bytes a late Post must not write.
func TestPostAfterTheEnd(t *testing.T) {
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	l.Stop()
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	next, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if next != l.wake {
		if err := unix.Dup3(next, l.wake, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(next)
	}
	defer unix.Close(l.wake)
	l.Post(func() { t.Error("ran") })
	var eight [8]byte
	if _, err := unix.Read(l.wake, eight[:]); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("Post wrote %v to the descriptor's next owner, %v", eight, err)
	}
}

func TestFailedDialsAreReported(t *testing.T) {
	nobody, err := ParseTarget("ws://127.0.0.1:1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := ParseTarget("ws://127.0.0.1:1/", []string{"192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	silent := listen(t, func(net.Conn) {})
	for want, target := range map[error]*Target{unix.ECONNREFUSED: nobody, unix.EADDRNOTAVAIL: foreign, io.ErrUnexpectedEOF: silent} {
		var end error
		h := &log{onEnd: func(_ *Conn, err error) { end = err }}
		runOne(t, target, h)
		if !errors.Is(end, want) && !errors.Is(end, unix.ECONNRESET) || len(h.events) != 1 {
			t.Errorf("%q, want %v", h.events, want)
		}
	}
}

func TestPausedConnectionReadsWhatItIsGiven(t *testing.T) {
	target := listen(t, func(c net.Conn) {
		key := strings.Split(strings.Split(head(c), "Sec-WebSocket-Key: ")[1], "\r\n")[0]
		_, _ = io.WriteString(c, strings.Replace(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", acceptFor([keyLength]byte([]byte(key))), 1))
		_, _ = io.ReadFull(c, make([]byte, 8)) // until the client has paused
		_, _ = io.WriteString(c, server(0x81, "0123456789"))
		_, _ = c.Read(make([]byte, 1)) // until the client leaves
	})
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	h := &log{onEnd: func(*Conn, error) { l.Stop() }}
	reads := 0
	h.onOpen = func(c *Conn) {
		l.Pause(c)
		l.Send(c, Text, []byte("go"))
		var some func()
		some = func() {
			l.ReadSome(c, 4)
			if reads++; len(h.events) == 1 && reads < 5000 {
				l.After(time.Millisecond, some)
				return
			}
			l.Close(c)
		}
		l.After(0, some)
	}
	l.Post(func() { l.Dial(target, h, 0) })
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"opened", "1 0123456789", "closed <nil>"}; !slices.Equal(h.events, want) || reads < 3 {
		t.Fatalf("%q after %d reads of 4 bytes", h.events, reads)
	}
}

func TestTimersRunInOrder(t *testing.T) {
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	var order []int
	start := Now()
	for _, ms := range []int{30, 10, 20} {
		l.At(start+int64(time.Duration(ms)*time.Millisecond), func() { order = append(order, ms) })
	}
	l.After(40*time.Millisecond, l.Stop)
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(order, []int{10, 20, 30}) || Now()-start < int64(40*time.Millisecond) {
		t.Fatalf("%v after %v", order, time.Duration(Now()-start))
	}
}

func TestTargets(t *testing.T) {
	for _, bad := range []string{"https://127.0.0.1/", "http://127.0.0.1/", "ws://", "ws://127.0.0.1:nope/", "::", "poll://127.0.0.1/without"} {
		if _, err := ParseTarget(bad, nil); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := ParseTarget("ws://[::1]:80/", []string{"127.0.0.1"}); err == nil {
		t.Error("a v4 source towards a v6 target was taken")
	}
	target, err := ParseTarget("ws://127.0.0.9", nil)
	if err != nil || target.Path != "/" || !target.Loopback() || target.address.Port() != 80 {
		t.Errorf("%+v, %v", target, err)
	}
}
