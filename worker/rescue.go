package worker

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// An accept error other than a client's own (ENFILE, ENOMEM, EMFILE by someone
// else's doing) makes gnet stop and close every connection. The worker keeps
// each socket alive by a duplicate, starts gnet anew in the same process and
// puts the connections back: they notice a pause.

// rescue is a connection whose gnet is gone.
type rescue struct {
	c  *Conn
	fd int
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

// keep runs in OnClose when gnet goes down: it duplicates the socket before
// gnet closes it.
func (l *loop) keep(c *Conn) {
	if len(l.engine.rescued) == 0 {
		l.spare.release()
		openFiles()
	}
	l.writer.forget(l, c)
	fd, err := duplicate(c.sock.Fd())
	if err != nil {
		l.log.Error("connection lost with its event loop", "connection", c.ID(), "error", err)
		l.gone(c, fmt.Errorf("event loop stopped: %w", err))
		return
	}
	l.engine.rescued = append(l.engine.rescued, rescue{c, fd})
	c.sock = nil
	if c.out == nil {
		c.out = &queue{} // what is sent from now on waits
	}
}

// errLoop is returned by Serve when gnet cannot be brought back.
var errLoop = errors.New("event loop stopped and could not be started again")

// revive starts gnet again and gives it the rescued connections. It runs on
// Serve's goroutine, while there is no loop.
func (l *loop) revive(cause error) error {
	kept := l.engine.rescued
	l.log.Error("event loop stopped unexpectedly; starting it again", "error", fmt.Sprint(cause), "connections", len(kept))
	l.door.suspend()
	for _, p := range l.ports {
		p.open, p.heard, p.fd = false, false, -1
	}
	time.Sleep(reviveDelay)
	l.accept.files = openFiles() // it may be a lower limit that brought gnet down
	closeFD(l.engine.wakeFD)
	if err := l.start(); err != nil {
		return errors.Join(errLoop, err)
	}
	placed := make(chan error, 1)
	_ = l.door.post(func() { placed <- l.reenter(kept) }, 0)
	select {
	case err := <-placed:
		return err
	case err := <-l.engine.ended: // again: run starts it once more, and there the function runs
		l.engine.ended <- err
		return nil
	}
}

// reenter brings back what a gnet that is gone had. It runs on the loop.
func (l *loop) reenter(kept []rescue) error {
	l.comeBack(kept)
	l.accept.paused = true
	if l.closing {
		return nil
	}
	if err := l.place(); err != nil {
		return err
	}
	l.admitAgain()
	return nil
}

// comeBack puts the connections back into gnet. The spares are what they need
// for the moment in which each has two descriptors, so they are taken back when
// the last one is in place.
func (l *loop) comeBack(kept []rescue) {
	left := len(kept)
	if left == 0 && l.spare == nil {
		l.spare = newSpares()
	}
	for _, r := range kept {
		l.arrive.await(l, r.c, r.fd, func(*Conn, bool) {
			if left--; left == 0 {
				l.spare = newSpares()
			}
		})
	}
}

// reviveDelay keeps a persistent accept error from being a busy loop.
const reviveDelay = 100 * time.Millisecond
