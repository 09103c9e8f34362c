package worker

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// A process without a place for one more connection leaves those who come to the
// others, which share the accept queue. Who still waits there at the next look,
// and after FullWait, finds a place nowhere and is let in as a guest, to be told
// so: an upgrade is refused with 503, a plain request is served, so that a back
// end gets in whatever its clients do, and then the connection is closed.
const (
	maxGuests     = 24 // at a time, beyond max_connections; of the descriptors of reserve
	guestLook     = 100 * time.Millisecond
	guestPatience = 2 * time.Second // for a guest's request
)

func (l *loop) startLooking() {
	if a := &l.accept; !a.looking {
		a.looking, a.waited = true, 0
		l.after(guestLook, l.look)
	}
}

// look lets guests in when somebody has waited since the last look.
func (l *loop) look() {
	a := &l.accept
	if !a.paused || l.phase != phaseServing {
		a.looking, a.waited = false, 0
		return
	}
	l.after(guestLook, l.look)
	waits := false
	for i, p := range l.ports {
		if !p.addr.speaks.requests || !l.reactor.Waits(i) {
			continue
		}
		waits = true
		if a.waited > 0 && l.now-a.waited >= l.w.Limits.FullWait && a.guests < maxGuests {
			if err := l.reactor.Hear(i); err != nil {
				l.log.Error("accept guests", "error", err)
			}
		}
	}
	switch {
	case !waits:
		l.reactor.Deafen(false) // the others first
		a.waited = 0
	case a.waited == 0:
		a.waited = l.now
	}
}

// greet counts a guest.
func (l *loop) greet(c *Conn) {
	c.set(flagGuest)
	l.expect(c, guestPatience)
	if l.accept.guests++; l.accept.guests >= maxGuests {
		l.reactor.Deafen(false)
	}
}

// promote makes a guest a connection like others if a place has become free.
func (l *loop) promote(c *Conn) {
	if c.has(flagGuest) && !l.accept.paused {
		l.ungreet(c)
	}
}

// ungreet is the end of a guest, or of being one.
func (l *loop) ungreet(c *Conn) {
	if c.has(flagGuest) {
		c.clear(flagGuest)
		l.accept.guests--
	}
}

// noPlace refuses a guest's upgrade. Clients are to come back spread over some
// seconds.
func (l *loop) noPlace(c *Conn) answer {
	l.refused("full", c.RemoteAddr(), "limits.max_connections, or the limit of descriptors")
	a := refusal(http.StatusServiceUnavailable, "full", "there is no place left, come back later")
	a.header = [][2]string{{"Retry-After", strconv.Itoa(1 + rand.IntN(10))}}
	return a
}

// Full reports whether the process had no place left for the connection when it
// came. An upgrade of such a client is refused with 503 and Retry-After once
// OnHandshake is over, unless that has called Handshake.TellFull.
func (c *Conn) Full() bool { return c.has(flagGuest) }

// TellFull accepts a client for whom there is no place (Conn.Full), so that
// OnConnect can tell it in its own protocol. It is closed after that, with 1013
// if OnConnect has not done so.
func (h *Handshake) TellFull() { h.tells = true }
