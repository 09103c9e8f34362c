package timer

import "math/bits"

// The hierarchy. A block divides a stretch of time into 64 slots; a slot holds
// a list of entries or, once opened, a finer block with 64 slots of its own. The
// slots of a level 0 block last 1 ms each, those of level 1 last 64 ms, and so
// on: level 4 slots last 4.7 hours, and level 7 goes beyond what a
// time.Duration can say.
//
//	root   [ . . # . # . . . . ]          # list of entries
//	             |                        | opened
//	           [ . # # . . # ]
//
// A textbook wheel opens ("cascades") a slot when time enters it, and therefore
// has to scan a coarse slot to learn its earliest entry, again whenever that
// entry is stopped. Here a slot opens when it is asked for its earliest entry
// and is too long to scan. It stays open until it is empty, so an entry only
// ever moves down, and nothing in the structure depends on the present time.
const (
	slotBits = 6

	// scanLimit is the longest list in which the earliest entry is searched. It
	// trades a scan of so many against a block of 1 KiB for so few.
	scanLimit = 16

	// maxSpare empty blocks are kept: one per level, what a step to the next
	// slot of the coarsest level releases and takes again.
	maxSpare = 8
)

type block struct {
	slots    [1 << slotBits]slot
	occupied uint64 // bit i: slots[i] is not empty
	parent   *block // nil: root
	shift    uint   // slotBits × level: a slot lasts 1<<shift ms
}

// A slot holds a list, or a block, or nothing.
type slot struct {
	list list
	sub  *block
}

func (b *block) index(tick uint64) int { return int(tick >> b.shift & (1<<slotBits - 1)) }

func (b *block) at(tick uint64) *slot { return &b.slots[b.index(tick)] }

func (b *block) put(t *Timer, tick uint64) {
	i := b.index(tick)
	b.slots[i].list.push(t)
	b.occupied |= 1 << i
}

// insert files t, whose deadline is in the future, in the finest open block.
func (w *Wheel) insert(t *Timer) {
	tick := t.tick()
	for tick>>(w.root.shift+slotBits) != 0 {
		w.grow()
	}
	w.leaf(tick).put(t, tick)
	if w.first != nil && tick < w.first.tick() {
		w.first = t
	}
}

// leaf is the finest open block in which tick lies.
func (w *Wheel) leaf(tick uint64) *block {
	b := w.root
	for sub := b.at(tick).sub; sub != nil; sub = b.at(tick).sub {
		b = sub
	}
	return b
}

// grow makes the root 64 times as long. All times count from 0, so the old root
// is the first slot of the new one.
func (w *Wheel) grow() {
	old := w.root
	if old.occupied == 0 {
		old.shift += slotBits
		return
	}
	w.root = w.take(old.shift+slotBits, nil)
	w.root.slots[0].sub, w.root.occupied = old, 1
	old.parent = w.root
}

// earliest is the first entry below root, nil if there is none.
func (w *Wheel) earliest() *Timer {
	if w.first != nil || w.root.occupied == 0 {
		return w.first
	}
	b := w.root
	for {
		s := &b.slots[bits.TrailingZeros64(b.occupied)]
		if s.sub != nil {
			b = s.sub
			continue
		}
		if b.shift == 0 { // one millisecond: all are equal
			w.first = s.list.head()
			return w.first
		}
		if t, ok := s.list.earliest(scanLimit); ok {
			w.first = t
			return t
		}
		b = w.open(b, s)
	}
}

// open divides the slot s of b, and returns the block that now holds its
// entries. Levels at which all of them share a slot are passed at once.
func (w *Wheel) open(b *block, s *slot) *block {
	tick := s.list.tail.tick()
	differ := uint64(1) // ends at the bits in which the ticks differ; level 0 at least
	for t := s.list.head(); t != s.list.tail; t = t.next {
		differ |= t.tick() ^ tick
	}
	shift := uint(bits.Len64(differ)-1) / slotBits * slotBits

	for b.shift > shift {
		sub := w.take(b.shift-slotBits, b)
		b.at(tick).sub = sub
		b.occupied |= 1 << b.index(tick)
		b = sub
	}
	for t := s.list.head(); t != nil; t = s.list.head() {
		s.list.remove(t)
		b.put(t, t.tick())
	}
	return b
}

// prune marks the slot of tick, whose list has just become empty, and drops the
// blocks that are empty with it.
func (w *Wheel) prune(tick uint64) {
	b := w.leaf(tick)
	for {
		b.occupied &^= 1 << b.index(tick)
		if b.occupied != 0 || b.parent == nil {
			return
		}
		parent := b.parent
		parent.at(tick).sub = nil
		w.drop(b)
		b = parent
	}
}

func (w *Wheel) take(shift uint, parent *block) *block {
	var b *block
	if n := len(w.spare); n > 0 {
		b, w.spare = w.spare[n-1], w.spare[:n-1]
	} else {
		b = new(block)
	}
	b.shift, b.parent = shift, parent
	return b
}

// drop keeps b, which is empty, for reuse, or leaves it to the collector.
func (w *Wheel) drop(b *block) {
	b.parent = nil
	if len(w.spare) < maxSpare {
		w.spare = append(w.spare, b)
	}
}
