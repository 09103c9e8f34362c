package mercure

import (
	"errors"
	"io"
	"net/http"
	"time"

	prothttp "github.com/pushd/pushd/protocol/http"
	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
)

// maxData bounds the data of an update; a publication carries 1 MiB, in JSON.
const maxData = 512 << 10

// publish takes an update.
func (h *Handler) publish(w *worker.Response, r *worker.Request) {
	a, ok := h.admit(w, r)
	if !ok {
		return
	}
	if !a.token {
		h.challenge(w, r, http.StatusUnauthorized, "", "a token is needed to publish: Authorization: Bearer, or the cookie "+h.opt.Cookie)
		return
	}
	if a.cookie && !sameSite(w, r) {
		h.challenge(w, r, http.StatusForbidden, "insufficient_scope", "this page may not publish by a cookie: `origins` of the route does not name its origin")
		return
	}
	if err := wire.CheckMedia(r.Header.Get("Content-Type")); err != nil {
		fail(w, http.StatusUnsupportedMediaType, err.Error())
		return
	}
	if prothttp.Encoded(r.Header) {
		w.Header().Set("Accept-Encoding", "identity") // RFC 9110, 15.5.16
		fail(w, http.StatusUnsupportedMediaType, "Content-Encoding: the body must not be compressed")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		fail(w, http.StatusBadRequest, "the body could not be read")
		return
	}
	u, err := h.hub.ParseUpdate(string(body), maxData)
	switch {
	case errors.Is(err, wire.ErrSize):
		fail(w, http.StatusRequestEntityTooLarge, err.Error())
	case err != nil:
		fail(w, http.StatusBadRequest, err.Error())
	case !a.grants.MayPublish(h.hub.Topics(u.Topics)):
		h.challenge(w, r, http.StatusForbidden, "insufficient_scope", "the token does not let you publish to all of these topics")
	default:
		h.dispatch(w, &u)
	}
}

// dispatch sends an update on its way. The answer is its id, which is the place
// that it takes among all; so it is given when the update has come back.
func (h *Handler) dispatch(w *worker.Response, u *wire.Update) {
	e := u.Event(wire.NewID())
	if err := h.send(&e); err != nil {
		status := statusOf(err)
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		fail(w, status, "the update was not sent: "+err.Error())
		return
	}
	h.pending[e.ID] = w
	w.Defer()
	doubt := h.w.After(doubtWait, func() { h.doubted(e.ID) })
	w.WhenOver(func() { doubt.Stop(); delete(h.pending, e.ID) })
}

// doubtWait is how long an update may take to come back. One that has not may be
// lost with the broker process, or come yet.
const doubtWait = 5 * time.Second

// doubted answers whoever has sent an update that does not come back.
func (p *process) doubted(event string) {
	if w := p.pending[event]; w != nil {
		delete(p.pending, event)
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "it is not known whether the update was sent: try again")
		w.End()
	}
}

func statusOf(err error) int {
	if errors.Is(err, worker.ErrTooLarge) || errors.Is(err, errEvent) {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusServiceUnavailable
}

// send publishes an event to the hub's channel, and to the channels of the app
// that its topics are.
func (h *Handler) send(e *wire.Event) error {
	events, err := h.bridged(e)
	if err != nil {
		return err
	}
	list := []worker.ChannelMessage{{Channel: h.channel(), Message: worker.Message{Data: e.Append(nil)}}}
	return h.w.PublishAll(append(list, events...))
}

// published answers whoever has sent the event.
func (p *process) published(event, id string) {
	w := p.pending[event]
	if w == nil {
		return
	}
	delete(p.pending, event)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.WriteString(id)
	w.End()
}
