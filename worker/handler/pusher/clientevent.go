package pusher

import (
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
	"github.com/pushd/pushd/worker/handler/pusher/wire"
)

// clientEvent passes on what a client says to the other members of a channel.
func (h *Handler) clientEvent(c *worker.Conn, a *app, m wire.Message) {
	name := a.channel(m.Channel)
	switch {
	case !a.ClientEvents:
		h.complain(c, 0, "the app has client events switched off")
	case !wire.TakesClientEvents(m.Channel) || !c.InChannel(name):
		h.complain(c, 0, "client events need a subscription to a private or presence channel")
	case a.MaxEvent > 0 && len(m.Data) > a.MaxEvent:
		h.complain(c, 0, "the event's data is too long")
	case !h.withinRate(c, a.ClientEventRate):
		h.complain(c, wire.CodeClientRate, "client events come too fast")
	default:
		data := wire.RawEvent(m.Event, m.Channel, m.Data, member(c, m.Channel).ID)
		if err := h.w.Publish(name, worker.Message{Data: data}, worker.Except(c)); err != nil {
			h.complain(c, 0, "the event was not sent: try again")
			return
		}
		h.hook(a, hook.Event{
			Name: "client_event", Channel: m.Channel, Event: m.Event, Data: string(m.Data), SocketID: c.ID(), UserID: member(c, m.Channel).ID,
		})
	}
}

// bucket holds what a connection may send at once; it fills up in a second.
type bucket struct {
	left float64
	at   time.Time
}

// bucketsKept is how long the bucket of a connection that sends no more is kept.
const bucketsKept = 5 * time.Second

// withinRate counts a client event. Only connections that have sent one in the
// last seconds have a bucket; after a reload it is full again.
func (p *process) withinRate(c *worker.Conn, rate int) bool {
	if rate == 0 {
		return true
	}
	now := time.Now()
	b, ok := p.buckets[c]
	if !ok {
		if len(p.buckets) == 0 {
			p.w.After(bucketsKept, p.dropBuckets)
		}
		b = bucket{float64(rate), now}
	}
	b.left = min(float64(rate), b.left+now.Sub(b.at).Seconds()*float64(rate))
	b.at = now
	ok = b.left >= 1
	if ok {
		b.left--
	}
	p.buckets[c] = b
	return ok
}

// dropBuckets forgets the full ones.
func (p *process) dropBuckets() {
	old := time.Now().Add(-time.Second)
	for c, b := range p.buckets {
		if b.at.Before(old) {
			delete(p.buckets, c)
		}
	}
	if len(p.buckets) > 0 {
		p.w.After(bucketsKept, p.dropBuckets)
	}
}
