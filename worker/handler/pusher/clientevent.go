package pusher

import (
	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
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
	case !h.events.take(c, a.ClientEventRate, a.ClientEventRate):
		h.complain(c, wire.CodeClientRate, "client events come too fast")
	default:
		from := member(c, m.Channel)
		data := wire.RawEvent(m.Event, m.Channel, m.Data, from)
		list := append(a.mirrored([]string{m.Channel}, m.Event, m.Data, c.ID()), worker.ChannelMessage{
			Channel: name, Message: worker.Message{Data: data}, Except: []string{c.ID()},
			Unkept: wire.IsCache(m.Channel), // it remembers the last event of the server
		})
		if err := h.w.PublishAll(list); err != nil {
			h.complain(c, 0, "the event was not sent: try again")
			return
		}
		h.hook(a, hook.Event{
			Name: "client_event", Channel: m.Channel, Event: m.Event, Data: string(m.Data), SocketID: c.ID(), UserID: from.ID, Number: from.Number,
		})
	}
}
