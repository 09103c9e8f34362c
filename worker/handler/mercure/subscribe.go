package mercure

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// session is what a stream is subscribed to and may read, as a session value, which
// moves with the connection.
type session struct {
	Query      string          `json:"q"`           // as it was asked for
	Details    json.RawMessage `json:"d,omitempty"` // that grant something
	Legacy     bool            `json:"l,omitempty"`
	Subscriber string          `json:"s,omitempty"`
	End        int64           `json:"e,omitempty"` // Unix seconds
	After      string          `json:"a,omitempty"` // see catchUp
	Kept       bool            `json:"k,omitempty"` // likewise
}

const sessionKey = "mercure"

// maxSession bounds the session value of a stream.
const maxSession = 48 << 10

// subscribe begins a stream.
func (h *Handler) subscribe(w *worker.Response, r *worker.Request) {
	a, ok := h.admit(w, r)
	if !ok {
		return
	}
	if !a.token && !h.opt.Anonymous {
		h.challenge(w, r, http.StatusUnauthorized, "", "a token is needed here: Authorization: Bearer, or the cookie "+h.opt.Cookie)
		return
	}
	r.ForgetQuery() // what counts of it is in the session
	sub, err := h.hub.ParseQuery(r.URL.RawQuery)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	s := session{Query: sub.Query(), Details: a.details, Legacy: a.legacy, Subscriber: wire.NewID()}
	if a.expires != 0 {
		s.End = lifetime(h.w.Now(), a.expires, rand.Int64N)
	}
	last, asked := sub.LastEventID, sub.Asked
	if header := r.Header.Values("Last-Event-ID"); len(header) > 0 {
		last, asked = header[0], true
	}
	if !asked {
		h.begin(w, &s)
		return
	}
	h.resume(w, &s, last)
}

// begin makes the answer a stream.
func (h *Handler) begin(w *worker.Response, s *session) {
	b, err := json.Marshal(s)
	if err == nil && len(b) > maxSession {
		err = errors.New("the matchers and what the token grants take too much together")
	}
	if err == nil {
		err = w.Conn().Set(sessionKey, string(b))
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "the subscription was not made: "+err.Error())
		w.End()
		return
	}
	_, _ = w.WriteString(":\n") // a line, so that clients and proxies see that it has begun
	if !w.Stream() {            // HEAD: the connection goes on, perhaps for somebody else
		_ = w.Conn().Set(sessionKey, "")
	}
}

// resume begins a stream behind the event that the client had last. What it is
// told of that has to be in the header, so the history is asked first. What that
// cannot say yet is for catchUp to find out, behind the same event.
func (h *Handler) resume(w *worker.Response, s *session, last string) {
	after, err := history.Parse(trimID(last)) // "earliest" is none
	if err != nil || after == (history.Position{}) {
		h.beginBehind(w, s, wire.Earliest, wire.Earliest)
		return
	}
	w.Defer()
	h.w.History(worker.HistoryQuery{Channel: h.channel(), After: after, Limit: 1}, func(page worker.HistoryPage, err error) {
		if err != nil || page.Reason == "" || h.isAhead(page.Reason) {
			h.beginBehind(w, s, last, after.String())
		} else {
			h.beginBehind(w, s, wire.Earliest, wire.Earliest)
		}
	})
}

// beginBehind begins a stream behind the event with the id last, which is at the
// position after; both may be "earliest".
func (h *Handler) beginBehind(w *worker.Response, s *session, last, after string) {
	s.After = after
	w.Header().Set("Mercure-Last-Event-ID", last)
	if h.opt.Compat { // as 0.x calls it
		w.Header().Set("Last-Event-ID", last)
	}
	h.begin(w, s)
}

// eventID is the id of what stands at a position; trimID undoes it.
func eventID(p history.Position) string { return "#" + p.String() }

func trimID(id string) string {
	if len(id) > 0 && id[0] == '#' {
		return id[1:]
	}
	return "-" // no id of ours
}

// OnConnect joins the hub's channel.
func (h *Handler) OnConnect(c *worker.Conn) {
	s := h.subscriberOf(c)
	if s == nil {
		c.Close(1011, "no session")
		return
	}
	if after, _ := h.after(c); after == "" {
		c.Join(h.channel(), worker.JoinOption{})
	}
	h.catchUp(s)
	h.ends.watch(h.w, c, s.end)
	h.announce(s, true)
}

// OnResume takes up a stream that came from another process. One whose session this
// version does not take, such as a pattern that another one took, is ended rather
// than left to hear nothing.
func (h *Handler) OnResume(c *worker.Conn) {
	s := h.subscriberOf(c)
	if s == nil {
		h.log.Warn("a stream that came from another process cannot be read: it is ended", "connection", c.ID())
		c.Close(1011, "no session")
		return
	}
	h.ends.watch(h.w, c, s.end)
	h.enroll(s, true)
	h.catchUp(s)
}

// OnClose ends its subscriptions.
func (h *Handler) OnClose(c *worker.Conn, _ error) {
	if s := h.subs.forget(c); s != nil {
		h.ends.forget(c, s.end)
		h.announce(s, false)
	}
}

// OnRecovery tells a client where it is, so that it comes back to the right place
// though nothing has happened since.
func (h *Handler) OnRecovery(c *worker.Conn, r *worker.Recovery) {
	r.Send()
	if r.Reason == history.Off {
		return
	}
	if !r.Recovered() {
		if r.Reason != history.OtherEpoch || r.Again {
			h.log.Warn("a subscriber has lost events", "reason", r.Reason.String(), "connection", c.ID())
		}
		tellLoss(c, r.Reason.String(), eventID(r.Position))
	}
	_ = c.SendEvent(worker.Event{ID: eventID(r.Position)})
}

// tellLoss tells a client that some of what it was to get cannot be had, and by the id
// where it comes back to: with the one that it had it would be told so again.
func tellLoss(c *worker.Conn, reason, id string) {
	_ = c.SendEvent(worker.Event{ID: id, Type: "pushd:lost", Data: []byte(`{"reason":` + strconv.Quote(reason) + `}`)})
}
