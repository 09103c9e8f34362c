package pusher

import (
	"net/http"
	"strings"
	"time"

	"crypto/rand"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// A carrier is the answer to a client that waits for what it is to hear: a stream,
// or one that ends with the first thing to say. It is a connection like any other,
// which moves in a reload. It knows its session's channel, and a number by which
// both are sure that what is sent is for this answer and no other of the same
// socket.
//
// Exactly one word of its end reaches the session, behind those for what it has
// taken.

// carriesKey is its session value: number, space, channel of the session.
const carriesKey = "carries"

const (
	// pollTime is how long a poll waits; proxies give up after a minute.
	pollTime = 25 * time.Second
	// idlePoll is the answer of a poll for which nothing has come.
	idlePoll = "h\n"
	// prelude goes before all else on a stream: what sits between holds the first
	// kilobytes back.
	preludeSize = 2048
	// maxStream is what pusher-js reads from one stream: with more it comes for
	// another one, as soon as it has read all there is.
	maxStream = 256 << 10
)

var prelude = strings.Repeat("h", preludeSize) + "\n"

// carrying is a request that is to become a carrier.
type carrying struct {
	h       *Handler
	w       *worker.Response
	a       *app
	recover bool
	channel string
	number  string
	fallback
}

// find looks for the session: here, then in all processes. There is none: it is
// opened.
func (k *carrying) find() {
	if s := k.h.sessions[k.channel]; s != nil && s.c.Open() {
		k.join(s)
		return
	}
	k.w.Defer()
	k.h.countMembers([]string{k.channel}, func(counts []int, complete bool) {
		s := k.h.sessions[k.channel]
		switch {
		case s != nil && s.c.Open(): // it has come here meanwhile
			k.join(s)
		case counts[0] > 0:
			k.reach()
		case !complete:
			away(k.w, "it cannot be said whether there is such a session")
		default:
			k.h.awaitPlace(k.a, k.open)
		}
	})
}

// join makes it the carrier of a session of this process.
func (k *carrying) join(s *session) {
	if k.start() {
		s.attach(k.w.Conn().ID(), k.number, k.way == wayStream)
	}
}

// reach makes it the carrier of a session of another process.
func (k *carrying) reach() {
	if !k.start() {
		return
	}
	_ = k.h.announce(k.w.Conn()) // again in a while
}

// announce tells a session of a carrier.
func (h *Handler) announce(c *worker.Conn) error {
	number, channel, _ := carries(c)
	kind := "p"
	if c.Protocol() == "lines" {
		kind = "s"
	}
	return h.tell(channel, codeAttach, c.ID()+"\n"+number+"\n"+kind)
}

// open opens the session, in this process.
func (k *carrying) open() {
	reserved := k.a.reserve()
	err := k.w.Carried(k.base+"/0/session/"+wayPoll, func(c *worker.Conn) bool {
		if c == nil {
			k.turnAway(noPlace)
			return false
		}
		if !k.start() {
			return false
		}
		k.a.free(reserved)
		if k.recover {
			c.SetPositions(true)
		}
		s := k.h.newSession(c, k.channel)
		s.attach(k.w.Conn().ID(), k.number, k.way == wayStream)
		return true
	})
	if err != nil {
		k.a.free(reserved)
		k.turnAway(noPlace)
	}
}

// start begins the answer. It reports whether it waits.
func (k *carrying) start() bool {
	k.number = rand.Text()
	if k.w.Conn().Set(carriesKey, k.number+" "+k.channel) != nil {
		return false
	}
	k.header()
	ok := false
	if k.way == wayStream {
		_, _ = k.w.WriteString(prelude) // a client that is gone: StreamLines says so
		ok = k.w.StreamLines()
	} else {
		ok = k.w.PollRaw(pollTime, idlePoll)
	}
	if !ok {
		_ = k.w.Conn().Set(carriesKey, "")
		away(k.w, "this process is about to end")
	}
	return ok
}

func (k *carrying) header() {
	for name, value := range map[string]string{
		"Content-Type": "application/javascript; charset=UTF-8", "Cache-Control": "no-store",
		"X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
	} {
		k.w.Header().Set(name, value)
	}
}

// turnAway tells a client in the words of the protocol why it is not served.
func (k *carrying) turnAway(bye *goodbye) {
	k.header()
	k.w.WriteHeader(http.StatusOK)
	_, _ = k.w.WriteString("o\na[" + string(wire.AppendString(nil, string(wire.Error(bye.code, bye.message)))) + "]\n" + closing(bye.code, bye.message))
	k.w.End()
}

// carries tells of a connection whether it is a carrier, and whose.
func carries(c *worker.Conn) (number, channel string, ok bool) {
	return strings.Cut(c.Get(carriesKey), " ")
}

// carrierHere notes a carrier of this process.
func (h *Handler) carrierHere(c *worker.Conn) {
	h.carriers[c] = struct{}{}
	if h.looking == nil {
		h.looking = h.w.Every(lookEvery, h.lookForSessions)
	}
}

// lookEvery is how often the sessions of carriers are looked for, in processes
// other than this one: one that is killed says nothing.
const lookEvery = 5 * time.Second

// lookForSessions ends the carriers whose session is gone: their clients open
// another one. The others are announced again, should that have been lost.
func (h *Handler) lookForSessions() {
	if len(h.carriers) == 0 {
		h.looking.Stop()
		h.looking = nil
		return
	}
	var names []string
	var far []*worker.Conn
	for c := range h.carriers {
		_, channel, ok := carries(c)
		switch s := h.sessions[channel]; {
		case h.w.Find(c.ID()) != c:
			delete(h.carriers, c) // it has moved
		case !ok: // it is about to end
		case (s == nil || !s.c.Open()) && len(names) < worker.MaxSurvey:
			names, far = append(names, channel), append(far, c)
		}
	}
	if len(names) == 0 {
		return
	}
	h.countMembers(names, func(counts []int, complete bool) {
		for i, c := range far {
			_, channel, _ := carries(c)
			switch {
			case channel != names[i] || !c.Open():
			case counts[i] > 0:
				_ = h.announce(c)
			case complete:
				_ = c.SendText(closing(wire.CodeReconnect, "the session was lost"))
				_ = c.Set(carriesKey, "")
				c.Close(0, "")
			}
		}
	})
}

// isCarrier reports whether a connection carries a session.
func isCarrier(c *worker.Conn) bool { return c.Protocol() == "lines" || c.Protocol() == "poll" }

// carry takes what a session of another process has for a carrier: number, whether
// it is the last, and the bytes.
func (h *Handler) carry(c *worker.Conn, data string) {
	number, rest, _ := strings.Cut(data, "\n")
	kind, frame, _ := strings.Cut(rest, "\n")
	own, channel, ok := carries(c)
	if !ok || own != number {
		return // the answer is over, and the session has been told
	}
	code := uint16(codeTaken)
	if kind == last || c.Protocol() == "poll" { // its end, which may come first, says nothing more
		_ = c.Set(carriesKey, "")
	}
	if len(frame) > 0 && c.SendText(frame) != nil {
		code = codeNotTaken
	}
	if kind == last {
		c.Close(0, "")
		return
	}
	_ = h.tell(channel, code, number) // without it the session gives up
}

// carrierOver tells the session that a carrier has ended.
func (h *Handler) carrierOver(c *worker.Conn, err error) {
	number, channel, ok := carries(c)
	delete(h.carriers, c)
	left := err != nil || c.Protocol() == "lines"
	switch s := h.sessions[channel]; {
	case !ok: // it was told that it is the last
	case s != nil && s.c.Open():
		s.over(number, left)
	case left:
		_ = h.tell(channel, codeLeft, number)
	default:
		_ = h.tell(channel, codeIdle, number)
	}
}
