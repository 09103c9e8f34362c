package script

import (
	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
)

// A process that takes the place of another is told of the connections that are
// there. To write and read that takes some microseconds for each, and nobody is
// answered meanwhile: so a program that can do with it is told in pieces, between
// the events, and of whom it hears anyway in that moment.

// greet tells a process of what was there before it: what has been carried, and
// connections, if it wants to know all.
func (h *handler) greet() {
	before := len(h.next)
	h.passOn()
	h.later, h.old = nil, nil
	switch {
	case !h.wants[wire.WantOpen]:
	case h.wants[wire.WantLater]:
		h.putOff()
	default:
		h.clients.Each(h.w, func(c *worker.Conn) bool {
			h.tell(c, wire.Resume)
			h.ahead()
			return true
		})
	}
	h.greeting += len(h.next) - before
}

// putOff notes whom the process is to be told of by and by.
func (h *handler) putOff() {
	h.old = map[uint64]bool{}
	h.clients.Each(h.w, func(c *worker.Conn) bool {
		n := c.Number()
		switch _, known := h.told[n]; {
		case known:
		case h.fresh[n]: // that is an event
			h.tell(c, wire.Open)
		default:
			h.later, h.old[n] = append(h.later, n), true
		}
		return true
	})
}

// remind tells of some more of those, as long as the next batch is small.
func (h *handler) remind(most int) {
	before := len(h.next)
	for len(h.later) > 0 && len(h.next) < most {
		n := h.later[0]
		h.later = h.later[1:]
		if c := h.clients.Find(h.w, n); c != nil {
			h.tell(c, wire.Resume)
		}
	}
	if len(h.later) == 0 {
		h.later, h.old = nil, nil
	}
	h.greeting += len(h.next) - before
}

// tellAll tells of all connections now, and from now on.
func (h *handler) tellAll() {
	h.clients.Each(h.w, func(c *worker.Conn) bool {
		h.tell(c, wire.Resume)
		return true
	})
	h.later, h.old = nil, nil
}
