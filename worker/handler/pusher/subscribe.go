package pusher

import (
	"encoding/json"
	"net/http"
	"strings"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// refusal is why a subscription is not granted: what the client is told, and
// what only the log says.
type refusal struct {
	kind, message string
	status        int
	reason        string // "" = not logged
}

func forged(reason string) *refusal {
	return &refusal{"AuthError", "the subscription is not authorized", http.StatusUnauthorized, reason}
}

func malformed(message string) *refusal {
	return &refusal{"InvalidData", message, http.StatusBadRequest, ""}
}

// subscribe obeys pusher:subscribe.
func (h *Handler) subscribe(c *worker.Conn, a *app, data json.RawMessage) {
	if !h.mayChange(c, a) {
		h.complain(c, wire.CodeClientRate, "subscriptions come too fast")
		return
	}
	s, err := wire.ParseSubscribe(data)
	if err != nil {
		h.complain(c, 0, err.Error())
		return
	}
	var m wire.Member
	no := h.judge(c, a, s, &m)
	if no == nil {
		no = h.enter(c, a, s, m)
	}
	if no == nil {
		return
	}
	if no.reason != "" {
		h.refuse(c, no.reason, "app", a.ID, "channel", clip(s.Channel), "connection", c.ID())
	}
	_ = c.Send(worker.Message{Data: wire.SubscriptionError(clip(s.Channel), no.kind, no.message, no.status)})
}

// judge says why the connection may not have the channel, nil if it may. It
// fills in who the connection is in a presence channel.
func (h *Handler) judge(c *worker.Conn, a *app, s wire.Subscribe, m *wire.Member) *refusal {
	if strings.HasPrefix(s.Channel, "#") {
		if user, ok := wire.UserOf(s.Channel); !ok || user != h.user(c).ID {
			return forged("the channel is another user's")
		}
		return nil
	}
	if !wire.ValidChannel(s.Channel) {
		return &refusal{"InvalidChannel", "the channel's name is not valid", http.StatusBadRequest, "the channel's name is not valid"}
	}
	if !wire.NeedsAuth(s.Channel) {
		return nil
	}
	if !wire.VerifyAuth(a.Key, a.Secret, wire.ChannelText(c.ID(), s.Channel, s.ChannelData), s.Auth) {
		return forged("the subscription's signature is wrong")
	}
	if wire.IsPresence(s.Channel) {
		return h.identify(c, a, s.ChannelData, m)
	}
	return nil
}

// identify fills in who the connection is in a presence channel: whom its back
// end has signed, else who has signed in.
func (h *Handler) identify(c *worker.Conn, a *app, channelData string, m *wire.Member) *refusal {
	if channelData == "" {
		if *m = h.user(c).Member; m.ID == "" {
			return malformed("channel_data is needed, or a sign-in before")
		}
		return nil
	}
	var err error
	if *m, err = wire.ParseMember(channelData, a.MaxMember); err != nil {
		return malformed(err.Error())
	}
	return nil
}

// enter subscribes the connection.
func (h *Handler) enter(c *worker.Conn, a *app, s wire.Subscribe, m wire.Member) *refusal {
	channel, name := s.Channel, a.channel(s.Channel)
	if !c.InChannel(name) && a.MaxChannels > 0 && a.countChannels(c) >= a.MaxChannels {
		return &refusal{"LimitReached", "the connection has too many channels", http.StatusForbidden, "the connection is at max_channels"}
	}
	if kept(channel) {
		if c.InChannel(name) || c.InChannel(waiting+name) {
			return &refusal{"InvalidData", "the connection has subscribed to the channel already", http.StatusBadRequest, ""}
		}
		if setMember(c, channel, m) != nil || h.keepRecover(c, channel, s.Recover) != nil {
			forgetMember(c, channel)
			return &refusal{"LimitReached", "the connection has too much presence data", http.StatusForbidden, "the connection's session values are full"}
		}
		h.request(c, name, m)
		return nil
	}
	if c.InChannel(waiting + name) {
		return nil // it will be answered
	}
	if !c.InChannel(name) {
		if from, ok := h.from(c, name, s.Recover); ok {
			h.recall(c, name, from)
			return nil
		}
		h.join(c, a, name)
	}
	_ = c.Send(worker.Message{Data: wire.Succeeded(channel)})
	if wire.IsCache(channel) {
		h.miss(c, a, channel) // the config keeps nothing of it
	}
	return nil
}

// mayChange counts a change of subscriptions. A client that connects again
// subscribes at once to all that it had.
func (h *Handler) mayChange(c *worker.Conn, a *app) bool {
	return h.subscriptions.take(c, a.SubscriptionRate, max(a.SubscriptionRate, a.MaxChannels))
}

// unsubscribe obeys pusher:unsubscribe, which has no answer. It counts, but is
// never refused: each needs a subscription before.
func (h *Handler) unsubscribe(c *worker.Conn, a *app, data json.RawMessage) {
	s, err := wire.ParseSubscribe(data)
	if err != nil {
		h.complain(c, 0, err.Error())
		return
	}
	h.mayChange(c, a)
	if h.leave(c, a, s.Channel) {
		a.keepProof(c, s.Channel)
	}
}
