package text

import (
	"bytes"
	"errors"
	"testing"

	"github.com/pushd/pushd/protocol"
)

// TestInput: n is the packet's length, -1 an error.
func TestInput(t *testing.T) {
	for _, c := range []struct {
		buf   string
		limit int
		n     int
	}{
		{"", 2, 0}, {"\n", 2, 1}, {"\r\n", 2, 2}, {"ab", 2, 0}, {"ab\r", 2, 0}, {"ab\r\nc", 2, 4}, {"ab\n", 2, 3},
		{"abc\n", 2, -1}, {"abc\r\n", 2, -1}, {"abc", 2, -1}, {"ab\rc", 2, -1}, {"ab\r\r\n", 2, -1}, {"abc\n", 0, 4},
		{"ab\n", 1<<63 - 1, 3},
	} {
		n, err := Protocol{}.Input([]byte(c.buf), c.limit)
		if err != nil {
			n = -1
		}
		if n != c.n {
			t.Errorf("%q with limit %d: %d, %v; want %d", c.buf, c.limit, n, err, c.n)
		}
	}
}

// play cuts a stream that arrives in pieces of step bytes into messages.
func play(t testing.TB, stream []byte, step, limit int) (out [][]byte, failed bool) {
	var buf []byte
	seen := 0
	for len(stream) > 0 {
		k := min(step, len(stream))
		buf, stream = append(buf, stream[:k]...), stream[k:]
		for len(buf) > 0 {
			n, err := protocol.Input(Protocol{}, buf, seen, limit)
			if again, err2 := (Protocol{}).Input(buf, limit); again != n || (err == nil) != (err2 == nil) {
				t.Fatalf("%q, %d bytes seen: %d, %v; from the start %d, %v", buf, seen, n, err, again, err2)
			}
			if err != nil {
				return out, true
			}
			if seen = 0; n == 0 || n > len(buf) {
				seen = len(buf)
				break
			}
			m, err := Protocol{}.Decode(buf[:n])
			if err != nil || limit > 0 && len(m) > limit {
				t.Fatalf("message of %d bytes, limit %d, %v", len(m), limit, err)
			}
			out, buf = append(out, bytes.Clone(m)), buf[n:]
		}
	}
	return out, false
}

func TestRoundTrip(t *testing.T) {
	var stream []byte
	want := []string{"", "a", "hello ✓", "\x00\xff"}
	for _, m := range want {
		stream = Protocol{}.Encode(stream, []byte(m))
	}
	for step := 1; step <= len(stream); step++ {
		got, failed := play(t, stream, step, 9)
		if failed || string(bytes.Join(got, []byte("|"))) != "|a|hello ✓|\x00\xff" {
			t.Fatalf("in pieces of %d: %q, failed %v", step, got, failed)
		}
	}
}

// FuzzInput: however a stream arrives, its messages are the same.
func FuzzInput(f *testing.F) {
	f.Add([]byte("a\r\nb\n\nccc"), 1, 8)
	f.Add([]byte("\x00\x00\x00\x03\r\n"), 2, 0)
	f.Fuzz(func(t *testing.T, stream []byte, step, limit int) {
		if step < 1 || limit < 0 {
			return
		}
		whole, wholeFailed := play(t, stream, len(stream), limit)
		parts, failed := play(t, stream, step, limit)
		if failed != wholeFailed || len(parts) != len(whole) || !bytes.Equal(bytes.Join(parts, nil), bytes.Join(whole, nil)) {
			t.Fatalf("in parts: %q, failed %v; whole: %q, failed %v", parts, failed, whole, wholeFailed)
		}
	})
}

func TestTooLongHasItsName(t *testing.T) {
	if _, err := (Protocol{}).Input([]byte("abc\n"), 2); !errors.Is(err, protocol.ErrTooLong) {
		t.Fatal(err)
	}
}
