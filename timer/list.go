package timer

// A list is a ring of timers that remembers its last one, in the order of
// adding. The zero value is empty.
type list struct{ tail *Timer }

// head is the timer added first, nil if the list is empty.
func (l *list) head() *Timer {
	if l.tail == nil {
		return nil
	}
	return l.tail.next
}

func (l *list) push(t *Timer) {
	if l.tail == nil {
		t.next, t.prev = t, t
	} else {
		t.next, t.prev = l.tail.next, l.tail
		t.next.prev, t.prev.next = t, t
	}
	l.tail, t.list = t, l
}

// remove takes out t, which must be in l.
func (l *list) remove(t *Timer) {
	if t.next == t {
		l.tail = nil
	} else {
		t.next.prev, t.prev.next = t.prev, t.next
		if l.tail == t {
			l.tail = t.prev
		}
	}
	t.next, t.prev, t.list = nil, nil, nil
}

// earliest is the timer with the least tick, among equals the one added first.
// It looks at no more than limit timers: ok is false if the list, which must
// not be empty, is longer.
func (l *list) earliest(limit int) (first *Timer, ok bool) {
	first = l.head()
	least := first.tick()
	for t := first; t != l.tail; {
		if limit--; limit == 0 {
			return nil, false
		}
		t = t.next
		if tick := t.tick(); tick < least {
			first, least = t, tick
		}
	}
	return first, true
}
