package broker

import (
	"net"
	"sync"
	"time"

	"github.com/pushd/pushd/worker"
)

// Assure implements worker.Assurer. A mark before what send publishes and one behind it
// tell whether all of it went by one connection; a round trip then says that the server
// has it. The broker process of one machine is not asked: an answer would take more than
// twice as long, and that it ends is known at once, that it hangs to the master.
func (c *Client) Assure(send func() error, done func(error)) (sure bool, err error) {
	if c.link.pool == nil {
		return true, send()
	}
	w := &witness{c: c, done: done}
	if err := c.put(item{mark: w.begins, queued: time.Now()}); err != nil {
		return false, err
	}
	if err := send(); err != nil {
		return false, err
	}
	if c.put(item{mark: w.ends, queued: time.Now()}) != nil {
		go done(worker.ErrUnsure)
	}
	return false, nil
}

// witness sees what lies between two marks leave the queue.
type witness struct {
	c       *Client
	done    func(error)
	by      net.Conn // the connection of the first mark; nil = it was given up
	givenUp uint64   // by the sender until then
}

func (w *witness) begins(err error) {
	if err == nil {
		w.by, w.givenUp = w.c.link.current(), w.c.counts.expired.Load()
	}
}

func (w *witness) ends(err error) {
	if err != nil || w.by == nil || w.c.counts.expired.Load() != w.givenUp {
		go w.done(worker.ErrUnsure)
		return
	}
	w.c.link.whenHeard(func(err error) {
		if err != nil || w.c.link.current() != w.by {
			err = worker.ErrUnsure
		}
		w.done(err)
	})
}

// pulse has one question to the server serve all who wait when it is put.
type pulse struct {
	mu      sync.Mutex
	waiting []func(error)
	asking  bool
}

// whenHeard calls fn, on a goroutine of its own, when the server has answered to what was
// sent before, or with why it is not known to be there.
func (l *link) whenHeard(fn func(error)) {
	p := &l.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, fn)
	if !p.asking {
		p.asking = true
		go l.hear()
	}
}

// hear asks for as long as somebody waits.
func (l *link) hear() {
	for all := l.pulse.take(); len(all) > 0; all = l.pulse.take() {
		err := l.answers()
		for _, fn := range all {
			fn(err)
		}
	}
}

// take returns those who wait; with none the asking is over.
func (p *pulse) take() []func(error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.waiting
	p.waiting, p.asking = nil, len(all) > 0
	return all
}
