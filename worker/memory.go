package worker

import (
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// A storm of connections, a hand-over or a large fan-out leaves the heap up to
// twice as large as what is alive in it, and Go's runtime is in no hurry to give
// that back. In the first calm second after one, pushd does: a process that
// waits with its connections is then little more than they are.

// gcPercent is how much garbage a worker's heap may gather, in percent of what
// is alive. Messages make none, so that the collector has little to do; what a
// lower number buys is that connections which come in a storm fill the gaps
// between those that came before.
const gcPercent = 50

// threads is how many threads of a worker run Go code at once: one is the loop,
// one is for everything else. More cores are used by more processes; on 32 of
// them, a thread for each made an echo a tenth dearer.
const threads = 2

// tidying decides when memory goes back to the system.
type tidying struct {
	samples [4]metrics.Sample
	kept    uint64        // bytes held after the last time
	conns   int           // connections then
	cpu     time.Duration // processor time of the process a second ago
	running atomic.Bool
}

const (
	calm     = 200 * time.Millisecond // processor time within a second that leaves it calm
	tidyFrom = 512 << 10              // bytes that are worth it
)

func (t *tidying) init() {
	for i, name := range []string{"objects", "unused", "free", "stacks"} {
		t.samples[i].Name = "/memory/classes/heap/" + name + ":bytes"
	}
}

// held returns the bytes of memory that the heap occupies.
func (t *tidying) held() (n uint64) {
	metrics.Read(t.samples[:])
	for _, s := range t.samples {
		n += s.Value.Uint64()
	}
	return n
}

// tidy gives memory back if there may be some, and it will not be missed. It
// runs once a second and reports whether it is to be asked again although
// nobody is connected.
func (l *loop) tidy() (again bool) {
	t := &l.tidying
	l.secure.ring.Calm()
	if t.running.Load() {
		return true
	}
	before := t.cpu
	t.cpu = processorTime()
	grown := t.held() > t.kept+max(t.kept/16, tidyFrom)
	left := l.conns.len() < t.conns-t.conns/8
	if !grown && !left {
		return false
	}
	if t.cpu-before > calm || l.phase.moving() || l.importing > 0 {
		return true
	}
	t.conns = l.conns.len()
	t.running.Store(true)
	go func() {
		debug.FreeOSMemory()
		l.post(func() {
			t.kept = t.held()
			t.running.Store(false)
		})
	}()
	return true
}
