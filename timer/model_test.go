package timer

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The model: a slice that is searched for whatever is asked. It states what the
// wheel must do in the shortest way.
type model struct {
	now     time.Duration
	seq     int // orders equal deadlines
	turn    int // number of Advances so far
	pending []*modelEntry
	panics  func(any)
}

type modelEntry struct {
	at, period time.Duration
	deadline   time.Duration // rounded up
	seq, turn  int
	fn         func()
}

func (m *model) schedule(at, period time.Duration, fn func()) *modelEntry {
	e := &modelEntry{at: min(at, latest), period: period, fn: fn}
	m.add(e)
	return e
}

func (m *model) add(e *modelEntry) {
	e.deadline = m.now
	if e.at > m.now {
		e.deadline = (e.at-1)/ms*ms + ms
	}
	m.seq++
	e.seq, e.turn = m.seq, m.turn
	m.pending = append(m.pending, e)
}

func (m *model) stop(e *modelEntry) bool {
	i := slices.Index(m.pending, e)
	if i >= 0 {
		m.pending = slices.Delete(m.pending, i, i+1)
	}
	return i >= 0
}

func (m *model) earliest(right func(*modelEntry) bool) *modelEntry {
	var found []*modelEntry
	for _, e := range m.pending {
		if right(e) {
			found = append(found, e)
		}
	}
	if found == nil {
		return nil
	}
	return slices.MinFunc(found, func(a, b *modelEntry) int {
		return cmp.Or(cmp.Compare(a.deadline, b.deadline), a.seq-b.seq)
	})
}

func (m *model) advance(now time.Duration) {
	m.now = max(m.now, now)
	m.turn++
	due := func(e *modelEntry) bool { return e.deadline <= m.now && e.turn < m.turn }
	for e := m.earliest(due); e != nil; e = m.earliest(due) {
		m.stop(e)
		if e.period > 0 {
			e.at += (m.now - e.at) / e.period * e.period
			if e.at > latest-e.period {
				e.at = latest
			} else {
				e.at += e.period
			}
			m.add(e)
		}
		func() {
			defer func() {
				if r := recover(); r != nil {
					m.panics(r)
				}
			}()
			e.fn()
		}()
	}
}

func (m *model) next() (time.Duration, bool) {
	e := m.earliest(func(*modelEntry) bool { return true })
	if e == nil {
		return 0, false
	}
	return max(e.deadline, m.now), true // in a callback the rest may be late
}

// machine is the wheel or the model; a handle is its entry.
type machine struct {
	schedule func(at, period time.Duration, fn func()) (handle any)
	stop     func(handle any) bool
	advance  func(now time.Duration)
	next     func() (time.Duration, bool)
	length   func() int
	verify   func()
}

func wheelMachine(t *testing.T, start time.Duration, panics func(any)) machine {
	w := New(start)
	w.Panic = panics
	return machine{
		schedule: func(at, period time.Duration, fn func()) any {
			e := new(Timer)
			w.Schedule(e, at, period, fn)
			return e
		},
		stop:    func(h any) bool { return w.Stop(h.(*Timer)) },
		advance: w.Advance, next: w.Next, length: w.Len,
		verify: func() { verify(t, w) },
	}
}

func modelMachine(start time.Duration, panics func(any)) machine {
	m := &model{now: start, panics: panics}
	return machine{
		schedule: func(at, period time.Duration, fn func()) any { return m.schedule(at, period, fn) },
		stop:     func(h any) bool { return m.stop(h.(*modelEntry)) },
		advance:  m.advance, next: m.next,
		length: func() int { return len(m.pending) },
		verify: func() {},
	}
}

// script plays operations read from bytes on a machine and writes down all that
// can be seen of it.
type script struct {
	machine
	now     time.Duration
	handles []any
	seen    []string
}

func (s *script) say(format string, args ...any) {
	s.seen = append(s.seen, fmt.Sprintf(format, args...))
}

func (s *script) add(at, period time.Duration) {
	const most = 150 // callbacks add, too: bound what a short input can cost
	if len(s.handles) == most {
		return
	}
	id := len(s.handles)
	s.handles = append(s.handles, nil)
	s.handles[id] = s.schedule(at, period, func() { s.callback(id) })
}

// callback does what a user's may do, chosen by the entry's number.
func (s *script) callback(id int) {
	s.say("run %d", id)
	switch id % 9 {
	case 0:
		s.add(s.now, 0)
	case 1:
		s.add(s.now+time.Duration(id*7919)*10*time.Microsecond, 0)
	case 2:
		s.say("stop self %v", s.stop(s.handles[id]))
	case 3, 4:
		other := id * 31 % len(s.handles)
		s.say("stop %d %v", other, s.stop(s.handles[other]))
	case 5:
		at, ok := s.next()
		s.say("next %v %v, %d pending", at, ok, s.length())
	case 6:
		panic(id)
	}
}

// span reads a duration of any scale from two bytes, up to 255 << 55 ns.
func span(mantissa, scale byte) time.Duration {
	return time.Duration(mantissa) << (scale % 56)
}

func (s *script) play(ops []byte) {
	for ; len(ops) >= 3; ops = ops[3:] {
		d := span(ops[1], ops[2])
		switch ops[0] % 9 {
		case 0, 1, 2:
			s.add(later(s.now, d), 0)
		case 3:
			s.add(later(s.now, d), max(d, 1))
		case 4:
			s.add(s.now-time.Duration(ops[1])*ms/4, span(ops[2], 18))
		case 5:
			if n := len(s.handles); n > 0 {
				id := (int(ops[1])<<8 | int(ops[2])) % n
				s.say("stop %d %v", id, s.stop(s.handles[id]))
			}
		case 6:
			s.goTo(later(s.now, d))
		case 7:
			s.goTo(later(s.now, time.Duration(ops[1])*ms/16))
		case 8: // exactly when something is due, and just before
			if at, ok := s.next(); ok {
				s.goTo(max(s.now, at-1))
				s.goTo(at)
			}
		}
		at, ok := s.next()
		s.say("next %v %v, %d pending", at, ok, s.length())
		s.verify()
	}
}

func (s *script) goTo(now time.Duration) {
	s.now = now
	s.say("advance %v", now)
	s.advance(now)
}

func compare(t *testing.T, start time.Duration, ops []byte) {
	t.Helper()
	var wheel, model script
	caught := func(s *script) func(any) { return func(r any) { s.say("caught %v", r) } }
	wheel.machine, wheel.now = wheelMachine(t, start, caught(&wheel)), start
	model.machine, model.now = modelMachine(start, caught(&model)), start
	wheel.play(ops)
	model.play(ops)
	for i := range min(len(wheel.seen), len(model.seen)) {
		if wheel.seen[i] != model.seen[i] {
			t.Fatalf("step %d: wheel %q, model %q; before: %q",
				i, wheel.seen[i], model.seen[i], model.seen[max(0, i-10):i])
		}
	}
	if len(wheel.seen) != len(model.seen) {
		t.Fatalf("wheel took %d steps, model %d", len(wheel.seen), len(model.seen))
	}
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(120) {
		random := rand.New(rand.NewPCG(seed, 1))
		ops := make([]byte, 3*(50+random.IntN(300)))
		for i := range ops {
			ops[i] = byte(random.Uint32())
			if i%3 == 2 && seed%2 == 0 { // crowds: scales of 1 ms to 10 min, so that slots open
				ops[i] = byte(16 + random.IntN(16))
			}
		}
		compare(t, time.Duration(random.Int64N(int64(100*day))), ops)
	}
}

func FuzzWheel(f *testing.F) {
	f.Add(uint32(0), []byte{0, 200, 20, 0, 100, 26, 8, 0, 0, 6, 255, 30})
	f.Add(uint32(4095), []byte{3, 3, 20, 3, 7, 19, 7, 255, 0, 5, 0, 1, 8, 0, 0, 6, 9, 40})
	crowd := []byte{}
	for i := range byte(60) { // more than a slot's scan limit, then stop and run them
		crowd = append(crowd, 0, 128+i, 28)
	}
	for i := range byte(40) {
		crowd = append(crowd, 5, 0, i, 8, 0, 0)
	}
	f.Add(uint32(1<<30), crowd)
	f.Fuzz(func(t *testing.T, startMs uint32, ops []byte) {
		if len(ops) > 900 {
			return
		}
		compare(t, time.Duration(startMs)*ms+ms/3, ops)
	})
}
