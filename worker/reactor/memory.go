package reactor

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Memory is an Engine without sockets, without a goroutine and with a clock that
// stands still until Advance: for tests of what stands on it. Whoever drives it
// plays the loop, so all its methods but Post, Posted, Wake and Now are for one
// goroutine. It cannot take sockets over from another process; descriptors that
// are given to it are closed.
type Memory[C any] struct {
	h         Handler[C]
	listening bool
	depth     int // of nested entries
	over      chan struct{}
	now       time.Duration
	epoch     time.Time     // when now was 0
	alarm     time.Duration // 0 = none
	sockets   map[*front]*Socket[C]
	settling  []*Socket[C]

	mu    sync.Mutex
	queue []func()
	rung  bool
	shut  bool
	ring  chan struct{} // a token: something was posted
}

// handed are the sockets on their way from one Memory to another, by what
// stands for their descriptors.
var handed sync.Map

// numbers are below those of descriptors.
var numbers atomic.Int64

// NewMemory makes an engine whose clock shows now, at that time of day.
func NewMemory[C any](now time.Duration, wall time.Time) *Memory[C] {
	return &Memory[C]{over: make(chan struct{}), now: now, epoch: wall.Add(-now), sockets: map[*front]*Socket[C]{}, ring: make(chan struct{}, 1)}
}

// Serve makes h what stands on it.
func (m *Memory[C]) Serve(h Handler[C]) { m.h = h }

// turn runs fn in a turn, or in the one that it is called in.
func (m *Memory[C]) turn(fn func()) {
	m.depth++
	if m.depth == 1 {
		m.h.Begin()
	}
	fn()
	if m.depth == 1 {
		m.h.End()
	}
	m.depth--
	for m.depth == 0 && len(m.settling) > 0 {
		s := m.settling[0]
		m.settling = m.settling[1:]
		if !s.closed {
			s.deaf, s.waits = false, false
			m.turn(func() { m.h.Settled(s.c, s.handle()) })
		}
	}
}

// Accept lets a client in by listener i. It is nil when the client was refused.
func (m *Memory[C]) Accept(i int, peer netip.AddrPort) *Socket[C] {
	if !m.listening {
		return nil
	}
	s := &Socket[C]{m: m}
	s.pipe = pipe{peer: peer, room: -1, unread: func() bool { return len(s.in) > 0 }, silence: s.silence}
	s.front.conn = &s.pipe
	var ok bool
	m.turn(func() {
		m.sockets[&s.front] = s
		if s.c, ok = m.h.Opened(s.handle(), i); !ok {
			delete(m.sockets, &s.front)
			s.closed = true
		}
	})
	if !ok {
		return nil
	}
	return s
}

// Run has turns for what was posted and for wake-ups, until there is none. It
// reports whether there was any.
func (m *Memory[C]) Run() (worked bool) {
	for ; ; worked = true {
		m.mu.Lock()
		posted, rung := m.queue, m.rung
		m.queue, m.rung = nil, false
		m.mu.Unlock()
		if !rung {
			return worked
		}
		m.turn(func() { m.h.Woken(posted) })
	}
}

// Rung has a token whenever something was posted, from whatever goroutine.
func (m *Memory[C]) Rung() <-chan struct{} { return m.ring }

// Advance moves the clock by d and stops at each moment on the way at which
// there is something to do.
func (m *Memory[C]) Advance(d time.Duration) {
	until := m.now + d
	for m.Run(); m.alarm != 0 && m.alarm <= until; m.Run() {
		m.now, m.alarm = max(m.now, m.alarm), 0
		m.Wake()
	}
	m.now = until
	m.Wake()
	m.Run()
}

// Leap sets the wall clock, forwards or, below 0, back: no time goes by.
func (m *Memory[C]) Leap(d time.Duration) { m.epoch = m.epoch.Add(d) }

// Next is the moment at which there is something to do next, 0 = never.
func (m *Memory[C]) Next() time.Duration { return m.alarm }

// Start, Over, Err and Last implement Engine: it neither starts nor ends by itself.
func (m *Memory[C]) Start() error { return nil }

// Over implements Engine.
func (m *Memory[C]) Over() <-chan struct{} { return m.over }

// Err implements Engine.
func (m *Memory[C]) Err() error { return nil }

// Last implements Engine.
func (m *Memory[C]) Last() {}

// Halt closes all connections.
func (m *Memory[C]) Halt() {
	m.turn(func() {
		for _, s := range m.sockets {
			s.end(nil)
		}
	})
}

// Shutdown implements Engine.
func (m *Memory[C]) Shutdown() {
	m.Run()
	m.Halt()
	m.mu.Lock()
	m.shut = true
	m.mu.Unlock()
	close(m.over)
}

// Listen implements Engine.
func (m *Memory[C]) Listen() error { m.listening = true; return nil }

// Share implements Engine: there are no others.
func (m *Memory[C]) Share(*Balance) {}

// Hear implements Engine.
func (m *Memory[C]) Hear(int) error { return m.Listen() }

// Waits implements Engine: nobody waits, Accept refuses.
func (m *Memory[C]) Waits(int) bool { return false }

// Deafen implements Engine.
func (m *Memory[C]) Deafen(bool) { m.listening = false }

// CloseListeners implements Engine.
func (m *Memory[C]) CloseListeners() { m.listening = false }

// of returns the socket of a handle, one of nobody's if it is closed.
func (m *Memory[C]) of(h Handle) *Socket[C] {
	if s := m.sockets[h.front]; s != nil {
		return s
	}
	return &Socket[C]{m: m, closed: true}
}

// Close implements Engine.
func (m *Memory[C]) Close(h Handle) {
	switch s := m.of(h); {
	case s.closed:
	case s.given: // our end only
		delete(m.sockets, h.front)
		m.turn(func() { m.h.Closed(s.c, nil) })
	default:
		m.turn(func() { s.end(nil) })
	}
}

// Mute implements Engine.
func (m *Memory[C]) Mute(h Handle, mute bool) error {
	s := m.of(h)
	if s.deaf = mute; !mute {
		_ = m.Post(s.read, 0)
	}
	return nil
}

// Ignore implements Engine.
func (m *Memory[C]) Ignore(h Handle) { _ = m.Mute(h, true) }

// Detach implements Engine.
func (m *Memory[C]) Detach(h Handle) { m.Ignore(h); m.ForgetWritable(h) }

// Attach implements Engine.
func (m *Memory[C]) Attach(h Handle) error { return m.Mute(h, false) }

// Settle implements Engine: the socket stays where it is.
func (m *Memory[C]) Settle(h Handle) { m.settling = append(m.settling, m.of(h)) }

// Duplicate implements Engine.
func (m *Memory[C]) Duplicate(h Handle) (int, error) {
	s := m.of(h)
	s.given = true
	fd := int(numbers.Add(-1)) - 1 // -1 is none
	handed.Store(fd, s)
	return fd, nil
}

// Blank implements Engine.
func (m *Memory[C]) Blank() (int, error) {
	s := &Socket[C]{m: m}
	s.pipe = pipe{room: -1, unread: func() bool { return false }, silence: s.silence}
	s.front.conn = &s.pipe
	fd := int(numbers.Add(-1)) - 1
	handed.Store(fd, s)
	return fd, nil
}

// Adopt implements Engine.
func (m *Memory[C]) Adopt(c C, fd int) {
	v, _ := handed.LoadAndDelete(fd)
	s, ok := v.(*Socket[C])
	if !ok {
		m.turn(func() { m.h.Landed(c, Handle{}, ErrLost) })
		return
	}
	// What Landed writes is for the client; what the client has sent follows.
	s.m, s.c, s.given, s.deaf, s.waits = m, c, false, false, false
	m.sockets[&s.front] = s
	_ = m.Post(func() {
		m.h.Landed(c, s.handle(), nil)
		_ = m.Post(s.read, 0)
	}, 0)
}

// AdoptSettled implements Engine.
func (m *Memory[C]) AdoptSettled(c C, fd int) { m.Adopt(c, fd) }

// SendTo implements Engine: there is nobody to get datagrams.
func (m *Memory[C]) SendTo(int, netip.AddrPort, []byte) error { return ErrFull }

// AwaitWritable implements Engine.
func (m *Memory[C]) AwaitWritable(h Handle) error { m.of(h).waits = true; return nil }

// ForgetWritable implements Engine.
func (m *Memory[C]) ForgetWritable(h Handle) { m.of(h).waits = false }

// AwaitsWritable implements Engine.
func (m *Memory[C]) AwaitsWritable() (n int) {
	for _, s := range m.sockets {
		if s.waits {
			n++
		}
	}
	return n
}

// Post implements Engine. Any goroutine.
func (m *Memory[C]) Post(fn func(), limit int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.shut:
		return ErrStopped
	case limit > 0 && len(m.queue) >= limit:
		return ErrBusy
	}
	m.queue = append(m.queue, fn)
	m.wake()
	return nil
}

// AfterRound implements Engine: each socket is a round of its own.
func (m *Memory[C]) AfterRound(fn func()) { _ = m.Post(fn, 0) }

// Posted implements Engine. Any goroutine.
func (m *Memory[C]) Posted() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue)
}

// Wake implements Engine. Any goroutine.
func (m *Memory[C]) Wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake()
}

// wake is called with mu held.
func (m *Memory[C]) wake() {
	m.rung = true
	select {
	case m.ring <- struct{}{}:
	default:
	}
}

// Do implements Engine, for the goroutine that drives it.
func (m *Memory[C]) Do(fns ...func()) error {
	for _, fn := range fns {
		m.turn(fn)
	}
	return nil
}

// Now implements Engine. Any goroutine, but not while the clock is moved.
func (m *Memory[C]) Now() time.Duration { return m.now }

// Wall implements Engine.
func (m *Memory[C]) Wall() time.Time { return m.epoch.Add(m.now) }

// WakeAt implements Engine.
func (m *Memory[C]) WakeAt(at time.Duration) { m.alarm = at }
