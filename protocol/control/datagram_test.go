//go:build linux

package control

import (
	"errors"
	"math"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// bare is a Conn and the bare descriptor of its peer.
func bare(t testing.TB) (*Conn, int) {
	t.Helper()
	fds, err := socketpair()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(os.NewFile(uintptr(fds[0]), "control"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); unix.Close(fds[1]) })
	return c, fds[1]
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// What cannot be used leaks no descriptor, and the next message is received.
func TestBadDatagrams(t *testing.T) {
	for name, data := range map[string][]byte{
		"garbage": []byte("{"), "empty": nil, "too long": make([]byte, MaxMessage+2), "wrong shape": []byte(`{"id":-1}`),
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := bare(t)
			before := descriptors(t)
			if err := unix.Sendmsg(peer, data, unix.UnixRights(0, 1, 2), nil, 0); err != nil {
				t.Fatal(err)
			}
			if m, files, err := c.Receive(); err == nil || files != nil {
				t.Fatalf("received %+v with %d files", m, len(files))
			}
			if after := descriptors(t); after != before {
				t.Fatalf("%d descriptors before, %d after", before, after)
			}
			if err := unix.Sendmsg(peer, []byte(`{"type":"ready"}`), nil, nil, 0); err != nil {
				t.Fatal(err)
			}
			if m, _, err := c.Receive(); err != nil || m.Type != TypeReady {
				t.Fatalf("%+v, %v", m, err)
			}
		})
	}
}

// A message whose files find no descriptor comes without them, and so does the
// next one, whole, when there are some again.
func TestOutOfDescriptors(t *testing.T) {
	c, peer := bare(t)
	send := func() {
		t.Helper()
		if err := unix.Sendmsg(peer, []byte(`{"type":"import","id":7}`), unix.UnixRights(0, 1), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	before := descriptors(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	send()
	for _, most := range []uint64{3, uint64(lowest(t)) + 1} { // none, and one of two
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: limit.Max}); err != nil {
			t.Fatal(err)
		}
		m, files, err := c.Receive()
		if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); e != nil {
			t.Fatal(e)
		}
		if !errors.Is(err, ErrCut) || m.Type != TypeImport || m.ID != 7 || files != nil {
			t.Errorf("limit %d: %+v with %d files, %v", most, m, len(files), err)
		}
		send()
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	m, files, err := c.Receive()
	if err != nil || m.ID != 7 || len(files) != 2 {
		t.Errorf("%+v with %d files, %v", m, len(files), err)
	}
	for _, f := range files {
		f.Close()
	}
}

// lowest is the number of the next descriptor.
func lowest(t testing.TB) int {
	t.Helper()
	fd, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	return fd
}

func TestPauseBuckets(t *testing.T) {
	for _, us := range []int64{-1, 0, 1, 7, 8, 9, 15, 16, 1000, 1 << 40, math.MaxInt64} {
		i := PauseBucket(us)
		if limit := PauseLimit(i); us > limit || i > 0 && us <= PauseLimit(i-1) {
			t.Errorf("%d is in bucket %d, up to %d", us, i, limit)
		}
	}
}
