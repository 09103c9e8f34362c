package handover

import (
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair returns a pair of sockets.
func pair(t *testing.T) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
}

// couriers returns both ends of a channel.
func couriers(t *testing.T) (from, to *Courier) {
	t.Helper()
	a, b := pair(t)
	from, err := New(a)
	must(t, err)
	to, err = New(b)
	must(t, err)
	a.Close()
	b.Close()
	return from, to
}

// TestCarried: each finds what was left for it, and nothing in what is damaged.
func TestCarried(t *testing.T) {
	body := AppendCarried(AppendCarried(nil, "/a", []byte("for a")), "", []byte("for the rest"))
	for pattern, want := range map[string]string{"/a": "for a", "": "for the rest", "/b": ""} {
		if got := CarriedFor(body, pattern); string(got) != want {
			t.Errorf("%q: %q", pattern, got)
		}
	}
	for n := range body {
		if got := CarriedFor(body[:n], ""); got != nil {
			t.Errorf("%d bytes of it: %q", n, got)
		}
	}
	if got := CarriedFor([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, ""); got != nil {
		t.Errorf("a length beyond its end: %q", got)
	}
}

// TestAnswersWithDescriptors: no answer brings any, and what comes is closed.
func TestAnswersWithDescriptors(t *testing.T) {
	for _, kind := range []byte{Error, Ack, Landed} {
		from, to := couriers(t)
		end, given := pair(t)
		must(t, from.Send(kind, []byte("x"), []int{int(given.Fd())}))
		given.Close()
		if _, err := to.Expect(Ack, 0); (err == nil) != (kind == Ack) {
			t.Errorf("%q: %v", kind, err)
		}
		if _, err := end.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%q: its descriptor: %v", kind, err)
		}
		end.Close()
		from.Close()
		to.Close()
	}
}

// TestMessagesOfAHandover: long ones take more turns, and have an end.
func TestMessagesOfAHandover(t *testing.T) {
	if TurnsFor(0) != Turns || TurnsFor(MaxBatch) < Turns+100 {
		t.Errorf("%d turns for 1 GiB", TurnsFor(MaxBatch))
	}
	from, to := couriers(t)
	defer from.Close()
	defer to.Close()
	sent := make(chan error, 1)
	body := []byte(strings.Repeat("0123456789abcdef", 3*pieceBytes/16+1))
	go func() {
		sent <- from.Send(Batch, body, nil)
		sent <- from.Send(Report, body, nil)
	}()
	p, err := to.Receive(0)
	must(t, err)
	must(t, <-sent)
	if string(p.Body) != string(body) {
		t.Error("it is not what was sent")
	}
	if _, err := to.Receive(0); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long report: %v", err)
	}
	to.Close()
	if err := <-sent; err == nil {
		t.Error("it was sent to nobody")
	}
}
