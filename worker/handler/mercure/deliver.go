package mercure

import (
	"time"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// last is the event that was read last: it is delivered to many.
type last struct {
	data   []byte
	event  *wire.Event
	topics []wire.Topic
	id     string // of the newest that has come, see list
}

// eventOf returns the event in a message, nil if it is none.
func (h *Handler) eventOf(p *worker.Published) *wire.Event {
	l := &h.last
	if data := p.Message.Data; len(data) == len(l.data) && len(data) > 0 && &data[0] == &l.data[0] {
		return l.event
	}
	l.data, l.event, l.topics = p.Message.Data, nil, nil
	if e, err := wire.ParseEvent(p.Message.Data); err == nil {
		l.event, l.topics = &e, h.hub.Topics(e.Topics)
	}
	return l.event
}

// audience looks up who gets an event, and answers whoever has published it.
func (h *Handler) audience(p *worker.Published) (list []*worker.Conn, all bool) {
	e := h.eventOf(p)
	if e == nil {
		return nil, false
	}
	id := idOf(p, e)
	h.last.id = id
	h.published(e.ID, id)
	if len(h.subs.of) != h.w.CountMembers(h.channel()) {
		return nil, true // some have come from another process and are not known yet
	}
	return h.subs.audience(e, h.last.topics), false
}

// OnFilter reports whether a subscriber gets an event.
func (h *Handler) OnFilter(c *worker.Conn, p *worker.Published) bool {
	e, s := h.eventOf(p), h.subscriberOf(c)
	return e != nil && s != nil && s.judge(e, h.last.topics)
}

// OnEvent words an event, once for all that get it.
func (h *Handler) OnEvent(p *worker.Published) worker.Event {
	e := h.eventOf(p)
	if e == nil {
		return worker.Event{}
	}
	out := worker.Event{ID: idOf(p, e), Type: e.Type, Retry: time.Duration(e.Retry) * time.Millisecond, Data: []byte(e.Data)}
	if p.Partial {
		out.ID = "" // it would come back behind what it has not got yet
	}
	return out
}

// idOf is the id of an event: its place among all, or where there are none, the
// one that was made for it.
func idOf(p *worker.Published, e *wire.Event) string {
	if p.Position == (history.Position{}) {
		return e.ID
	}
	return eventID(p.Position)
}
