package pusher

import (
	"slices"

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
		e := hook.Event{
			Name: "client_event", Channel: m.Channel, Event: m.Event, Data: string(m.Data), SocketID: c.ID(), UserID: from.ID, Number: from.Number,
		}
		h.passOn(list, func(problem string) {
			if problem != "" {
				h.complain(c, 0, problem)
				return
			}
			h.hook(a, e)
		})
	}
}

// passOn publishes what a client says, and calls done with "", or with what is told to the
// client. The history that nodes share may refuse a message later, or say nothing of it.
func (h *Handler) passOn(list []worker.ChannelMessage, done func(problem string)) {
	const unsent = "the event was not sent: try again"
	var err error
	if slices.ContainsFunc(list, func(m worker.ChannelMessage) bool { return !m.Unkept && h.w.SharesHistory(m.Channel) }) {
		err = h.w.PublishNumbered(list, func(said []worker.Numbered, all bool) {
			switch {
			case worker.Unkept(said, true) != "":
				done(unsent)
			case !all:
				done("it is not known whether the event was sent")
			default:
				done("")
			}
		})
	} else if err = h.w.PublishAll(list); err == nil {
		done("")
	}
	if err != nil {
		done(unsent)
	}
}
