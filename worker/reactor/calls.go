package reactor

import "sync/atomic"

// Calls counts the system calls of the loops of this process, for budgets that
// hold whatever the machine is busy with. gnet's own are not among them. Counting
// one takes some nanoseconds, where the call takes microseconds.
type Calls struct {
	Waits   uint64 // for events
	Reads   uint64 // of sockets that are settled, and of the wake-up
	Writes  uint64 // of sockets
	Changes uint64 // of what is waited for
	Rings   uint64 // of the wake-up
	Rests   uint64 // no call: how often clients were left to other processes
}

// called are the counters behind Calls.
var called struct{ waits, reads, writes, changes, rings, rests atomic.Uint64 }

// CallsSoFar returns what has been counted since the process began. Any goroutine.
func CallsSoFar() Calls {
	return Calls{called.waits.Load(), called.reads.Load(), called.writes.Load(), called.changes.Load(), called.rings.Load(), called.rests.Load()}
}

// Since returns what came after before.
func (c Calls) Since(before Calls) Calls {
	return Calls{c.Waits - before.Waits, c.Reads - before.Reads, c.Writes - before.Writes, c.Changes - before.Changes, c.Rings - before.Rings, c.Rests - before.Rests}
}
