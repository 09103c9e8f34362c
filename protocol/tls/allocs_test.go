//go:build !faults && !race

package tls

import (
	"bytes"
	"testing"
)

// TestNoGarbage: a record of a direction whose cipher is in the ring allocates
// nothing, either way.
func TestNoGarbage(t *testing.T) {
	for _, k := range suites {
		r := &Ring{}
		s, cl := two(k.id)
		msg, out, in := bytes.Repeat([]byte("x"), 132), make([]byte, 0, 300), make([]byte, 300)
		if n := testing.AllocsPerRun(100, func() {
			out, _ = cl.Seal(r, out[:0], msg)
			if data, _, err := s.Open(r, in[:copy(in, out)]); err != nil || len(data) != len(msg) {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}
