package script

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/pushd/pushd/protocol/control"
	wire "github.com/pushd/pushd/protocol/script"
)

const leaveTime = time.Second // beyond callback, for a process that was sent STOP

// begin makes a process that is ready the one that gets the events.
func (h *handler) begin(p *proc) {
	h.cur, h.under = p, nil
	h.early, h.greeting, h.greets = 0, 0, 0
	h.wants = map[string]bool{}
	for _, want := range p.welcome.Wants {
		h.wants[want] = true
	}
	waits := h.next
	h.next, h.told = nil, make(map[uint64]told, len(h.told))
	h.unheard(waits)
	waits = h.missing(waits)
	each(waits, func(f wire.Frame, _ []byte) {
		if f.Op == wire.Open {
			h.fresh[f.Conn] = true
		}
	})
	h.greet()
	each(waits, h.repeat)
	clear(h.fresh)
	h.kick()
	h.hold(holdChange, false)
}

// passOn hands on what processes before have carried, and tells of its
// connections: of those that are gone by now, too, whose end follows.
func (h *handler) passOn() {
	for _, payload := range h.carried {
		conns, data, err := wire.ParseCarry(payload)
		if err != nil {
			continue
		}
		var list []uint64
		for i := range conns.Len() {
			n := conns.At(i)
			if _, gone := h.gone[n]; gone || !h.ended[n] {
				list = append(list, n)
			}
		}
		h.next = wire.AppendCarry(h.next, wire.Carried, list, data)
		for _, n := range list {
			h.tellCarried(n)
		}
	}
	h.passed, h.carried = append(h.passed, h.carried...), nil
}

// tellCarried tells of a connection that was carried.
func (h *handler) tellCarried(n uint64) {
	_, gone := h.gone[n]
	if c := h.clients.Find(h.w, n); c != nil && !gone {
		h.tell(c, wire.Resume)
		return
	}
	if h.tellGone(n); !gone { // it has ended where nobody took note of it
		h.closed(n, 1006, "")
	}
}

// repeat gives an event to a process that was meant for the one before.
func (h *handler) repeat(f wire.Frame, whole []byte) {
	switch f.Op {
	case wire.Open, wire.Resume, wire.Message, wire.Full, wire.Drain:
		if !h.meets(f.Conn) || f.Op == wire.Open || f.Op == wire.Resume {
			return
		}
	case wire.Close:
		if _, gone := h.gone[f.Conn]; gone {
			h.tellGone(f.Conn)
		}
		if _, known := h.told[f.Conn]; !known {
			return
		}
		delete(h.told, f.Conn)
	case wire.Request:
		if h.requests[f.Conn] == nil {
			return
		}
	case wire.Handshake:
		if h.shakes[f.Conn] == nil {
			return
		}
	case wire.Packet:
	default: // timers, channels and questions were those of the process before
		return
	}
	h.next = append(h.next, whole...)
}

// meets makes sure that the process knows the connection of an event; false: it
// is not to hear of it.
func (h *handler) meets(n uint64) bool {
	c := h.clients.Find(h.w, n)
	_, gone := h.gone[n]
	switch {
	case h.strange(n):
		return false
	case gone:
		h.tellGone(n)
	case c != nil:
		h.tell(c, wire.Resume)
	}
	return gone || c != nil
}

// respawn starts a process in the place of a dead one, as soon as deaths let it.
func (h *handler) respawn(p *proc) {
	h.deaths.died(time.Since(p.ready), p.batches)
	h.spawn(h.deaths.pause(), nil)
}

// spawn starts a process after a while, which then gets the events: as the next
// one when there is none, else in the place of the one that has them. ready runs
// when it is there; nil is what a death wants: it is tried until it is.
func (h *handler) spawn(after time.Duration, ready func(control.Renewed, error)) {
	if h.starting || h.leaving {
		if ready != nil {
			ready(control.Renewed{}, errBusy)
		}
		return
	}
	h.starting = true
	h.backoff = h.w.After(after, func() {
		h.backoff = nil
		setup := h.setup()
		ctx, cut := context.WithCancel(context.Background())
		h.cut = cut
		if err := h.w.Go(func() {
			p, err := h.launch(ctx, setup)
			_ = h.w.Post(func() {
				h.cut = nil
				if ctx.Err() == nil {
					cut()
					h.launched(p, err, ready)
					return
				}
				if p != nil {
					p.KillAll()
					p.Close()
				}
				h.starting = false
				h.spawn(0, ready)
			})
		}); err != nil {
			cut()
			h.launched(nil, err, ready)
		}
	})
}

var errBusy = errors.New("another process of the script is being started")

// launched goes on with a process that was started, or was not.
func (h *handler) launched(p *proc, err error, ready func(control.Renewed, error)) {
	h.starting = false
	if err == nil && (h.leaving || h.exported != nil) {
		p.KillAll()
		p.Close()
		err = errBusy
	} else if err == nil {
		err = h.attach(p)
	}
	switch {
	case err == nil && h.cur == nil:
		h.begin(p)
	case err == nil:
		h.succeed(h.cur, p, ready)
		return
	case h.leaving || h.exported != nil:
	case h.cur == nil: // nobody is there: again
		h.deaths.died(0, 0)
		h.log.Error("script does not start", "script", h.title(), "again_in", h.deaths.pause().String(), "error", err.Error())
		h.spawn(h.deaths.pause(), nil)
	}
	if ready != nil {
		r := control.Renewed{Title: h.title()}
		if h.cur == p && p != nil {
			r.NewPID = p.PID
		}
		ready(r, err)
	}
}

// Renew replaces the process for a reload, unless it wants to stay.
func (h *handler) Renew(done func(control.Renewed, error)) {
	p := h.cur
	if p == nil || p.stopping || h.starting || h.leaving || h.exported != nil || !h.wants[wire.WantReload] {
		h.renew(done)
		return
	}
	h.log.Info("script process stays, as its program wants", "script", h.title(), "pid", p.PID)
	h.next = wire.Frame{Op: wire.Reload}.Append(h.next)
	h.kick()
	done(control.Renewed{Title: h.title(), OldPID: p.PID, NewPID: p.PID}, nil)
}

// renew replaces the process by one of the program as it is now. Connections
// stay; when the new one does not get ready, so does the old one.
func (h *handler) renew(done func(control.Renewed, error)) {
	switch {
	case h.leaving || h.exported != nil:
		done(control.Renewed{}, errBusy)
	case h.starting && h.backoff == nil: // launch is bounded
		h.w.After(hearTime, func() { h.renew(done) })
	case h.starting:
		h.backoff.Stop()
		h.starting, h.backoff, h.deaths = false, nil, deaths{}
		h.spawn(0, done)
	case h.cur != nil && h.cur.stopping: // it has died, or will soon
		h.w.After(hearTime, func() { h.renew(done) })
	default:
		h.spawn(0, done)
	}
}

// replace is Renew for reasons of our own.
func (h *handler) replace() { h.spawn(0, h.replaced) }

// replaced says why a process is not, where nobody waits to be told.
func (h *handler) replaced(_ control.Renewed, err error) {
	if err == nil || errors.Is(err, errBusy) {
		return
	}
	what := "script is not replaced: the process before serves on"
	if h.cur == nil { // it has died meanwhile
		what = "script is not replaced, and nobody serves"
	}
	h.log.Error(what, "script", h.title(), "error", err.Error())
}

// asked replaces a process that asks for it. What it asks until that is tried is the
// same.
func (h *handler) asked(p *proc) {
	if p != h.cur || p.stopping || p.asked {
		return
	}
	p.asked = true
	h.log.Info("script process is replaced", "script", h.title(), "pid", p.PID, "because", "its program asks for it")
	h.renew(func(r control.Renewed, err error) {
		p.asked = false
		h.replaced(r, err)
	})
}

// succeed lets next take the place of old, which is told to leave.
func (h *handler) succeed(old, next *proc, done func(control.Renewed, error)) {
	began, before := time.Now(), h.lost.held+h.lost.doubts
	h.hold(holdChange, true)
	h.stop(old, wire.Successor, func() {
		if next.over { // in that moment
			h.respawn(next)
		} else {
			h.begin(next)
		}
		pause := time.Since(began)
		h.log.Info("script process takes over", "script", h.title(), "pid", next.PID, "before", old.PID,
			"pause", pause.Round(100*time.Microsecond).String())
		h.onceTakenIn(func() {
			if done != nil {
				pid := next.PID
				if h.cur != nil { // another one, where that has died of it
					pid = h.cur.PID
				}
				done(control.Renewed{
					Title: h.title(), OldPID: old.PID, NewPID: pid,
					PauseMS: float64(pause.Microseconds()) / 1000, Closed: int(h.lost.held + h.lost.doubts - before),
				}, nil)
			}
		})
	})
}

// onceTakenIn runs f once a process is done with what it was told of the one before, or that
// is given up: by then those are closed whom its code has no place for.
func (h *handler) onceTakenIn(f func()) {
	if len(h.passed) == 0 && !h.isToTakeIn() {
		f()
		return
	}
	h.taken = append(h.taken, f)
}

// Settle runs done once the program has taken in what hand-overs have brought.
func (h *handler) Settle(done func()) { h.onceTakenIn(done) }

// isToTakeIn reports whether there is, or will be, something for a process to take in.
func (h *handler) isToTakeIn() bool { return h.awaits() || len(h.carried) > 0 }

// takenIn says that nothing of what was carried is under way any more.
func (h *handler) takenIn() {
	h.passed = nil
	if h.isToTakeIn() {
		return
	}
	list := h.taken
	h.taken = nil
	for _, f := range list {
		f()
	}
}

// stop sends STOP as the last event, and sees to it that the process ends; then
// runs.
func (h *handler) stop(p *proc, flags byte, then func()) {
	p.then = then
	h.finish(p, flags)
	h.w.After(time.Duration(h.o.Callback)+leaveTime, func() {
		if !p.over {
			h.kill(p, "it did not leave in time")
		}
	})
}

// finish sends the last batch as soon as the one under way is done.
func (h *handler) finish(p *proc, flags byte) {
	if len(h.under) > 0 || h.awaits() {
		p.last = func() { h.finish(p, flags) }
		return
	}
	h.remind(math.MaxInt)
	h.next = wire.Frame{Op: wire.Stop, Flags: flags}.Append(h.next)
	h.dispatch()
	p.stopping = true
}

// most is after how many messages a process is replaced: not all processes of a
// group at once.
func (h *handler) most() int {
	if h.o.MaxMessages == 0 {
		return 0
	}
	return h.o.MaxMessages + rand.IntN(h.o.MaxMessages/10+1)
}

// lookEvery is how often the memory of a process is looked at, at most.
const lookEvery = time.Second

// aged replaces a process that has had its time.
func (h *handler) aged(p *proc) {
	why := ""
	if p.most > 0 && p.messages >= p.most {
		why = "max_messages"
	}
	if now := time.Now(); why == "" && h.o.Memory > 0 && now.Sub(p.looked) > lookEvery {
		p.looked = now
		if p.Resident() > int64(h.o.Memory) {
			why = "memory"
		}
	}
	if why == "" || h.starting || p.stopping {
		return
	}
	h.log.Info("script process is replaced", "script", h.title(), "pid", p.PID, "because", why)
	p.most = 0
	h.replace()
}
