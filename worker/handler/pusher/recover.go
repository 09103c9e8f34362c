package pusher

import (
	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/channel"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
	"github.com/pushd/pushd/worker/handler/pusher/keeper"
	"github.com/pushd/pushd/worker/history"
)

// Clients that connect with recover=1 are told positions and may come back with
// one. All others get, byte for byte, what they would without history.

// bare is the name that clients know.
func bare(name string) string {
	_, channel := keeper.Split(name)
	return channel
}

// from says how the connection joins a channel, recover being the position that
// it has said; false if at once.
func (h *Handler) from(c *worker.Conn, name, recover string) (worker.JoinOption, bool) {
	policy := h.w.ChannelRules.Of(name)
	switch {
	case recover != "" && c.Positions():
		at, err := history.Parse(recover)
		if err != nil {
			at = history.Position{Epoch: history.Stranger}
		}
		return worker.After(at), true
	case policy.History > 0 && (policy.Mode == channel.Latest || wire.IsCache(bare(name))):
		return worker.Last(1), true
	case policy.History > 0 && c.Positions():
		return worker.JoinOption{}, true
	}
	return worker.JoinOption{}, false
}

// recall joins by way of the history. The subscription waits as those do that
// the keeper grants: as a channel, which counts and moves.
func (h *Handler) recall(c *worker.Conn, name string, from worker.JoinOption) {
	c.Join(waiting + name)
	c.Join(name, from)
}

// keepRecover keeps what a client says that it has of a channel until the keeper
// has granted it. What is no position is as good as another one of a stranger.
func (h *Handler) keepRecover(c *worker.Conn, channel, recover string) error {
	if recover == "" || !c.Positions() {
		return nil
	}
	if _, err := history.Parse(recover); err != nil {
		recover = "?"
	}
	return c.Set(recoverKey+channel, recover)
}

// past gives a connection that the keeper has let into a channel what it may have
// of its history, behind the list in n. It is a member already, so that it hears
// who comes and goes; messages wait for those before them. What it has asked for
// was kept as a session value until now. With send the list is still to be sent.
func (h *Handler) past(c *worker.Conn, n worker.Notice, channel string) (send bool) {
	from, ok := h.from(c, n.Target, c.Get(recoverKey+channel))
	_ = c.Set(recoverKey+channel, "")
	switch {
	case ok:
		c.Join(n.Target, from)
	case wire.IsCache(channel): // the config keeps nothing of it
		_ = c.Send(n.Message)
		h.miss(c, h.app(c), channel)
		return false
	}
	return true
}

// miss tells a new member of a cache channel that there is no last event.
func (h *Handler) miss(c *worker.Conn, a *app, channel string) {
	_ = c.Send(worker.Message{Data: wire.CacheMiss(channel)})
	h.hook(a, hook.Event{Name: "cache_miss", Channel: channel})
}

// OnRecovery confirms a subscription at its place in the channel's events, and
// tells a client that asked for what it has missed whether that was all.
func (h *Handler) OnRecovery(c *worker.Conn, r *worker.Recovery) {
	a := h.app(c)
	if a == nil {
		return
	}
	_, name := keeper.Split(r.Channel)
	switch {
	case r.Again:
	case kept(name): // the keeper has confirmed it
		if c.Positions() && r.After == (history.Position{}) && r.Count == 0 && r.Position.Epoch != 0 {
			_ = c.Send(worker.Message{Data: at(wire.Place(name), r.Position)})
		}
	case !c.InChannel(waiting + r.Channel):
		return
	default:
		c.Leave(waiting + r.Channel)
		h.count(a, r.Channel)
		_ = c.Send(worker.Message{Data: h.succeeded(c, name, r)}) // what fails has closed it
	}
	r.Send()
	known := r.Position.Epoch != 0 // else the newest event comes later, or that there is none
	if wire.IsCache(name) && known && r.Count == 0 && (r.After == (history.Position{}) || !r.Again && !r.Recovered()) {
		h.miss(c, a, name)
	}
	if c.Positions() && r.After != (history.Position{}) {
		frame := wire.Recovered(name, r.Reason.String(), r.Count)
		_ = c.Send(worker.Message{Data: at(frame, r.Position)})
	}
}

// succeeded confirms a subscription. It tells where the client is only if
// nothing is to follow: should the connection end before that has come, the
// client must come back with what it had.
func (h *Handler) succeeded(c *worker.Conn, name string, r *worker.Recovery) []byte {
	frame := wire.Succeeded(name)
	if c.Positions() && r.After == (history.Position{}) && r.Count == 0 {
		frame = at(frame, r.Position)
	}
	return frame
}

// at tells a position, if there is one.
func at(frame []byte, p history.Position) []byte {
	if p.Epoch == 0 {
		return frame
	}
	return wire.At(frame, p.Epoch.String(), p.Offset)
}

// OnPosition makes the event for clients that are told positions.
func (h *Handler) OnPosition(p *worker.Published) worker.Message {
	return worker.Message{Data: at(p.Message.Data, p.Position), Binary: p.Message.Binary}
}
