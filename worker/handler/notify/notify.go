// Package notify is the handler "notify": a client logs in with a token and
// listens; a back end pushes to its user id, its channels or its connection.
package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/login"
	"github.com/pushd/pushd/worker/handler/past"
)

func init() { worker.RegisterHandler("notify", New) }

// Options of the route.
type Options struct {
	login.Options
	past.Access
}

// Handler is one notify route.
type Handler struct {
	opt  Options
	door *login.Door
}

// New makes a handler of its options.
func New(o worker.Options) (worker.Handler, error) {
	h := &Handler{}
	if err := o.Decode(&h.opt); err != nil {
		return nil, err
	}
	if !h.opt.Any() && !h.opt.Anonymous {
		return nil, errors.New(`needs options = { secret = "…" }, or public_key or jwks, or anonymous = true to let everyone in`)
	}
	var err error
	if h.door, err = login.New(h.opt.Options); err != nil {
		return nil, err
	}
	if err := h.opt.Access.Check(h.open()); err != nil {
		return nil, err
	}
	return h, nil
}

// OnWorkerStart fetches keys that come from a URL.
func (h *Handler) OnWorkerStart(*worker.Worker) error {
	h.door.Start()
	return nil
}

// open reports whether clients without a token get into channels.
func (h *Handler) open() bool { return h.opt.Anonymous && len(h.opt.Channels) > 0 }

// OnHandshake lets in whoever has a good token.
func (h *Handler) OnHandshake(c *worker.Conn, hs *worker.Handshake) {
	query := hs.Query()
	hs.ForgetQuery()
	h.admit(c, hs, query, h.opt.Ask)
}

// OnRequest is for clients without WebSocket: a stream of events, or long polls.
func (h *Handler) OnRequest(w *worker.Response, r *worker.Request) {
	if !w.AllowOrigin(r, "GET") {
		return
	}
	query := r.Query()
	r.ForgetQuery()
	v := login.Request{W: w, R: r}
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", "GET, OPTIONS")
		v.Refuse(http.StatusMethodNotAllowed, "only GET")
	case query.Has("poll"):
		h.poll(w, v, query)
	case !r.AsksForEvents():
		w.Header().Set("Upgrade", "websocket")
		v.Refuse(http.StatusUpgradeRequired, "this path speaks WebSocket, server-sent events to those who accept text/event-stream, and long polls: ?poll=25s")
	case h.admit(w.Conn(), v, query, h.opt.AskEvents):
		w.Stream()
	}
}

// maxPoll is as long as a poll may wait; proxies give up after a minute.
const maxPoll = 5 * time.Minute

// poll makes the request wait for a message.
func (h *Handler) poll(w *worker.Response, v login.Request, query url.Values) {
	d, err := time.ParseDuration(query.Get("poll"))
	if err != nil || d < time.Second || d > maxPoll {
		v.Refuse(http.StatusBadRequest, "poll: a duration from 1s to 5m")
		return
	}
	if h.admit(w.Conn(), v, query, h.opt.Ask) {
		w.Conn().SetPositions(true) // of the recovery, too
		w.Poll(d)
	}
}

// admit lets in whoever has a good token, and keeps for OnConnect what that says
// and what was asked for. With false it has refused the visitor.
func (h *Handler) admit(c *worker.Conn, v login.Visitor, query url.Values, ask asker) bool {
	claims, ok := h.door.Admit(c, v, query)
	if !ok {
		return false
	}
	after, ok := ask(c, v, query, h.open())
	if !ok {
		return false
	}
	s, err := json.Marshal(session{UID: claims.Subject, Channels: claims.Channels, Hello: query.Get("hello") == "1", After: after})
	if err == nil && string(s) != "{}" {
		err = c.Set(sessionKey, string(s))
	}
	if err != nil {
		login.TooLarge(v)
	}
	return err == nil
}

// asker is past.Access.Ask, or what takes its place.
type asker func(c *worker.Conn, v past.Visitor, query url.Values, open bool) (after string, ok bool)

// session carries the login from the handshake to OnConnect, which may run
// later and elsewhere.
type session struct {
	UID      string   `json:"u,omitempty"`
	Channels []string `json:"c,omitempty"`
	Hello    bool     `json:"h,omitempty"`
	After    string   `json:"a,omitempty"` // position
}

const sessionKey = "notify"

// OnConnect binds the user and joins the channels.
func (h *Handler) OnConnect(c *worker.Conn) {
	var s session
	if raw := c.Get(sessionKey); raw != "" {
		_ = json.Unmarshal([]byte(raw), &s)
		_ = c.Set(sessionKey, "")
	}
	if s.UID != "" {
		c.Bind(s.UID)
	}
	for _, name := range h.opt.Channels {
		h.opt.Join(c, name, s.After, h.opt.Anonymous)
	}
	for _, name := range s.Channels {
		h.opt.Join(c, name, s.After, false)
	}
	h.opt.Place(c, s.After, h.open())
	h.door.Watch(c)
	if s.Hello {
		_ = c.SendText(fmt.Sprintf(`{"id":%q}`, c.ID()))
	}
}

// OnRecovery tells of a join with history.
func (h *Handler) OnRecovery(c *worker.Conn, r *worker.Recovery) { past.Tell(c, r) }

// OnPosition makes a message for clients that are told positions.
func (h *Handler) OnPosition(p *worker.Published) worker.Message { return past.Message(p) }

// OnEvent makes the event for clients of streams. Where the history is not public
// its positions are of no use to them.
func (h *Handler) OnEvent(p *worker.Published) worker.Event {
	p.Partial = p.Partial || h.open() && !h.opt.PublicHistory
	return past.Event(p)
}

// OnResume goes on watching a connection that came from another process.
func (h *Handler) OnResume(c *worker.Conn) { h.door.Watch(c) }

// OnClose ends the watch.
func (h *Handler) OnClose(c *worker.Conn, _ error) { h.door.Forget(c) }
