package script

import (
	"errors"
	"os"
	"time"

	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/script/child"
)

// When connections go to another worker process, what the program has carried
// goes along, and so do the events that it was not told any more: as frames, as
// they would have been sent.

// OnExport lets the program finish and end before the first connection moves.
func (h *handler) OnExport(_ *worker.Worker, ready func(carry []byte)) {
	h.exported = ready
	h.hold(holdMove, true)
	h.dismissAll()
	if h.cur == nil {
		h.depart()
		return
	}
	h.stop(h.cur, wire.Successor, h.depart)
}

// depart hands over what is left.
func (h *handler) depart() { h.exported(h.luggage()) }

// luggage is what the next process needs: what was carried, who the program knows,
// who nobody has been told of, and events that wait.
func (h *handler) luggage() (b []byte) {
	for _, c := range h.carried {
		b = wire.Frame{Op: wire.Carried, Payload: c}.Append(b)
	}
	h.unheard(h.next)
	for n, o := range h.gone {
		b = wire.AppendOpen(b, wire.Resume, n, o)
	}
	if list := h.acquainted(); len(list) > 0 {
		b = wire.AppendCarry(b, wire.Leaving, list, nil)
	}
	b = h.appendAsked(b)
	for n := range h.fresh {
		b = wire.Frame{Op: wire.Open, Conn: n}.Append(b)
	}
	each(h.next, func(f wire.Frame, whole []byte) {
		switch f.Op {
		case wire.Request, wire.Handshake: // their answers are given here, or not at all
		case wire.Carried: // see passed
		default:
			b = append(b, whole...)
		}
	})
	return b
}

// unpack takes over what luggage has packed.
func (h *handler) unpack(b []byte) {
	each(b, func(f wire.Frame, whole []byte) {
		switch {
		case f.Op == wire.Carried:
			h.carried = append(h.carried, append([]byte(nil), f.Payload...))
		case f.Op == wire.Leaving:
			if conns, _, err := wire.ParseCarry(f.Payload); err == nil {
				for i := range conns.Len() {
					h.known = append(h.known, conns.At(i))
				}
			}
		case f.Op == wire.Request:
			if conns, _, err := wire.ParseCarry(f.Payload); err == nil {
				h.unpackAsked(conns)
			}
		case f.Op == wire.Open && len(f.Payload) == 0:
			h.fresh[f.Conn] = true
		default:
			h.packed = append(h.packed, whole...)
		}
	})
}

// await holds all events back until the first hand-over has ended, of which the
// worker was told when it started.
func (h *handler) await() {
	if h.heir = h.w.Heir(); h.heir {
		h.hold(holdMove, true)
	}
}

// OnImport holds all events back until the last connection has arrived.
func (h *handler) OnImport(*worker.Worker) {
	h.heir = false
	h.importing++
	h.hold(holdMove, true)
}

// OnImported tells the program of those who have arrived.
func (h *handler) OnImported(_ *worker.Worker, carry []byte) {
	h.unpack(carry)
	if h.importing--; h.importing > 0 {
		return
	}
	if h.cur != nil && !h.cur.stopping {
		h.arrived()
	} else { // the next process gets it all
		h.next, h.packed = append(h.packed, h.next...), nil
	}
	if len(h.passed) == 0 {
		h.takenIn()
	}
	h.hold(holdMove, false)
}

// arrived tells the process what has been carried to it, and of connections that
// it does not know yet; then come the events that it was not told where they came
// from, and those that have waited here.
func (h *handler) arrived() {
	packed, waits := h.packed, h.next
	h.packed, h.next = nil, nil
	untold := func(f wire.Frame, _ []byte) {
		switch f.Op {
		case wire.Open:
			h.fresh[f.Conn] = true
			delete(h.told, f.Conn)
		case wire.Resume:
			delete(h.told, f.Conn)
		}
	}
	h.unheard(packed, waits)
	packed = h.missing(packed)
	each(packed, untold)
	each(waits, untold)
	h.greet()
	each(packed, h.repeat)
	each(waits, h.late)
	clear(h.fresh)
	if p := h.cur; p.last != nil && len(h.under) == 0 {
		last := p.last
		p.last = nil
		last()
		return
	}
	h.kick()
}

// late hands on an event that has waited for the connections to come.
func (h *handler) late(f wire.Frame, whole []byte) {
	if (f.Op == wire.Open || f.Op == wire.Resume) && h.meets(f.Conn) {
		return
	}
	if f.Op == wire.Close {
		delete(h.told, f.Conn)
	}
	h.next = append(h.next, whole...) // one that has come and gone is told of, too
}

// OnWorkerResume starts the program anew: the other worker process has failed.
func (h *handler) OnWorkerResume(*worker.Worker) {
	if h.exported == nil {
		return
	}
	h.exported = nil
	h.hold(holdMove, false)
	if h.cur == nil {
		h.hold(holdChange, true)
		h.spawn(0, nil)
	}
}

// farewell is the batch with the program's last words to its clients.
type farewell struct {
	number uint64
	ready  func() // nil: there is none
}

// done takes note that a batch, and all before it, is done, or never will be.
func (f *farewell) done(number uint64) {
	if f.ready != nil && number >= f.number {
		ready := f.ready
		f.ready = nil
		ready()
	}
}

// OnWorkerLeaving lets a program that wants to speak to its clients before they are sent
// away. It has done with them then: nothing more of them is read.
func (h *handler) OnWorkerLeaving(_ *worker.Worker, said func()) {
	ready := func() {
		h.excuseAll()
		said()
	}
	if h.cur == nil || h.cur.stopping || h.exported != nil || !h.wants[wire.WantLeaving] {
		ready()
		return
	}
	h.hold(holdEnd, true)
	h.farewell = farewell{h.number + 1, ready}
	h.next = wire.Frame{Op: wire.Leaving}.Append(h.next)
	h.kick()
}

// OnWorkerStop lets the program say its last words. The loop is about to end, so
// what it says is read here.
func (h *handler) OnWorkerStop(*worker.Worker) {
	h.leaving = true
	for _, p := range h.behind { // it would end with this process, and what it has started would not
		if !p.exited {
			p.KillAll()
		}
	}
	p := h.cur
	if p == nil || p.link == nil {
		return
	}
	f, unread := p.link.Take()
	if f == nil {
		p.KillAll()
		return
	}
	defer f.Close()
	limit := time.Duration(h.o.Callback) + leaveTime
	deadline := time.Now().Add(limit)
	_ = f.SetDeadline(deadline)
	for n := range h.told { // those who are cut, since they have not answered the goodbye
		h.next = wire.Frame{Op: wire.Close, Aux: 1006, Conn: n}.Append(h.next)
	}
	stop := wire.Frame{Op: wire.Stop}.Append(h.next[h.early:])
	h.number++
	p.stopping = true // what follows goes out here
	h.next, h.under, h.early = nil, nil, 0
	_, _ = f.Write(wire.Frame{Op: wire.Tick, Conn: h.number}.Append(stop))
	h.listen(p, f, unread)
	child.Hangup(f)
	select {
	case <-p.Done():
	case <-time.After(time.Until(deadline) / 4):
		p.KillAll()
	}
}

// listen does what a process still says, until it closes its end.
func (h *handler) listen(p *proc, socket *os.File, unread []byte) {
	r := wire.NewReader(&before{unread, socket}, wire.FromHandler)
	for {
		f, err := r.Next()
		if err != nil || f.Op == wire.Bye || f.Op == wire.Done && f.Conn == h.number {
			return
		}
		h.obey(p, f)
		h.reply1(f, socket)
	}
}

// reply1 sends the answer to a question; one that others would have to be asked gets none
// in this hour.
func (h *handler) reply1(f wire.Frame, socket *os.File) {
	if len(h.next) == 0 && f.Conn > 0 && (f.Op == wire.Call || f.Op == wire.Order) {
		h.answer(h.cur, f.Conn, nil, errEnds)
	}
	_, _ = socket.Write(h.next)
	h.next = nil
}

var errEnds = errors.New("the worker ends")

// before reads bytes, and then a file.
type before struct {
	p []byte
	f *os.File
}

func (b *before) Read(p []byte) (int, error) {
	if len(b.p) > 0 {
		n := copy(p, b.p)
		b.p = b.p[n:]
		return n, nil
	}
	return b.f.Read(p)
}
