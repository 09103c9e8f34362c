package pusher

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// pusher-js where no WebSocket gets through: it posts for what it is to hear, by a
// stream (xhr_streaming) or one answer after the other (xhr), and posts what it has
// to say (xhr_send). All three name a session, which the client draws.
//
// A session is a carried connection (session.go): it stays in the process in which
// it was opened, which each of the requests may miss. One that carries what the
// client hears is a carrier (carrier.go), wherever it is.

// ways are the last part of a fallback's path.
const (
	wayStream = "xhr_streaming"
	wayPoll   = "xhr"
	waySend   = "xhr_send"
)

// fallback is a request of a client without WebSocket:
// PREFIX/app/KEY/SERVER/SESSION/WAY.
type fallback struct {
	base string // PREFIX/app/KEY
	key  string
	name string // SERVER/SESSION
	way  string
}

// Sizes of names that clients may choose. pusher-js draws 50 bits: up to 3 digits
// and 8 letters.
const (
	minSession = 8
	maxSession = 64
	maxServer  = 16
)

// findFallback takes a path apart.
func findFallback(path string) (f fallback, ok bool) {
	rest, way := cutLast(path)
	rest, session := cutLast(rest)
	base, server := cutLast(rest)
	prefix, key := cutLast(base)
	if way != wayStream && way != wayPoll && way != waySend || key == "" || !strings.HasSuffix(prefix, "/app") {
		return fallback{}, false
	}
	ok = len(session) >= minSession && len(session) <= maxSession && isWord(session) && len(server) <= maxServer && isWord(server)
	return fallback{base: base, key: key, name: server + "/" + session, way: way}, ok
}

func cutLast(path string) (before, last string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", ""
	}
	return path[:i], path[i+1:]
}

func isWord(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// channel is where the session is reached, wherever it is. No client can join it.
func (f fallback) channel(a *app) string { return carriedBy + a.ID + ":" + f.name }

const carriedBy = "~"

// serveFallback answers such a request.
func (h *Handler) serveFallback(w *worker.Response, r *worker.Request, f fallback) {
	if !w.AllowOrigin(r, http.MethodPost) {
		return
	}
	query := r.Query()
	r.ForgetQuery()
	a := h.byKey[f.key]
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST, OPTIONS")
		answer(w, http.StatusMethodNotAllowed, "this path takes POST")
	case f.way == waySend && a == nil:
		answer(w, http.StatusNotFound, "there is no app of this key")
	case f.way == waySend:
		h.heard(w, r, f.channel(a))
	default:
		k := &carrying{h: h, w: w, a: a, fallback: f, recover: query.Get("recover") == "1"}
		if bye := h.admissible(w.Conn(), a, query); bye != nil {
			k.turnAway(bye)
			return
		}
		k.channel = f.channel(a)
		k.find()
	}
}

// answer ends a request in words for people.
func answer(w *worker.Response, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	if text != "" {
		_, _ = w.WriteString(text + "\n")
	}
	w.End()
}

// away answers who is to try again.
func away(w *worker.Response, why string) {
	w.Header().Set("Retry-After", "1")
	answer(w, http.StatusServiceUnavailable, why)
}

// What a client says waits no longer for its session.
const (
	hearWait = 5 * time.Second
	lookWait = 500 * time.Millisecond
)

// heard gives what a client says to its session and answers when that has taken it
// in: so of two requests, one after the other, the order is kept.
func (h *Handler) heard(w *worker.Response, r *worker.Request, channel string) {
	body, err := io.ReadAll(r.Body)
	messages, ok := parseMessages(body)
	switch {
	case err != nil || !ok:
		answer(w, http.StatusBadRequest, "the body is to be a JSON list of strings")
		return
	case h.tooLong(messages):
		answer(w, http.StatusRequestEntityTooLarge, "a message is longer than limits.max_message")
		return
	}
	if s := h.sessions[channel]; s != nil && s.c.Open() {
		heardAnswer(w, s.hear(messages))
		return
	}
	w.Defer()
	q := h.asks.put(w, hearWait)
	if err := h.tell(channel, codeHear, q.from+"\n"+q.id+"\n"+string(body)); err != nil {
		h.asks.answer(q.id, http.StatusServiceUnavailable)
		return
	}
	h.missing(channel, q.id, true)
}

// missing answers 404 when no process has the session. One that is on its way to
// another process may be counted in neither, so it is looked for twice.
func (h *Handler) missing(channel, id string, again bool) {
	h.countMembers([]string{channel}, func(counts []int, complete bool) {
		switch {
		case counts[0] > 0 || !complete:
		case again:
			h.w.After(lookWait, func() { h.missing(channel, id, false) })
		default:
			h.asks.answer(id, http.StatusNotFound)
		}
	})
}

// heardAnswer answers a request of a client that has said something.
func heardAnswer(w *worker.Response, status int) {
	text := ""
	switch status {
	case http.StatusNotFound:
		text = "there is no such session"
	case http.StatusServiceUnavailable:
		away(w, "the session did not take it in: it is not known whether it has got it")
		return
	}
	answer(w, status, text)
}

// parseMessages reads what a client says: a JSON list of strings.
func parseMessages(body []byte) (list []string, ok bool) {
	var raw []json.RawMessage
	if json.Unmarshal(body, &raw) != nil || raw == nil {
		return nil, false
	}
	list = make([]string, len(raw))
	for i := range raw {
		if len(raw[i]) == 0 || raw[i][0] != '"' || json.Unmarshal(raw[i], &list[i]) != nil {
			return nil, false
		}
	}
	return list, true
}

// tooLong reports whether a message is over the limit that holds for all.
func (h *Handler) tooLong(messages []string) bool {
	limit := h.w.Limits.MaxMessage
	for _, m := range messages {
		if limit > 0 && len(m) > limit {
			return true
		}
	}
	return false
}

// admissible says why a client is not let in, before there is a session.
func (h *Handler) admissible(c *worker.Conn, a *app, query map[string][]string) *goodbye {
	switch {
	case c.Full():
		return noPlace
	case a == nil:
		h.refuse(c, "there is no app of this key", "key", clip(keyOf(c.Path())))
		return &goodbye{wire.CodeNoApp, "there is no app of this key"}
	case a.Disabled:
		return &goodbye{wire.CodeDisabled, "the app is disabled"}
	}
	return checkVersion(query)
}

// noPlace makes pusher-js come back in a second.
var noPlace = &goodbye{wire.CodeOverCapacity, "there is no place left, come back later"}

// keyOf returns the key in the path of a session or a request.
func keyOf(path string) string {
	_, rest, _ := strings.Cut(path, "/app/")
	key, _, _ := strings.Cut(rest, "/")
	return key
}
