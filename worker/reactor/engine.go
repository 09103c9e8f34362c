package reactor

import (
	"net/netip"
	"time"
)

// Engine is all that a worker's loop has from outside: sockets, wake-ups and
// the clock. A Reactor is one on the system's, a Memory one for tests. The
// methods are those of Reactor.
type Engine[C any] interface {
	Start() error
	Over() <-chan struct{}
	Err() error
	Last()
	Halt()
	Shutdown()

	Listen() error
	Share(b *Balance)
	Hear(i int) error
	Waits(i int) bool
	Deafen(datagrams bool)
	CloseListeners()

	Close(h Handle)
	Mute(h Handle, mute bool) error
	Ignore(h Handle)
	Detach(h Handle)
	Attach(h Handle) error
	Settle(h Handle)
	// Duplicate returns a descriptor for another process's Adopt.
	Duplicate(h Handle) (fd int, err error)
	// Blank returns a descriptor for Adopt by which nothing ever comes.
	Blank() (fd int, err error)
	Adopt(c C, fd int)
	AdoptSettled(c C, fd int)
	SendTo(i int, to netip.AddrPort, p []byte) error
	AwaitWritable(h Handle) error
	ForgetWritable(h Handle)
	AwaitsWritable() int

	Post(fn func(), limit int) error
	Posted() int
	AfterRound(fn func())
	Do(fns ...func()) error
	Wake()

	// Now is the time, as Monotonic has it. Any goroutine.
	Now() time.Duration
	// Wall is the time of day. Any goroutine.
	Wall() time.Time
	// WakeAt asks for a Wake at that time, in the place of what was asked for
	// before; 0 = for none.
	WakeAt(at time.Duration)
}
