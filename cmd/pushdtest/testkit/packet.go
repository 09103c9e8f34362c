package testkit

import (
	"bytes"
	"errors"
	"testing"

	"github.com/pushd/pushd/protocol"
)

// Input returns a check of what a protocol makes of a buffer: n is the packet's
// length, -1 an error.
func Input(t *testing.T, p protocol.Protocol) func(buf string, limit, want int) {
	return func(buf string, limit, want int) {
		t.Helper()
		n, err := p.Input([]byte(buf), limit)
		if err != nil {
			n = -1
		}
		if n != want {
			t.Errorf("%q with limit %d: %d, %v; want %d", buf, limit, n, err, want)
		}
	}
}

// cut cuts a stream that arrives in pieces of step bytes into messages. What
// Input says must not depend on what it was shown before.
func cut(t testing.TB, p protocol.Protocol, stream []byte, step, limit int) (out [][]byte, failed bool) {
	var buf []byte
	seen := 0
	for len(stream) > 0 {
		k := min(step, len(stream))
		buf, stream = append(buf, stream[:k]...), stream[k:]
		for len(buf) > 0 {
			n, err := protocol.Input(p, buf, seen, limit)
			if again, err2 := p.Input(buf, limit); again != n || (err == nil) != (err2 == nil) {
				t.Fatalf("%q, %d bytes seen: %d, %v; from the start %d, %v", buf, seen, n, err, again, err2)
			}
			if err != nil {
				return out, true
			}
			if seen = 0; n == 0 || n > len(buf) {
				seen = len(buf)
				break
			}
			m, err := p.Decode(buf[:n])
			if err != nil || limit > 0 && len(m) > limit {
				t.Fatalf("message of %d bytes, limit %d, %v", len(m), limit, err)
			}
			out, buf = append(out, bytes.Clone(m)), buf[n:]
		}
	}
	return out, false
}

// RoundTrip sends messages through a protocol in pieces of every size.
func RoundTrip(t *testing.T, p protocol.Protocol) {
	t.Helper()
	var stream []byte
	for _, m := range []string{"", "a", "hello ✓", "\x00\xff"} {
		stream = p.Encode(stream, []byte(m))
	}
	for step := 1; step <= len(stream); step++ {
		got, failed := cut(t, p, stream, step, 9)
		if failed || string(bytes.Join(got, []byte("|"))) != "|a|hello ✓|\x00\xff" {
			t.Fatalf("in pieces of %d: %q, failed %v", step, got, failed)
		}
	}
}

// FuzzPackets: however a stream arrives, its messages are the same.
func FuzzPackets(f *testing.F, p protocol.Protocol) {
	f.Fuzz(func(t *testing.T, stream []byte, step, limit int) {
		if step < 1 || limit < 0 {
			return
		}
		whole, wholeFailed := cut(t, p, stream, len(stream), limit)
		parts, failed := cut(t, p, stream, step, limit)
		if failed != wholeFailed || len(parts) != len(whole) || !bytes.Equal(bytes.Join(parts, nil), bytes.Join(whole, nil)) {
			t.Fatalf("in parts: %q, failed %v; whole: %q, failed %v", parts, failed, whole, wholeFailed)
		}
	})
}

// TooLong makes sure that a packet over the limit of 2 fails by its name.
func TooLong(t *testing.T, p protocol.Protocol, packet string) {
	t.Helper()
	if _, err := p.Input([]byte(packet), 2); !errors.Is(err, protocol.ErrTooLong) {
		t.Fatal(err)
	}
}
