package script

import (
	nethttp "net/http"
	"time"

	wire "github.com/pushd/pushd/protocol/script"
)

// Events are collected in next. When the process has nothing to do they go out as
// soon as all sockets that are ready have been read; else with all that has come
// when it is done with the batch under way. So batches are as large as the program
// is slow, and nobody waits for a timer.

// enough is how many bytes are sent before the other sockets have been read, so
// that both processes have something to do.
const enough = 32 << 10

// kick sees to it that the next batch is sent if the process has nothing to do.
func (h *handler) kick() {
	h.weigh()
	switch {
	case !h.ready():
	case len(h.next) >= enough:
		h.dispatch()
	case !h.kicked:
		h.kicked = true
		h.w.AfterRound(h.kickedOff)
	}
}

// kickedOff is what kick has ordered.
func (h *handler) kickedOff() {
	if h.kicked = false; h.ready() {
		h.dispatch()
	}
}

// ready reports whether there is a batch to send, and somebody who waits for it.
func (h *handler) ready() bool {
	p := h.cur
	return p != nil && !p.stopping && !p.cut && len(h.under) == 0 && len(h.next)+len(h.later) > 0 && !h.awaits()
}

// awaits reports whether connections are on their way here: there is no event
// before the last one has landed.
func (h *handler) awaits() bool { return h.heir || h.importing > 0 }

// dispatch sends the next batch. h.ready holds.
func (h *handler) dispatch() {
	h.remind(enough)
	h.number++
	h.under = wire.Frame{Op: wire.Tick, Conn: h.number}.Append(h.next)
	h.next, h.spare = h.spare[:0], nil
	h.goneUnder, h.gone = h.gone, nil
	h.since = time.Now()
	h.forget()
	h.cur.link.Write(h.under[h.early:])
	h.early, h.beside, h.greets, h.greeting = 0, 0, h.greeting, 0
	h.guard()
}

// ahead sends a part of the next batch before it is whole, so that the process
// works on the one half of a long greeting while the other is written.
func (h *handler) ahead() {
	if len(h.next)-h.early >= enough && h.ready() {
		h.forget()
		h.cur.link.Write(h.next[h.early:])
		h.early = len(h.next)
	}
}

// forget lets go of what the process has printed before the batch that it gets now: it has
// not died of that. It may have of what it has printed just now.
func (h *handler) forget() {
	if h.early == 0 { // else it is at the batch already
		h.cur.Forget(time.Now().Add(-hearTime))
	}
}

// done takes note that the process has finished a batch.
func (h *handler) done(p *proc, number uint64) {
	if p != h.cur || len(h.under) == 0 || number != h.number {
		return
	}
	p.batches++
	h.deaths.works()
	h.deadly = 0
	if h.spare = h.under[:0]; cap(h.spare) > maxSpare {
		h.spare = nil
	}
	h.under, h.goneUnder, h.greets = nil, nil, 0
	h.takenIn()
	h.tellExcused(nethttp.StatusServiceUnavailable)
	h.farewell.done(number)
	if last := p.last; last != nil {
		p.last = nil
		last()
		return
	}
	if p.stopping { // that was STOP, so all is said
		p.parted = true
		p.link.Close()
		return
	}
	h.kick()
	h.aged(p)
}

// maxSpare is the largest buffer that is kept for the next batch.
const maxSpare = 256 << 10

// waiting returns the bytes of events that are not done. What a process is told
// of those who were there before it is no client's doing.
func (h *handler) waiting() int { return len(h.next) + len(h.under) - h.greeting - h.greets }

// weigh holds the clients while too much is not done.
func (h *handler) weigh() {
	switch n := int64(h.waiting()); {
	case n > int64(h.o.Queue):
		if h.holds&holdQueue == 0 {
			h.lost.holds++
			h.hold(holdQueue, true)
		}
	case n <= int64(h.o.Queue)/2 && h.holds&holdQueue != 0:
		h.hold(holdQueue, false)
	}
}

// refuses reports whether what cannot wait with its client is turned away.
func (h *handler) refuses() bool { return int64(h.waiting()) > int64(h.o.Queue) }

// guard makes sure that somebody looks at the batch under way when its time is
// over. One timer is enough: it goes on with the batch that is under way then.
func (h *handler) guard() {
	if h.due == nil {
		h.due = h.w.After(time.Duration(h.o.Callback), h.overdue)
	}
}

// overdue looks at the batch under way.
func (h *handler) overdue() {
	h.due = nil
	p := h.cur
	if p == nil || len(h.under) == 0 {
		return
	}
	if left := time.Duration(h.o.Callback) - time.Since(h.since); left > 0 {
		h.due = h.w.After(left, h.overdue)
		return
	}
	h.hangs(p)
}

// each calls visit for each frame of some that we have made.
func each(frames []byte, visit func(f wire.Frame, whole []byte)) {
	for len(frames) > 0 {
		f, size, err := ourOwn.Next(frames)
		if err != nil || size == 0 || size > len(frames) {
			return
		}
		visit(f, frames[:size])
		frames = frames[size:]
	}
}

var ourOwn = wire.FromWorker(1 << 31)
