package pusher

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/history"
)

// outcome is what a back end is told of an event that it has sent.
type outcome struct {
	e        *event
	said     []worker.Numbered // by channel, if the event asks
	channels map[string]channelInfo
}

// order reads what an event asks of the service that numbers.
func (f *fields) order() (*worker.Order, error) {
	if f.Key == nil && f.Version == nil {
		return nil, nil
	}
	o := new(worker.Order)
	if f.Key != nil && (json.Unmarshal(f.Key, &o.Key) != nil || o.Key == "" || len(o.Key) > history.MaxKey) {
		return nil, bad("idempotency_key must be a string of 1 to " + strconv.Itoa(history.MaxKey) + " bytes")
	}
	if f.Version != nil && (json.Unmarshal(f.Version, &o.Version) != nil || o.Version == 0) {
		return nil, bad("version must be a whole number from 1 to 2^64-1")
	}
	return o, nil
}

// send sends events to their channels and calls done on the loop with what the
// answer is to tell. Their bytes are what the clients get. With an error nobody
// gets any, so that a back end can send them again.
func (k *call) send(events []event, done func([]outcome)) error {
	size, asks := 0, false
	for i := range events { // before any of it is made
		size += events[i].size()
		asks = asks || events[i].asks() || slices.ContainsFunc(events[i].channels, func(c string) bool { return k.h.w.SharesHistory(k.a.channel(c)) })
	}
	if size > maxFanout {
		return &fault{http.StatusRequestEntityTooLarge, "the data is over 32 MiB for all channels together: send several requests"}
	}
	known := make([]outcome, len(events))
	for i := range events {
		known[i].e = &events[i]
	}
	list := k.messages(events)
	if !asks {
		return k.assured(func() error { return k.h.w.PublishAll(list) }, func() { k.sent(known, done) })
	}
	k.w.Defer()
	return k.h.w.PublishNumbered(list, func(said []worker.Numbered, all bool) {
		if why := worker.Unkept(said, all); why != "" {
			if keyed(events) {
				why += "; send the events again with the same idempotency_key"
			}
			k.fail(&fault{http.StatusServiceUnavailable, why})
			return
		}
		for i := range known {
			n := len(events[i].channels)
			known[i].said, said = said[:n], said[n:]
		}
		k.sent(known, done)
	})
}

// assured calls done on the loop when what send publishes is with the bus, and answers
// with an error when that is not known.
func (k *call) assured(send func() error, done func()) error {
	k.w.Defer()
	return k.h.w.Assure(send, func(err error) {
		if err != nil {
			k.fail(err)
			return
		}
		done()
	})
}

// keyed reports whether all events can be sent again without harm.
func keyed(events []event) bool {
	for i := range events {
		if events[i].order == nil || events[i].order.Key == "" {
			return false
		}
	}
	return true
}

// messages makes what goes to the channels.
func (k *call) messages(events []event) (list []worker.ChannelMessage) {
	for i := range events {
		e := &events[i]
		for _, channel := range e.channels {
			m := worker.ChannelMessage{Channel: k.a.channel(channel), Except: e.excepts(), Order: e.order}
			m.Data = wire.RawEvent(e.name, channel, e.data, wire.Member{})
			list = append(list, m)
		}
	}
	for i := range events { // behind the others, which the answers are about
		list = append(list, k.mirrored(&events[i])...)
	}
	return list
}

// mirrored is what the app's hub gets of an event. Its key holds there, too; it has
// no versions, being one channel for all.
func (k *call) mirrored(e *event) []worker.ChannelMessage {
	list := k.a.mirrored(e.channels, e.name, e.data, e.except)
	if e.order == nil || e.order.Key == "" {
		return list
	}
	for i := range list {
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %q", e.order.Key, i, e.channels))
		list[i].Order = &worker.Order{Key: "pusher:" + hex.EncodeToString(sum[:])}
	}
	return list
}

// sent finds out what else the answer is to tell.
func (k *call) sent(known []outcome, done func([]outcome)) {
	var ask []string
	var info attributes
	for i := range known {
		if e := known[i].e; e.info&^wantPosition != 0 {
			ask, info = append(ask, e.channels...), info|e.info
		}
	}
	if ask == nil {
		done(known)
		return
	}
	k.inform(ask, info, func(channels map[string]channelInfo) {
		for i := range known {
			known[i].channels = channels
		}
		done(known)
	})
}

// of is what is told of the channel of that number.
func (o *outcome) of(i int) channelInfo {
	info := o.channels[o.e.channels[i]].only(o.e.info)
	if o.e.info&wantPosition != 0 && i < len(o.said) {
		info.Position = o.said[i].Position.String()
	}
	return info
}

// first is what is told of an event in a batch, which has one channel.
func (o *outcome) first() channelInfo {
	info := o.of(0)
	info.Repeated, info.Outdated = o.any()
	return info
}

// any reports whether something was not sent, since it had been before, or was
// out of date.
func (o *outcome) any() (repeated, outdated bool) {
	for i := range o.said {
		repeated, outdated = repeated || o.said[i].Repeated, outdated || o.said[i].Outdated
	}
	return repeated, outdated
}

// whole is what is told of an event by itself.
func (o *outcome) whole() any {
	var a struct {
		Channels map[string]channelInfo `json:"channels,omitempty"`
		Repeated bool                   `json:"repeated,omitempty"` // the key was known: nothing was sent again
		Outdated bool                   `json:"outdated,omitempty"` // the version was not new: nothing was sent
	}
	a.Repeated, a.Outdated = o.any()
	if o.e.info != 0 {
		a.Channels = make(map[string]channelInfo, len(o.e.channels))
		for i, name := range o.e.channels {
			a.Channels[name] = o.of(i)
		}
	}
	return a
}
