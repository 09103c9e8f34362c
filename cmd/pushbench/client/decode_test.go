package client

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// log is a Handler that writes down what happens.
type log struct {
	events []string
	onOpen func(c *Conn)
	onMsg  func(c *Conn, data []byte)
	onEnd  func(c *Conn, err error)
}

func (l *log) Opened(c *Conn) {
	l.events = append(l.events, "opened")
	if l.onOpen != nil {
		l.onOpen(c)
	}
}

func (l *log) Message(c *Conn, op Opcode, data []byte) {
	shown := string(data)
	if len(data) > 20 {
		shown = fmt.Sprintf("%s…%d", data[:5], len(data))
	}
	l.events = append(l.events, fmt.Sprintf("%d %s", op, shown))
	if l.onMsg != nil {
		l.onMsg(c, data)
	}
}

func (l *log) Closed(c *Conn, err error) {
	l.events = append(l.events, fmt.Sprintf("closed %v", err))
	if l.onEnd != nil {
		l.onEnd(c, err)
	}
}

// wired is a connection that waits for the server's answer, on one end of a
// socket pair whose other end is returned.
func wired(t testing.TB, l *Loop, h Handler) (*Conn, int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(pair[1]) })
	c := &Conn{fd: int32(pair[0]), state: handshaking, handler: h, events: unix.EPOLLIN}
	c.buffers().key = [keyLength]byte([]byte("dGhlIHNhbXBsZSBub25jZQ=="))
	for len(l.conns) <= pair[0] {
		l.conns = append(l.conns, nil)
	}
	l.conns[pair[0]] = c
	if err := l.control(unix.EPOLL_CTL_ADD, pair[0], c.events, 0); err != nil {
		t.Fatal(err)
	}
	return c, pair[1]
}

func newLoop(t testing.TB) *Loop {
	t.Helper()
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.release)
	return l
}

const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// server writes an unmasked frame.
func server(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126, byte(n>>8), byte(n))
	default:
		b = append(b, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return string(b) + payload
}

// Wherever the bytes are cut, the same happens, and nothing is kept after.
func TestEverySplit(t *testing.T) {
	stream := answer + server(0x81, "one") + server(0x82, "") + server(0x01, "two ") + server(0x89, "are you there?") +
		server(0x00, "and ") + server(0x80, "a half") + server(0x8a, "") + server(0x81, strings.Repeat("x", 200))
	want := []string{"opened", "1 one", "2 ", "1 two and a half", "1 xxxxx…200"}
	l := newLoop(t)
	for cut := range len(stream) {
		h := &log{}
		c, other := wired(t, l, h)
		l.input(c, []byte(stream[:cut]))
		l.input(c, []byte(stream[cut:]))
		if !reflect.DeepEqual(h.events, want) {
			t.Fatalf("cut at %d: %q", cut, h.events)
		}
		if c.incomplete != nil {
			t.Fatalf("cut at %d: an idle connection keeps %+v", cut, c.incomplete)
		}
		pong := make([]byte, 64)
		if n, err := unix.Read(other, pong); err != nil || n != 6+14 || pong[0] != 0x8a {
			t.Fatalf("cut at %d: pong % x, %v", cut, pong[:max(n, 0)], err)
		}
		l.Abort(c)
	}
}

func TestBytewise(t *testing.T) {
	l, h := newLoop(t), &log{}
	c, _ := wired(t, l, h)
	for _, b := range []byte(answer + server(0x01, "two") + server(0x80, strings.Repeat("y", 70_000))) {
		l.input(c, []byte{b})
	}
	if want := []string{"opened", "1 twoyy…70003"}; !reflect.DeepEqual(h.events, want) {
		t.Fatalf("%q", h.events)
	}
}

func TestStrictWithServers(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"masked":                 {answer + "\x81\x81aaaab", "masked"},
		"reserved bit":           {answer + server(0xc1, "x"), "reserved"},
		"opcode 3":               {answer + server(0x83, "x"), "opcode 3"},
		"opcode 11":              {answer + server(0x8b, "x"), "opcode 11"},
		"fragmented ping":        {answer + server(0x09, "x"), "control frame"},
		"long ping":              {answer + server(0x89, strings.Repeat("x", 126)), "control frame"},
		"continuation of naught": {answer + server(0x80, "x"), "out of order"},
		"message in a message":   {answer + server(0x01, "x") + server(0x81, "y"), "out of order"},
		"too long":               {answer + "\x82\x7f\x00\x00\x00\x00\x04\x00\x00\x01", "64 MiB"},
		"2^63":                   {answer + "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "64 MiB"},
		"close with a reason":    {answer + server(0x88, "\x03\xf5sorry"), `1013 "sorry"`},
		"close without a code":   {answer + server(0x88, ""), "1005"},
		"no websocket":           {"HTTP/1.1 404 Not Found\r\n\r\n", "404"},
		"wrong accept":           {strings.Replace(answer, "s3p", "S3p", 1), "Accept"},
		"no upgrade":             {strings.Replace(answer, "Upgrade: websocket\r\n", "", 1), "Upgrade"},
		"extension":              {strings.Replace(answer, "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 1), "not offered"},
		"no colon":               {strings.Replace(answer, "\r\n\r\n", "\r\nnonsense\r\n\r\n", 1), "colon"},
		"endless answer":         {strings.Repeat("x", maxResponse+1), "16 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			var ends []error
			l, h := newLoop(t), &log{onEnd: func(_ *Conn, err error) { ends = append(ends, err) }}
			c, _ := wired(t, l, h)
			l.input(c, []byte(test.in))
			if len(ends) != 1 || ends[0] == nil || !strings.Contains(ends[0].Error(), test.want) {
				t.Fatalf("ended with %v, want one that says %q", ends, test.want)
			}
		})
	}
}

// A handler may close or abort from anywhere; what follows is not delivered.
func TestEndInsideHandler(t *testing.T) {
	for name, end := range map[string]func(l *Loop, c *Conn){"close": (*Loop).Close, "abort": (*Loop).Abort} {
		l, h := newLoop(t), &log{}
		h.onMsg = func(c *Conn, _ []byte) { end(l, c) }
		c, _ := wired(t, l, h)
		l.input(c, []byte(answer+server(0x81, "a")+server(0x88, "\x03\xe8")+server(0x81, "b")))
		if want := []string{"opened", "1 a", "closed <nil>"}; !reflect.DeepEqual(h.events, want) {
			t.Errorf("%s: %q", name, h.events)
		}
	}
}

func TestSendSurvivesAFullSocket(t *testing.T) {
	l, h := newLoop(t), &log{}
	c, other := wired(t, l, h)
	l.input(c, []byte(answer))
	want := bytes.Repeat([]byte("0123456789"), 400_000)
	l.Send(c, Binary, want)
	if c.incomplete == nil || c.events&unix.EPOLLOUT == 0 {
		t.Fatal("4 MB went into a socket at once")
	}
	var got []byte
	for buf := make([]byte, 1<<20); c.incomplete != nil; l.flush(c) {
		n, err := unix.Read(other, buf)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		got = append(got, buf[:max(n, 0)]...)
	}
	for buf := make([]byte, 1<<20); ; {
		n, _ := unix.Read(other, buf)
		if n <= 0 {
			break
		}
		got = append(got, buf[:n]...)
	}
	if len(got) != 14+len(want) {
		t.Fatalf("%d bytes arrived", len(got))
	}
	mask := uint32(got[10]) | uint32(got[11])<<8 | uint32(got[12])<<16 | uint32(got[13])<<24
	xor(got[14:], mask)
	if !bytes.Equal(got[14:], want) {
		t.Fatal("the payload changed on its way")
	}
	if c.events&unix.EPOLLOUT != 0 {
		t.Fatal("still waits for room")
	}
}

func TestUnreadServerIsGivenUp(t *testing.T) {
	l, h := newLoop(t), &log{}
	c, _ := wired(t, l, h)
	l.input(c, []byte(answer))
	l.Send(c, Binary, make([]byte, maxUnsent+1<<20))
	l.runPosted()
	if want := []string{"opened", "closed " + ErrUnread.Error()}; !reflect.DeepEqual(h.events, want) {
		t.Fatalf("%q", h.events)
	}
}

func TestDeadlines(t *testing.T) {
	l := newLoop(t)
	silent, closed, fine := &log{}, &log{}, &log{}
	c1, _ := wired(t, l, silent)
	c2, _ := wired(t, l, closed)
	c3, _ := wired(t, l, fine)
	for _, c := range []*Conn{c1, c3} {
		l.dials.add(c, HandshakeTimeout)
	}
	l.input(c2, []byte(answer))
	l.input(c3, []byte(answer))
	l.Close(c2)
	l.sweep()
	if len(silent.events) > 0 {
		t.Fatalf("ended before its time: %q", silent.events)
	}
	l.dials.queue[0].due, l.closings.queue[0].due = 0, 0
	l.sweep()
	for h, want := range map[*log]string{
		silent: "[closed " + ErrTimeout.Error() + "]",
		closed: "[opened closed " + ErrUnanswered.Error() + "]",
		fine:   "[opened]",
	} {
		if got := fmt.Sprint(h.events); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if len(l.dials.queue)+len(l.closings.queue) != 0 {
		t.Error("deadlines are left")
	}
}

// Any bytes in any portions: no panic, one end at most, and the same as whole.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(server(0x81, "hello")+server(0x01, "a")+server(0x80, "b")), uint8(3))
	f.Add([]byte(server(0x88, "\x03\xe8bye")), uint8(1))
	f.Add([]byte(server(0x82, strings.Repeat("z", 300))+server(0x89, "p")), uint8(100))
	f.Fuzz(func(t *testing.T, in []byte, portion uint8) {
		var events [2][]string
		for i, step := range []int{len(in), int(portion)} {
			l, err := NewLoop()
			if err != nil {
				t.Fatal(err)
			}
			h := &log{}
			c, _ := wired(t, l, h)
			l.input(c, []byte(answer))
			for at := 0; at < len(in) && c.state != gone; at += max(step, 1) {
				l.input(c, in[at:min(at+max(step, 1), len(in))])
			}
			l.Abort(c)
			l.release()
			events[i] = h.events
		}
		if !reflect.DeepEqual(events[0], events[1]) {
			t.Fatalf("whole %q, in portions of %d %q", events[0], portion, events[1])
		}
	})
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte(answer))
	f.Add([]byte("HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n"))
	key := [keyLength]byte([]byte("dGhlIHNhbXBsZSBub25jZQ=="))
	f.Fuzz(func(t *testing.T, in []byte) {
		if n, err := parseResponse(in, key); n > len(in) || n > 0 && (err != nil || !bytes.HasSuffix(in[:n], []byte("\r\n\r\n"))) {
			t.Fatalf("%d of %d bytes, %v", n, len(in), err)
		}
	})
}
