//go:build linux

package control

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns both ends of a channel; raw is a duplicate of the child's.
func pair(t testing.TB) (parent, child *Conn, raw int) {
	t.Helper()
	parent, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 3); err != nil {
		t.Fatal(err)
	}
	if child, err = Open(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { parent.Close(); child.Close(); unix.Close(raw) })
	return parent, child, raw
}

func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestMessageWithFile(t *testing.T) {
	parent, child, _ := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := parent.Send(TypeStop, 7, Stop{Code: 1001, DrainMS: 5}, w); err != nil {
		t.Fatal(err)
	}
	w.Close() // the peer has its own
	m, files, err := child.Receive()
	if err != nil || m.Type != TypeStop || m.ID != 7 || len(files) != 1 {
		t.Fatalf("%+v, %d files, %v", m, len(files), err)
	}
	var s Stop
	if err := json.Unmarshal(m.Body, &s); err != nil || s.Code != 1001 || s.DrainMS != 5 {
		t.Errorf("body %s, %v", m.Body, err)
	}
	if flags, err := unix.FcntlInt(files[0].Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Error("a received descriptor would be inherited")
	}
	if _, err := files[0].WriteString("through"); err != nil {
		t.Fatal(err)
	}
	files[0].Close()
	if data, err := io.ReadAll(r); err != nil || string(data) != "through" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestLimits(t *testing.T) {
	parent, child, _ := pair(t)
	if err := parent.Send(TypeAnswer, 1, strings.Repeat("x", MaxMessage)); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	if err := parent.Send(TypeAnswer, 1, strings.Repeat("x", MaxMessage-100)); err != nil {
		t.Errorf("just short enough: %v", err)
	}
	if m, _, err := child.Receive(); err != nil || len(m.Body) != MaxMessage-98 {
		t.Errorf("%d bytes, %v", len(m.Body), err)
	}
	if err := parent.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		if err := parent.Send(TypePing, 1, nil); err != nil { // nobody reads
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a full channel: %v", err)
			}
			return
		}
	}
}

func TestEndOfPeer(t *testing.T) {
	parent, child, raw := pair(t)
	if err := child.Send(TypeFailed, 0, Failed{Step: "s", Error: "e"}); err != nil {
		t.Fatal(err)
	}
	child.Close()
	unix.Close(raw)
	if m, _, err := parent.Receive(); err != nil || m.Type != TypeFailed {
		t.Errorf("its last word: %+v, %v", m, err)
	}
	if _, _, err := parent.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("its end: %v", err)
	}
}

// Descriptors that come with garbage are closed.
func TestGarbageLeaksNothing(t *testing.T) {
	parent, _, raw := pair(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before := openFiles(t)
	for range 3 {
		if err := unix.Sendmsg(raw, []byte("{garbage"), unix.UnixRights(int(null.Fd()), int(null.Fd())), nil, 0); err != nil {
			t.Fatal(err)
		}
		if _, files, err := parent.Receive(); err == nil || files != nil {
			t.Errorf("garbage received: %d files, %v", len(files), err)
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}

func FuzzReceive(f *testing.F) {
	for _, s := range []string{`{"type":"ping","id":1}`, `{"type":"stop","body":{"code":1001}}`, `{`, `[]`, "\x00", `{"id":-1}`} {
		f.Add([]byte(s))
	}
	parent, _, raw := pair(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || len(data) > MaxMessage {
			return
		}
		if err := unix.Sendmsg(raw, data, nil, nil, 0); err != nil {
			t.Fatal(err)
		}
		m, _, err := parent.Receive()
		if err != nil {
			return
		}
		if _, err := json.Marshal(m); err != nil {
			t.Errorf("%q was received as %+v, which cannot be sent: %v", data, m, err)
		}
	})
}
