package worker

import (
	"os"
	"time"

	"github.com/pushd/pushd/worker/reactor"
)

// A Link is a stream socket of a handler's own that the loop reads and writes
// beside its clients: with their turns and their care for a peer that does not
// read, but it is no client. It is in no count, listing, broadcast, limit or
// hand-over, has no heartbeat, and outlives an event loop that dies. Its methods
// are for the loop.
type Link struct{ c *Conn }

// Link brings a connected stream socket into the loop and owns it from then on,
// also with an error. unread is what was read of it already; it is copied.
//
// take gets what has come and returns how many bytes of it are used up: of one
// frame, say, for a turn may end between two calls. 0 waits for more; then the
// same bytes come again, with what follows. p may be overwritten until take
// returns. ended runs once, when the socket is closed by either side or broken;
// err is nil when that was orderly.
func (w *Worker) Link(f *os.File, unread []byte, take func(p []byte) (used int), ended func(err error)) (*Link, error) {
	defer f.Close()
	fd, err := duplicateOf(f)
	if err != nil {
		return nil, err
	}
	l := w.loop
	speaks := &transport{name: "link", stays: true, receive: func(c *Conn, p []byte) []byte { return c.taken(p, take) }}
	r := &route{callbacks: callbacks{onClose: func(_ *Conn, err error) { ended(err) }}}
	// Until it has landed all that is sent to it is queued.
	c := &Conn{loop: l, seat: r.at(nowhere, speaks), flags: flagConnected, out: &queue{},
		lastRecv: seconds(l.now), since: uint32(time.Now().Unix())}
	if len(unread) > 0 {
		c.input().wait.add(unread)
	}
	l.reactor.AdoptSettled(c, fd)
	return &Link{c}, nil
}

// duplicateOf returns a descriptor of f's socket that never blocks.
func duplicateOf(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	if ctlErr := raw.Control(func(n uintptr) { fd, err = reactor.Duplicate(int(n)) }); ctlErr != nil {
		return -1, ctlErr
	}
	if err == nil {
		err = neverBlock(fd)
	}
	return fd, err
}

// taken hands p to take, piece by piece, and returns what has to wait. A panic ends
// the link.
func (c *Conn) taken(p []byte, take func([]byte) int) (rest []byte) {
	returned := false
	defer func() {
		if !returned {
			c.loop.destroy(c, ErrPanic)
		}
	}()
	defer c.loop.contain("Link", nil)
	for len(p) > 0 && !c.has(flagDead) && !c.loop.turnOver() {
		n := take(p)
		if n <= 0 {
			break
		}
		p = p[min(n, len(p)):]
		c.loop.worked(0)
	}
	returned = true
	return p
}

// Write sends p, in the order of the calls; what the socket does not take now is
// copied and queued. After the end it does nothing.
func (k *Link) Write(p []byte) {
	if !k.c.has(flagDead) && len(p) > 0 {
		k.c.loop.transmit(k.c, p, nil)
	}
}

// Waiting returns how many bytes are queued.
func (k *Link) Waiting() int { return k.c.out.len() }

// Close closes the socket at the end of this turn, whatever is queued.
func (k *Link) Close() { k.c.loop.destroy(k.c, nil) }

// Take returns the socket to the caller, who may use it as he likes when the
// loop is about to end: nothing that comes from now on is taken, and ended does
// not run. It returns what was read and not used up; nil when it has ended.
func (k *Link) Take() (f *os.File, unread []byte) {
	c := k.c
	if c.has(flagDead) || !c.sock.Valid() {
		return nil, nil
	}
	fd, err := reactor.Duplicate(c.sock.FD())
	if err != nil {
		return nil, nil
	}
	if c.in != nil {
		unread = append(unread, c.in.wait.bytes()...)
	}
	c.clear(flagConnected)
	c.loop.destroy(c, nil)
	return os.NewFile(uintptr(fd), "link"), unread
}
