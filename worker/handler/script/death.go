package script

import (
	"fmt"
	"math"
	"math/rand/v2"
	nethttp "net/http"
	"slices"
	"syscall"
	"time"

	wire "github.com/pushd/pushd/protocol/script"
	"github.com/pushd/pushd/worker"
)

const (
	dumpTime  = 300 * time.Millisecond // for a process that hangs to throw out of its callback
	hearTime  = 50 * time.Millisecond  // for a DONE that lies in the socket
	spread    = 5 * time.Second        // over which connections are closed that nobody knows any more
	spreadMin = 50                     // so many of them are closed at once
	aRefusal  = "the handler has died"
	restart   = "service restart"
)

// lost counts what a program was not told, or too late.
type lost struct {
	packets uint64 // datagrams that found too much waiting
	holds   uint64 // how often clients had to wait
	doubts  uint64 // connections closed since nobody knew what became of their message
	held    uint64 // connections closed since only a process knew them that is no more
}

// The end of a process is that of its link and of itself, in any order: what it
// has said is read first, and nobody lives on unseen.

func (h *handler) linkEnded(p *proc) {
	p.cut = true
	if p.exited || p.parted { // what a program does at its exit holds nobody up: PHP's takes 10 ms
		h.over(p)
	}
	if p.exited {
		return
	}
	h.w.After(dumpTime, func() {
		if !p.exited {
			p.KillAll()
		}
	})
}

func (h *handler) processEnded(p *proc) {
	p.exited = true
	if p.cut {
		h.over(p)
		return
	}
	h.w.After(dumpTime, func() { // somebody else holds its socket
		if !p.cut {
			p.link.Close()
		}
	})
}

// over deals with the end of a process.
func (h *handler) over(p *proc) {
	if p.over {
		return
	}
	p.over = true
	h.lingers(p)
	for _, t := range p.timers {
		t.Stop()
	}
	for _, stop := range p.channels {
		stop()
	}
	if p != h.cur {
		return
	}
	h.cur = nil
	h.farewell.done(math.MaxUint64)
	switch {
	case p.carry != nil: // with what it was given
		h.carried = append(h.carried, p.carry)
	case len(h.passed) > 0:
		h.passAgain(p)
	}
	h.takenIn()
	p.clean = p.stopping && len(h.under) == 0 && p.why == ""
	h.bereft = !p.said() && len(h.carried) == 0
	h.unite()
	doubts := h.doubt(p)
	p.Close()
	h.disappoint(p)
	h.report(p, doubts, h.strand(p))
	h.tellExcused(p.status())
	switch {
	case p.then != nil:
		p.then()
	case !h.leaving:
		h.respawn(p)
	}
}

// lingers remembers a process that has said all and is about to end.
func (h *handler) lingers(p *proc) {
	h.behind = slices.DeleteFunc(h.behind, func(p *proc) bool { return p.exited })
	if !p.exited {
		h.behind = append(h.behind, p)
	}
}

// given bounds how many processes in a row are given what was carried and die of
// it, or before they have done anything else.
const given = 3

// passAgain keeps for the next process what the dead one was given, unless too many have
// died of it: only that knew these connections.
func (h *handler) passAgain(p *proc) {
	if h.deadly++; h.deadly < given {
		h.carried = append(h.carried, h.passed...)
		return
	}
	n := 0
	for _, payload := range h.passed {
		conns, _, err := wire.ParseCarry(payload)
		for i := range conns.Len() {
			if c := h.clients.Find(h.w, conns.At(i)); c != nil && err == nil && h.o.AfterCrash != keepHeld {
				h.excuse(c, p.status())
				h.dismiss(c, 1012, restart)
				n++
			}
		}
	}
	h.log.Error("what was carried is given up: the processes that got it died before they had done anything else", "script", h.title(), "processes", h.deadly, "closed", n)
	h.lost.held += uint64(n)
	h.deadly = 0
}

// report tells of the end of a process.
func (h *handler) report(p *proc, doubts, held int) {
	attrs := []any{"script", h.title(), "pid", p.PID, "lived", time.Since(p.born).Round(time.Millisecond).String(),
		"closed_in_doubt", doubts, "closed_held", held}
	if p.clean {
		h.log.Info("script process has left", append(attrs, "carried", len(p.carry))...)
		return
	}
	why := p.Because()
	if p.why != "" {
		why = p.why + "; " + why
	}
	h.log.Error("script process died", append(attrs, "error", why)...)
}

// doubt ends the connections of which nobody knows what became of their last
// event, and lets the events wait that the process had not begun: those that it
// has not read, and those behind the one that it says to die of. Of a connection in
// doubt nothing waits but its end.
func (h *handler) doubt(p *proc) (n int) {
	under, waits := h.under, h.next
	h.under, h.next = nil, nil
	read := len(under) - max(p.Unread()-h.beside, 0)
	i, end, deadly := 0, 0, p.deadly(under)
	ends := map[uint64]bool{}
	wait := func(f wire.Frame, whole []byte) {
		if f.Op == wire.Close || !ends[f.Conn] {
			h.next = append(h.next, whole...)
		}
	}
	each(under, func(f wire.Frame, whole []byte) {
		end += len(whole)
		switch at := i; {
		case end > read, p.poison != nil && at > deadly:
			wait(f, whole)
		case (p.poison == nil || at == deadly && f.Conn == p.poison.conn) && p.doubts(f.Op):
			if h.doubtful(p, f) && !ends[f.Conn] {
				n++
			}
			ends[f.Conn] = true
		}
		if f.Op != wire.Answer {
			i++
		}
	})
	each(waits, wait)
	h.lost.doubts += uint64(n)
	return n
}

// deadly is which event of a batch the process says to die of: the last one of the connection
// up to there, as it may have counted answers; of nobody's, the last one that it has begun.
func (p *proc) deadly(batch []byte) (at int) {
	if p.poison == nil {
		return 0
	}
	if p.poison.conn == 0 {
		return p.poison.done - 1
	}
	i := 0
	at = p.poison.done
	each(batch, func(f wire.Frame, _ []byte) {
		if i <= p.poison.done && f.Conn == p.poison.conn && p.doubts(f.Op) {
			at = i
		}
		if f.Op != wire.Answer {
			i++
		}
	})
	return at
}

// doubts reports whether an event ends a connection where nobody knows what became of it.
func (p *proc) doubts(op wire.Op) bool {
	switch op {
	case wire.Message, wire.Open, wire.Request, wire.Handshake:
		return true
	case wire.Resume, wire.Full, wire.Drain, wire.Close: // they may be told again, but not where a process has died of it
		return p.poison != nil
	}
	return false
}

// doubtful ends the connection of an event that may or may not have been worked
// on; whether it was there.
func (h *handler) doubtful(p *proc, f wire.Frame) bool {
	q, s, c := h.requests[f.Conn], h.shakes[f.Conn], h.clients.Find(h.w, f.Conn)
	switch {
	case f.Op == wire.Request:
		if q != nil {
			q.fail(nethttp.StatusBadGateway)
		}
		return q != nil
	case s != nil:
		h.lockOut(p, f.Conn, s)
		return true
	case f.Op == wire.Resume, f.Op == wire.Close: // the next process would die of it too
		delete(h.gone, f.Conn)
		if h.ended[f.Conn] = true; c != nil {
			c.Close(1011, aRefusal)
		}
	case c != nil:
		h.cost(p, c, 1011, aRefusal)
	}
	return c != nil
}

// disappoint ends the requests and handshakes that a process has taken along. Who asked one
// that has left as it was told may come back; of one that has died nobody knows what it did.
func (h *handler) disappoint(p *proc) {
	waits := map[uint64]bool{}
	each(h.next, func(f wire.Frame, _ []byte) {
		if f.Op == wire.Request || f.Op == wire.Handshake {
			waits[f.Conn] = true
		}
	})
	for n, q := range h.requests {
		if !waits[n] && !q.whole {
			q.fail(p.status())
			h.excused++
		}
	}
	for n, s := range h.shakes {
		if !waits[n] {
			h.lockOut(p, n, s)
		}
	}
}

// lockOut refuses a client in whose handshake a process has ended. The program may have made
// something of him there, so the next process hears of his end, as in cost.
func (h *handler) lockOut(p *proc, n uint64, s *shake) {
	delete(h.shakes, n)
	if c := h.clients.Find(h.w, n); c != nil && p.said() {
		h.parts(c, 1006, "")
	}
	s.Refuse(nethttp.StatusServiceUnavailable, aRefusal)
}

// strand closes the connections of which a dead process had something that
// nobody else has.
func (h *handler) strand(p *proc) (n int) {
	var list []*worker.Conn
	for number, t := range h.told {
		h.told[number] = 0
		if t&toldPaused != 0 { // nobody else would
			h.goOn(number)
		}
		if t&toldHeld != 0 && h.o.AfterCrash != keepHeld {
			if c := h.clients.Find(h.w, number); c != nil {
				list = append(list, c)
			}
			continue
		}
		if t&toldPaused != 0 { // its session may have what the program has not looked at yet
			h.next = wire.Frame{Op: wire.Resume, Conn: number}.Append(h.next)
		}
	}
	for _, c := range list {
		if len(list) <= spreadMin || h.exported != nil || h.waits(c) { // a timer would not go along
			h.cost(p, c, 1012, restart)
			continue
		}
		h.spread[c.Number()] = c
		c.After(time.Duration(rand.Int64N(int64(spread))), func() { h.dismiss(c, 1012, restart) })
	}
	h.lost.held += uint64(len(list))
	return len(list)
}

// cost closes a connection for the end of a process. The next one hears of that if this one
// has said what it leaves, be it nothing; what one that was killed knew nobody knows.
func (h *handler) cost(p *proc, c *worker.Conn, code uint16, reason string) {
	if _, known := h.told[c.Number()]; known && !h.ended[c.Number()] && p.said() {
		h.parts(c, code, reason)
	}
	h.excuse(c, p.status())
	h.dismiss(c, int(code), reason)
}

// status is what the requests get that a process has left without an answer.
func (p *proc) status() int {
	if p.clean {
		return nethttp.StatusServiceUnavailable
	}
	return nethttp.StatusBadGateway
}

// said reports whether a process has said what it leaves, be it nothing.
func (p *proc) said() bool { return p.clean || p.poison != nil || p.carry != nil }

// dismiss closes a connection for the death of a process. The next one, unless it knows
// the connection by then, hears nothing of it.
func (h *handler) dismiss(c *worker.Conn, code int, reason string) {
	h.ended[c.Number()] = true
	delete(h.spread, c.Number())
	c.Close(code, reason)
}

// dismissAll closes those at once whose end was spread: they are about to go to another
// worker process, and its timer would not.
func (h *handler) dismissAll() {
	for _, c := range h.spread {
		h.dismiss(c, 1012, restart)
	}
}

// goOn lets a connection be read again that a dead process has paused.
func (h *handler) goOn(number uint64) {
	if c := h.clients.Find(h.w, number); c != nil {
		c.ResumeRead()
	}
}

// hangs acts on a batch that takes too long. DONE may lie in the socket of a
// loop that was busy.
func (h *handler) hangs(p *proc) {
	number := h.number
	still := func() bool { return h.cur == p && len(h.under) > 0 && h.number == number }
	h.w.After(hearTime, func() {
		if !still() {
			h.guard()
			return
		}
		h.log.Warn("script callback takes too long: it is interrupted", "script", h.title(), "pid", p.PID, "callback", time.Duration(h.o.Callback).String())
		p.Signal(syscall.SIGUSR2)
		h.w.After(dumpTime, func() {
			if still() {
				h.kill(p, fmt.Sprintf("a batch took longer than callback = %s", time.Duration(h.o.Callback)))
			}
		})
	})
}

// kill ends a process at once.
func (h *handler) kill(p *proc, why string) {
	if p.why == "" {
		p.why = why
	}
	p.KillAll()
	if p.link != nil {
		p.link.Close()
	}
}
