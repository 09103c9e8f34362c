package login

import (
	"net/http"

	"github.com/pushd/pushd/worker"
)

// Request is a visitor who comes by a plain request, for a stream or a poll.
type Request struct {
	W *worker.Response
	R *worker.Request
}

// Header returns the first header of that name, or "".
func (r Request) Header(name string) string { return r.R.Request.Header.Get(name) }

// Cookie returns the value of a cookie, or "".
func (r Request) Cookie(name string) string {
	c, err := r.R.Request.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// Subprotocols returns none.
func (Request) Subprotocols() []string { return nil }

// Refuse answers with a status and a short text.
func (r Request) Refuse(status int, text string) {
	r.W.Header().Set("Content-Type", "text/plain; charset=utf-8")
	r.W.WriteHeader(status)
	_, _ = r.W.WriteString(text + "\n")
}

// expired is what a client of a stream is told when its token has expired. Its
// browser comes back by itself, and would never again after a status of 401: the
// page gets the event, and a new token.
var expired = worker.Event{Type: "pushd:expired", Data: []byte("{}")}

// turnAway tells one whose token has expired so, if he wants a stream.
func (r Request) turnAway() bool {
	if !r.R.AsksForEvents() || r.R.Method != http.MethodGet {
		return false
	}
	r.W.TurnAway(expired)
	return true
}
