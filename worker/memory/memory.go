// Package memory gives what a process does not need back to the system.
//
// A storm of connections, a hand-over or a large fan-out leaves the heap up to
// twice as large as what is alive in it, and Go's runtime is in no hurry to give
// that back. In the first calm second after one, pushd does: a process that
// waits with its connections is then little more than they are. Of the program's
// own pages most are read at its start and never again: those go, too.
package memory

import (
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// GCPercent is how much garbage a worker's heap may gather, in percent of what
// is alive. Messages make none, so that the collector has little to do; what a
// lower number buys is that connections which come in a storm fill the gaps
// between those that came before.
const GCPercent = 50

// Threads is how many threads of a worker run Go code at once: one is the loop,
// one is for everything else. More cores are used by more processes; on 32 of
// them, a thread for each made an echo a tenth dearer. On one core there are two
// as well: the loop keeps one while it waits for what comes next, and answers to
// the broker would wait for it.
const Threads = 2

// Tidier decides when memory goes back to the system. It belongs to one goroutine,
// the loop's; the collector runs on another.
type Tidier struct {
	samples [4]metrics.Sample
	kept    uint64        // bytes held after the last time
	conns   int           // connections then
	cpu     time.Duration // processor time of the process a second ago
	running atomic.Bool
}

const (
	calm = 200 * time.Millisecond // processor time within a second that leaves it calm
	from = 512 << 10              // bytes that are worth it
)

// Held returns the bytes of memory that the heap occupies.
func (t *Tidier) Held() (n uint64) {
	if t.samples[0].Name == "" {
		for i, name := range []string{"objects", "unused", "free", "stacks"} {
			t.samples[i].Name = "/memory/classes/heap/" + name + ":bytes"
		}
	}
	metrics.Read(t.samples[:])
	for _, s := range t.samples {
		n += s.Value.Uint64()
	}
	return n
}

// Kept returns what was held after the last time, 0 if there was none; running says
// that another one is under way.
func (t *Tidier) Kept() (bytes uint64, running bool) { return t.kept, t.running.Load() }

// Keep says how much may be held.
func (t *Tidier) Keep(bytes uint64) { t.kept = bytes }

// Due reports whether there may be memory to give back that will not be missed: in a
// calm second, unless the process is busy in a way that the processor does not show.
// It is to be called once a second, with the number of connections; again says that
// it is, although nobody is connected.
func (t *Tidier) Due(conns int, busy bool) (due, again bool) {
	if t.running.Load() {
		return false, true
	}
	before := t.cpu
	t.cpu = processorTime()
	grown := t.Held() > t.kept+max(t.kept/16, from)
	left := conns < t.conns-t.conns/8
	if !grown && !left {
		return false, false
	}
	if t.cpu-before > calm || busy {
		return false, true
	}
	t.conns = conns
	return true, true
}

// Tidy gives memory back. It does not wait: post brings what it is given to the
// caller's goroutine at the end.
func (t *Tidier) Tidy(post func(func())) {
	t.running.Store(true)
	go func() {
		Return()
		post(func() {
			t.kept = t.Held()
			t.running.Store(false)
		})
	}()
}

// Return gives to the system what is free of the heap, and the pages of the program
// that nobody reads any more. It waits for the collector. Any goroutine.
func Return() {
	debug.FreeOSMemory()
	forgetProgram()
}
