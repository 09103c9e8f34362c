package pusher

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// session is what a carried connection is for a client without WebSocket. What it
// is sent goes to the carrier that waits: by a call where that is in this process,
// else by the bus, one batch at a time, which the carrier confirms. So nothing is
// lost in silence: what a carrier has not taken waits for the next one, and where it
// is not known the session ends, which its client notices.
//
// All that it is is in a session value, so it moves; the timer begins anew.
type session struct {
	h     *Handler
	c     *worker.Conn
	timer *worker.Timer
	sessionState
}

// sessionState is the session value sessionKey.
type sessionState struct {
	Channel string  `json:"n"`
	Carrier carrier `json:"c"`
	Next    carrier `json:"x"`           // comes when the word on what is on its way is here
	Sent    int     `json:"s,omitempty"` // bytes of the stream's answer
	Out     int     `json:"o,omitempty"` // bytes of what was collected that are on their way
	Away    bool    `json:"a,omitempty"` // a batch is on its way, even one without messages
	Opened  bool    `json:"p,omitempty"` // the client knows that the session is open
	Pinged  bool    `json:"q,omitempty"` // it was asked for a word of life
	Spent   bool    `json:"e,omitempty"` // the stream before has had maxStream
}

// carrier is where the client waits; the zero value: nowhere.
type carrier struct {
	ID     string `json:"i,omitempty"` // of the connection
	Number string `json:"n,omitempty"`
	Stream bool   `json:"s,omitempty"`
}

const sessionKey = "session"

// How long a session waits for what; each is the end of a client that is gone, or
// of one that cannot be told any more what it has got.
const (
	betweenPolls = 30 * time.Second
	afterStream  = 60 * time.Second // a client that reads slowly has yet to come to the end
	takenWait    = 15 * time.Second
	pollOverdue  = pollTime + 10*time.Second
)

// maxCarried is what goes to a carrier at once, unless one message is longer.
const maxCarried = 512 << 10

// Notices between sessions and carriers. Data is lines.
const (
	codeAttach   = 0x100 + iota // to a session: connection, number, "s" or "p"
	codeHear                    // connection's channel of answers, id, body
	codeTaken                   // number
	codeNotTaken                // number
	codeIdle                    // number: the poll is over, nothing has come
	codeLeft                    // number: its client has left
	codeCarry                   // to a carrier: number, last or "", bytes
)

const last = "last"

// tell publishes a notice to a session.
func (p *process) tell(channel string, code uint16, data string) error {
	return p.w.PublishOrders([]worker.Publication{{
		Kind: worker.KindService, Scope: worker.ScopeChannel, Target: channel, Code: code, Data: []byte(data), Unkept: true,
	}})
}

// newSession begins a session.
func (h *Handler) newSession(c *worker.Conn, channel string) *session {
	s := &session{h: h, c: c, sessionState: sessionState{Channel: channel}}
	h.sessions[channel], h.carried[c] = s, s
	return s
}

// resumeSession takes a session over from the previous process.
func (h *Handler) resumeSession(c *worker.Conn) {
	s := h.sessionOf(c)
	if s == nil {
		c.Close(wire.CodeReconnect, "the session was lost")
		return
	}
	s.arm()
	s.flush()
}

// sessionOf returns the session of a carried connection, nil for others. In a
// process that takes connections over it may be asked for before OnResume.
func (h *Handler) sessionOf(c *worker.Conn) *session {
	if s := h.carried[c]; s != nil {
		return s
	}
	var state sessionState
	if !isSession(c) || json.Unmarshal([]byte(c.Get(sessionKey)), &state) != nil || state.Channel == "" {
		return nil
	}
	s := h.newSession(c, state.Channel)
	s.sessionState = state
	return s
}

// forgetSession ends a session with its connection. Where nobody has said goodbye,
// as to a client that reads too slowly, its carrier is told.
func (h *Handler) forgetSession(c *worker.Conn) {
	s := h.sessionOf(c)
	if s == nil {
		return
	}
	delete(h.carried, c)
	if h.sessions[s.Channel] == s {
		delete(h.sessions, s.Channel)
	}
	if s.Carrier != (carrier{}) {
		_, _ = s.post(s.Carrier, closing(closeTryLater, "the session is over"), last)
	}
	s.dismiss(s.Next)
}

// closeTryLater makes pusher-js come back in a second.
const closeTryLater = 1013

// save keeps the state with the connection, and waits for what is to come next.
func (s *session) save() {
	s.keep()
	s.arm()
}

// keep is save for what changes with each frame of a stream: it matters only to the
// next process.
func (s *session) keep() {
	raw, err := json.Marshal(s.sessionState)
	if err == nil {
		err = s.c.Set(sessionKey, string(raw))
	}
	if err != nil {
		s.end("the session's values are full")
	}
}

// keepSessions prepares for a reload.
func (h *Handler) keepSessions() {
	for _, s := range h.carried {
		s.keep()
	}
}

// arm sets the timer.
func (s *session) arm() {
	if s.timer != nil {
		s.timer.Stop()
	}
	wait, fn := betweenPolls, s.gone
	switch {
	case s.Away:
		wait, fn = takenWait, s.doubt
	case s.Carrier.Stream:
		if wait = s.h.w.PingInterval; s.Pinged {
			wait = s.h.w.PingTimeout
		}
		if fn = s.beat; wait == 0 {
			return
		}
	case s.Carrier != carrier{}:
		wait = pollOverdue
	case s.Spent:
		wait = afterStream
	}
	s.timer = s.c.After(wait, fn)
}

// gone ends a session whose client does not come any more.
func (s *session) gone() { s.c.Close(1000, "") }

// doubt ends one of which nobody knows what its client has got.
func (s *session) doubt() { s.end("what was sent may be lost") }

// end sends the client away; it opens another session at once.
func (s *session) end(why string) { s.c.Close(wire.CodeReconnect, why) }

// beat asks a client on a stream for a word of life, or ends one that gave none.
func (s *session) beat() {
	if s.Pinged {
		s.c.Close(wire.CodeNoPong, "pong was not received in time")
		return
	}
	s.Pinged = true
	s.send("h\n", 0, "")
	s.save()
}

// attach gives the session a carrier, in place of the one before.
func (s *session) attach(id, number string, stream bool) {
	if number == s.Carrier.Number || number == s.Next.Number {
		return // it has said so before
	}
	next := carrier{id, number, stream}
	if s.Away { // whoever has it says so before this one gets any
		s.dismiss(s.Next)
		s.Next = next
		s.save()
		return
	}
	s.dismiss(s.Carrier)
	s.Carrier, s.Sent, s.Spent, s.Pinged = next, 0, false, false
	if stream {
		s.Sent = len(prelude)
	}
	s.save()
	s.flush()
}

// dismiss tells a carrier that another one has taken its place: the same session is
// used from two places, or its end is not known here yet.
func (s *session) dismiss(k carrier) {
	if k != (carrier{}) {
		s.post(k, closing(wire.CodeReconnect, "the session is used from elsewhere"), last)
	}
}

// flush sends what was collected to the carrier, if there is one that takes it.
func (s *session) flush() {
	items := s.c.Collected()
	if !s.c.Open() || s.Carrier == (carrier{}) || s.Away || len(items) == 0 && s.Opened {
		return
	}
	n := firstItems(items, maxCarried)
	frame := ""
	if !s.Opened {
		frame = "o\n"
		s.Opened = true
	}
	if n > 0 {
		frame += "a[" + string(items[:n-1]) + "]\n"
	}
	s.send(frame, n, "")
}

// firstItems returns the length of the first items of at most so many bytes, at least
// one.
func firstItems(items []byte, most int) int {
	if len(items) <= most {
		return len(items)
	}
	n, text := 0, false
	for i := 0; i < len(items); i++ {
		switch {
		case items[i] == '\\':
			i++
		case items[i] == '"':
			text = !text
		case items[i] == ',' && !text:
			if i >= most && n > 0 {
				return n
			}
			if n = i + 1; n > most {
				return n
			}
		}
	}
	return n
}

// send sends a frame of the first n collected bytes.
func (s *session) send(frame string, n int, kind string) {
	taken, err := s.post(s.Carrier, frame, kind)
	switch {
	case err != nil:
		s.end("its client cannot be reached")
	case taken:
		s.took(n, len(frame))
	default:
		s.Away, s.Out = true, n
		s.Sent += len(frame)
		s.save()
	}
}

// post sends a frame to a carrier. It reports whether that has it; what goes by the
// bus is confirmed.
func (s *session) post(k carrier, frame, kind string) (taken bool, err error) {
	if c := s.h.w.Find(k.ID); c != nil && c.Open() {
		if number, _, _ := carries(c); number == k.Number && isCarrier(c) {
			if kind == last || c.Protocol() == "poll" {
				_ = c.Set(carriesKey, "")
			}
			if frame != "" && c.SendText(frame) != nil {
				return false, worker.ErrClosed
			}
			if kind == last {
				c.Close(0, "")
			}
			return true, nil
		}
	}
	return false, s.h.w.PublishOrders([]worker.Publication{{
		Kind: worker.KindService, Scope: worker.ScopeConn, Target: k.ID, Code: codeCarry, Data: []byte(k.Number + "\n" + kind + "\n" + frame), Unkept: true,
	}})
}

// took notes that the carrier has taken n collected bytes, as a frame of so many.
func (s *session) took(n, frame int) {
	s.c.Discard(n)
	s.Sent += frame
	s.carried()
}

// carried goes on when the carrier has taken something.
func (s *session) carried() {
	was := s.Away
	s.Away, s.Out = false, 0
	switch {
	case !s.Carrier.Stream:
		s.Carrier = carrier{}
	case s.Sent > maxStream: // nothing may be on its way when the client comes again
		s.Carrier, s.Spent = carrier{}, true
	case !was: // to a stream of this process
		if s.h.moving {
			s.keep()
		}
		s.flush()
		return
	}
	s.follow()
}

// follow gives the session the carrier that waits, if one does, and what there is
// to it.
func (s *session) follow() {
	if next := s.Next; next != (carrier{}) {
		s.Next = carrier{}
		s.attach(next.ID, next.Number, next.Stream)
		return
	}
	s.save()
	s.flush()
}

// over says that a carrier has ended: an answer without anything, or its client
// has left.
func (s *session) over(number string, left bool) {
	switch {
	case s.Next.Number == number:
		s.Next = carrier{}
		s.save()
	case s.Carrier.Number != number || number == "":
	case left:
		s.gone()
	default: // what is on its way comes too late, and waits for the next one
		s.Carrier, s.Away, s.Out = carrier{}, false, 0
		s.follow()
	}
}

// hear takes what the client says, and returns the status of the answer.
func (s *session) hear(messages []string) int {
	pinged := s.Pinged
	if s.Pinged = false; pinged {
		s.save()
	}
	for _, m := range messages {
		switch err := s.c.Hear(worker.Text(m)); err {
		case nil:
		case worker.ErrTooLarge:
			return http.StatusRequestEntityTooLarge
		default:
			return http.StatusNotFound
		}
	}
	if len(messages) == 0 && !pinged && s.Carrier != (carrier{}) && !s.Away {
		s.send("a[]\n", 0, "") // the client wants a word of life; "h" it would answer
	}
	return http.StatusNoContent
}

// notice takes what carriers and requests say to the session.
func (s *session) notice(code uint16, data string) {
	first, rest, _ := strings.Cut(data, "\n")
	second, third, _ := strings.Cut(rest, "\n")
	switch code {
	case codeAttach:
		s.attach(first, second, third == "s")
	case codeHear:
		status := http.StatusBadRequest
		if messages, ok := parseMessages([]byte(third)); ok {
			status = s.hear(messages)
		}
		_ = s.h.w.Publish(first, worker.Text(second+" "+strconv.Itoa(status))) // who asks does not wait for ever
	case codeTaken, codeNotTaken:
		if first != s.Carrier.Number || !s.Away {
			return
		}
		if code == codeTaken {
			s.c.Discard(s.Out)
			s.carried()
			return
		}
		s.Carrier, s.Away, s.Out = carrier{}, false, 0
		s.follow()
	case codeIdle, codeLeft:
		s.over(first, code == codeLeft)
	}
}

// OnCarry is called when a session has something to say, or ends.
func (h *Handler) OnCarry(c *worker.Conn, end *worker.CloseError) {
	s := h.sessionOf(c)
	switch {
	case s == nil:
	case end == nil:
		s.flush()
	default:
		s.sayEnd(end)
	}
}

// sayEnd tells whoever waits, what there is left and the end. Nothing is said behind
// what may be lost.
func (s *session) sayEnd(end *worker.CloseError) {
	frame := closing(int(end.Code), end.Reason)
	if items := s.c.Collected(); len(items) > 0 && !s.Away {
		frame = "a[" + string(items[:len(items)-1]) + "]\n" + frame
	}
	if !s.Opened {
		frame = "o\n" + frame
	}
	for _, k := range []carrier{s.Carrier, s.Next} {
		if k != (carrier{}) {
			_, _ = s.post(k, frame, last) // one that is gone needs no goodbye
		}
	}
	s.Carrier, s.Next = carrier{}, carrier{}
}

// closing is the end of a session, as the client is told.
func closing(code int, reason string) string {
	return "c[" + strconv.Itoa(code) + "," + string(wire.AppendString(nil, reason)) + "]\n"
}
