package pusher

import (
	"errors"
	"strings"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
	"github.com/pushd/pushd/worker/handler/pusher/keeper"
)

// A subscription that waits for the keeper's answer is a channel of its own: so
// it counts, is shown, and moves to the next process like any other.
const waiting = "?"

// subscription returns the channel of a subscription, whose name is on the bus,
// and whether it is granted. Memberships that the API has made are none.
func (a *app) subscription(name string) (channel string, granted, ok bool) {
	name, pending := strings.CutPrefix(name, waiting)
	id, channel := keeper.Split(name)
	return channel, !pending, id == a.ID && channel != ""
}

// kept reports whether the keeper has to grant a channel.
func kept(channel string) bool { return wire.IsPresence(channel) }

// request asks the keeper for a channel that only it can grant.
func (h *Handler) request(c *worker.Conn, name string, m wire.Member) {
	c.Join(waiting + name)
	h.keeper.Join(c.ID(), name, m)
}

// OnService acts on what the keeper says to a connection. It runs at the
// keeper's place in the order of the channel's events, and may do so before
// OnResume.
func (h *Handler) OnService(c *worker.Conn, n worker.Notice) (send bool) {
	if n.Code >= codeAttach {
		h.carryNotice(c, n)
		return false
	}
	a := h.app(c)
	if a == nil {
		return false
	}
	switch n.Code {
	case keeper.CodeSubscribed, keeper.CodeCached, keeper.CodeRefused:
	case keeper.CodeTerminated:
		endUser(c, n.Message)
		return false
	default:
		return false // of a later version
	}
	if !c.InChannel(waiting + n.Target) {
		return false // the client has left meanwhile, or has been answered
	}
	c.Leave(waiting + n.Target)
	_, channel := keeper.Split(n.Target)
	if n.Code == keeper.CodeRefused {
		h.keeper.Leave(c.ID(), n.Target)
		forgetMember(c, channel)
		_ = c.Set(recoverKey+channel, "")
		return true
	}
	h.keeper.Admitted(c.ID(), n.Target, told(c, channel, n.Message.Data))
	h.join(c, a, n.Target)
	if n.Code == keeper.CodeSubscribed {
		return h.past(c, n, channel)
	}
	_, _ = worker.EachMessage(n.Message.Data, func(m []byte) { _ = c.Send(worker.Message{Data: m}) }) // what fails has closed it
	return false
}

// carryNotice is a word between a session and what carries it.
func (h *Handler) carryNotice(c *worker.Conn, n worker.Notice) {
	switch s := (*session)(nil); {
	case isCarrier(c):
		h.carry(c, n.Message.String())
	case isSession(c):
		if s = h.sessionOf(c); s != nil {
			s.notice(n.Code, n.Message.String())
		}
	}
}

// join makes the connection a member of a channel of its app.
func (h *Handler) join(c *worker.Conn, a *app, name string) {
	c.Join(name)
	h.count(a, name)
}

// leave ends a subscription, granted or not, and reports whether there was one.
func (h *Handler) leave(c *worker.Conn, a *app, channel string) bool {
	name := a.channel(channel)
	was := c.InChannel(name)
	if !was && !c.InChannel(waiting+name) {
		return false
	}
	c.Leave(waiting + name)
	c.Leave(name)
	if kept(channel) {
		h.keeper.Leave(c.ID(), name)
		forgetMember(c, channel)
		_ = c.Set(recoverKey+channel, "")
	}
	if was {
		h.count(a, name)
	}
	return true
}

// count tells the keeper of a channel that has changed, where the app wants its
// subscriptions counted.
func (h *Handler) count(a *app, name string) {
	if _, channel := keeper.Split(name); a.counted && isChannel(channel) {
		h.keeper.Count(name)
	}
}

// isChannel reports whether a name is that of a channel, which those of users
// and of whatever else /v1 can join are not.
func isChannel(name string) bool { return name != "" && name[0] != '#' }

// resume tells the keeper what has come with a connection from the process
// before.
func (h *Handler) resume(c *worker.Conn, a *app) {
	if u := h.user(c); u.ID != "" {
		h.keeper.SignedIn(c.ID(), a.uid(u.ID), u.Watchlist)
	}
	for _, name := range c.Channels() {
		channel, granted, ok := a.subscription(name)
		switch {
		case !ok:
		case !granted && !kept(channel): // the join moves by itself, but one that a keeper of before had to grant
			if own := a.channel(channel); !c.Joining(own) {
				h.recall(c, own, worker.Last(1))
			}
		case !granted:
			h.request(c, a.channel(channel), member(c, channel))
		default:
			if m := member(c, channel); m.ID != "" {
				h.keeper.Have(c.ID(), name, m)
			}
			if a.counted && isChannel(channel) {
				h.keeper.CountBrought(name)
			}
		}
	}
}

// end tells the keeper that the connection is gone.
func (h *Handler) end(c *worker.Conn, a *app) {
	for _, name := range c.Channels() {
		if channel, _, ok := a.subscription(name); ok {
			h.leave(c, a, channel)
		}
	}
	h.keeper.Signout(c.ID())
}

// hook queues an event for the app's webhooks, if one wants it. What is not
// taken is counted by the broker client.
func (h *Handler) hook(a *app, e hook.Event) {
	if a.Hooks(e.Name) {
		_ = h.keeper.Hook(a.ID, e)
	}
}

// closeAbnormal stands for the end of a stream without a close frame.
const closeAbnormal = 1006

// connected and disconnected tell of the two ends of a connection.
func (h *Handler) connected(c *worker.Conn, a *app) {
	h.hook(a, hook.Event{Name: "connected", SocketID: c.ID(), Seq: 1, TimeMS: time.Now().UnixMilli()})
}

func (h *Handler) disconnected(c *worker.Conn, a *app, err error) {
	if !a.Hooks("disconnected") {
		return
	}
	e := hook.Event{Name: "disconnected", SocketID: c.ID(), Seq: 2, TimeMS: time.Now().UnixMilli(), UserID: h.user(c).ID, Code: 1000}
	var closed *worker.CloseError
	switch {
	case errors.As(err, &closed) && closed.Code != closeAbnormal:
		e.Code = int(closed.Code)
	case errors.Is(err, worker.ErrTimeout):
		e.Code = wire.CodeNoPong
	case err != nil:
		e.Code = 0 // it broke off
	}
	h.hook(a, e)
}
