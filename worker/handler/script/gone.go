package script

import (
	"bytes"

	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
)

// A process may end before it has heard of the end of a connection. The one that
// follows hears of it then: of the connection as it was, and of its end. So a
// number that it was left somewhere is taken out of there, as if nobody had been
// replaced.

// parts says that a connection has ended, or is about to, and keeps what is to be
// said of it to a process that does not know it.
func (h *handler) parts(c *worker.Conn, code uint16, why string) {
	n := c.Number()
	h.line = appendKept(h.line[:0], c)
	if h.gone == nil {
		h.gone = map[uint64]wire.Opening{}
	}
	h.gone[n] = opening(c, bytes.Clone(h.line))
	h.closed(n, code, why)
}

// closed says that a connection has ended.
func (h *handler) closed(n uint64, code uint16, why string) {
	delete(h.told, n)
	h.next = wire.Frame{Op: wire.Close, Aux: code, Conn: n, Payload: []byte(why)}.Append(h.next)
}

// tellGone makes sure that the process knows a connection that has ended.
func (h *handler) tellGone(n uint64) {
	if _, known := h.told[n]; known {
		return
	}
	op := wire.Resume
	if h.fresh[n] {
		op = wire.Open
		delete(h.fresh, n)
	}
	h.told[n] = 0
	h.next = wire.AppendOpen(h.next, op, n, h.gone[n])
}

// part is an order about a connection that has ended, or is about to: the process may have set
// its session meanwhile, or have closed it and told its program so.
func (h *handler) part(f wire.Frame) {
	for _, gone := range []map[uint64]wire.Opening{h.gone, h.goneUnder} {
		o, is := gone[f.Conn]
		switch {
		case !is:
		case f.Op == wire.End:
			delete(gone, f.Conn)
		case f.Op == wire.Session:
			if o.Session = nil; len(f.Payload) <= wire.MaxSession {
				o.Session = bytes.Clone(f.Payload)
			}
			gone[f.Conn] = o
		}
	}
}

// unheard makes gone those whose end is among frames; some frames say themselves
// what is to be known of one.
func (h *handler) unheard(frames ...[]byte) {
	said, gone := map[uint64]wire.Opening{}, map[uint64]wire.Opening{}
	for _, some := range frames {
		each(some, func(f wire.Frame, _ []byte) {
			o, is := h.gone[f.Conn]
			if !is {
				o, is = said[f.Conn]
			}
			switch {
			case is && f.Op == wire.Close:
				gone[f.Conn] = o
			case !is && len(f.Payload) > 0 && (f.Op == wire.Open || f.Op == wire.Resume):
				if o, err := wire.ParseOpen(f); err == nil {
					said[f.Conn] = o
				}
			}
		})
	}
	h.gone = gone
}

// unite is the end of a batch that is not done: whom it says to have ended waits again.
func (h *handler) unite() {
	for n, o := range h.gone {
		if h.goneUnder == nil {
			h.goneUnder = map[uint64]wire.Opening{}
		}
		h.goneUnder[n] = o
	}
	h.gone, h.goneUnder = h.goneUnder, nil
}

// acquainted are those that the process knows, for another worker process.
func (h *handler) acquainted() (list []uint64) {
	for n := range h.told {
		if !h.ended[n] {
			list = append(list, n)
		}
	}
	return list
}

// missing appends to events the end of those that were to come from another worker
// process, and have ended on the way.
func (h *handler) missing(events []byte) []byte {
	for _, n := range h.known {
		if _, gone := h.gone[n]; !gone && h.clients.Find(h.w, n) == nil {
			h.gone[n] = wire.Opening{}
			events = wire.Frame{Op: wire.Close, Aux: 1006, Conn: n}.Append(events)
		}
	}
	h.known = nil
	return events
}
