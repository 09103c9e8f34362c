package reactor

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// An accept error other than a client's own (ENFILE, ENOMEM, EMFILE by someone
// else's doing) makes gnet stop and close every connection. The reactor keeps
// each socket alive by a duplicate, starts gnet anew in the same process and
// puts the sockets back: their clients notice a pause.

// rescue is what is kept for that, and while it lasts.
type rescue[C any] struct {
	spare spares
	kept  []adoption[C] // of a gnet that is gone
	left  int           // kept ones that are not back yet
}

// spares are descriptors held back, so that there is one to duplicate into when
// there are none left.
type spares []*os.File

const spareFiles = 4

func newSpares() (s spares) {
	for range spareFiles {
		if f, err := os.Open(os.DevNull); err == nil {
			s = append(s, f)
		}
	}
	return s
}

func (s *spares) release() {
	for _, f := range *s {
		f.Close()
	}
	*s = nil
}

// ErrLost is the error of Closed for a socket that went down with the engine.
var ErrLost = errors.New("event loop stopped")

// errDead is Err's when gnet cannot be brought back.
var errDead = errors.New("event loop stopped and could not be started again")

// keep runs when gnet goes down: it duplicates the socket before gnet closes it.
func (r *Reactor[C]) keep(c C, h Handle) {
	if len(r.rescue.kept) == 0 {
		r.rescue.spare.release()
		OpenFiles()
	}
	r.writable.forget(h)
	r.balance.note(r.sockets())
	if !r.h.Lost(c) {
		r.h.Closed(c, nil)
		return
	}
	fd, err := Duplicate(h.FD())
	if err != nil {
		r.h.Closed(c, fmt.Errorf("%w: %w", ErrLost, err))
		return
	}
	r.rescue.kept = append(r.rescue.kept, adoption[C]{c: c, fd: fd, rescued: true})
}

// revive starts gnet again and gives it the sockets back. It runs on the
// supervisor's goroutine, while there is no loop.
func (r *Reactor[C]) revive(cause error) error {
	kept := r.rescue.kept
	r.rescue.kept = nil
	r.log.Error("event loop stopped unexpectedly; starting it again", "error", fmt.Sprint(cause), "connections", len(kept))
	r.tasks.suspend()
	for _, ln := range r.listeners {
		ln.placed, ln.heard, ln.in, ln.fd = false, false, nowhere, -1
	}
	time.Sleep(reviveDelay)
	OpenFiles() // it may be a lower limit that brought gnet down
	closeFD(r.engine.wakeFD)
	// Should gnet die again at once, the function waits for the one after it.
	_ = r.Post(func() { r.comeBack(kept) }, 0)
	if err := r.boot(); err != nil {
		return errors.Join(errDead, err)
	}
	return nil
}

// comeBack puts the sockets back into gnet. The spares are what they need for
// the moment in which each has two descriptors, so they are taken back when the
// last one is in place.
func (r *Reactor[C]) comeBack(kept []adoption[C]) {
	r.rescue.left += len(kept)
	if r.rescue.left == 0 && r.rescue.spare == nil {
		r.rescue.spare = newSpares()
	}
	for _, a := range kept {
		r.adopt(a)
	}
	r.h.Restarted()
}

// returned counts a socket that is in place again, or lost.
func (r *Reactor[C]) returned() {
	if r.rescue.left--; r.rescue.left == 0 {
		r.rescue.spare = newSpares()
	}
}

// reviveDelay keeps a persistent accept error from being a busy loop.
const reviveDelay = 100 * time.Millisecond
