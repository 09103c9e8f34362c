package timer

import (
	"slices"
	"testing"
	"time"
)

// trace collects what ran, in order.
type trace []string

func (r *trace) add(name string) func() { return func() { *r = append(*r, name) } }

func (r *trace) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(*r, want) {
		t.Fatalf("ran %v, want %v", *r, want)
	}
	*r = nil
}

func expectNext(t *testing.T, w *Wheel, want time.Duration) {
	t.Helper()
	if at, ok := w.Next(); !ok || at != want {
		t.Fatalf("Next = %v, %v; want %v", at, ok, want)
	}
	verify(t, w)
}

func expectEmpty(t *testing.T, w *Wheel) {
	t.Helper()
	if at, ok := w.Next(); ok || w.Len() != 0 {
		t.Fatalf("Next = %v, %v with Len %d; want an empty wheel", at, ok, w.Len())
	}
	verify(t, w)
}

// verify checks what must hold between calls: marks agree with lists, entries
// are where a walk finds them, an empty block is gone.
func verify(t *testing.T, w *Wheel) {
	t.Helper()
	n := 0
	count := func(l *list, right func(*Timer) bool) {
		for e := l.head(); e != nil; e = e.next {
			if n++; e.list != l || e.next.prev != e || !right(e) {
				t.Fatalf("entry due at %v is in the wrong place", e.at)
			}
			if e == l.tail {
				break
			}
		}
	}
	past := func(e *Timer) bool { return e.at <= w.now }
	count(&w.due, past)
	count(&w.running, past)

	var walk func(b *block)
	walk = func(b *block) {
		if b.occupied == 0 && b != w.root {
			t.Fatal("an empty block was kept in the hierarchy")
		}
		for i := range b.slots {
			s := &b.slots[i]
			full := s.list.tail != nil || s.sub != nil
			if full != (b.occupied>>i&1 == 1) || s.list.tail != nil && s.sub != nil {
				t.Fatalf("slot %d at shift %d contradicts its mark", i, b.shift)
			}
			count(&s.list, func(e *Timer) bool { return w.leaf(e.tick()) == b && b.at(e.tick()) == s })
			if s.sub != nil {
				if s.sub.parent != b || s.sub.shift+slotBits != b.shift {
					t.Fatalf("block at shift %d is badly linked", s.sub.shift)
				}
				walk(s.sub)
			}
		}
	}
	walk(w.root)
	if n != w.Len() {
		t.Fatalf("Len = %d, but %d entries are filed", w.Len(), n)
	}
	for _, b := range w.spare {
		if *b != (block{shift: b.shift}) {
			t.Fatal("a spare block is not empty")
		}
	}
}

// expectNextFast leaves out verify, which walks everything.
func expectNextFast(t *testing.T, w *Wheel, want time.Duration) {
	t.Helper()
	if at, ok := w.Next(); !ok || at != want {
		t.Fatalf("Next = %v, %v; want %v", at, ok, want)
	}
}
