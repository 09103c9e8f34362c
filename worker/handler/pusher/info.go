package pusher

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/order"
)

// attributes are what a back end wants to know of a channel.
type attributes uint8

const (
	wantUsers    attributes = 1 << iota // user_count, of presence channels
	wantCount                           // subscription_count
	wantCache                           // cache
	wantPosition                        // position, of what was just sent
)

// parseInfo reads "user_count,subscription_count" as a JSON string, or nothing.
// Attributes that are not known are ignored.
func parseInfo(raw json.RawMessage) (attributes, error) {
	var list string
	if raw != nil && json.Unmarshal(raw, &list) != nil {
		return 0, bad("info must be a string")
	}
	return attributesOf(list), nil
}

func attributesOf(list string) (want attributes) {
	for name := range strings.SplitSeq(list, ",") {
		switch strings.TrimSpace(name) {
		case "user_count":
			want |= wantUsers
		case "subscription_count":
			want |= wantCount
		case "cache":
			want |= wantCache
		case "position":
			want |= wantPosition
		}
	}
	return want
}

// channelInfo is what is told of a channel; nil is left out.
type channelInfo struct {
	Occupied *bool            `json:"occupied,omitempty"`
	Users    *int             `json:"user_count,omitempty"`
	Count    *int             `json:"subscription_count,omitempty"`
	Cache    *json.RawMessage `json:"cache,omitempty"` // {"data":…,"ttl":seconds} or null

	Position string `json:"position,omitempty"`
	Repeated bool   `json:"repeated,omitempty"` // of an event in a batch
	Outdated bool   `json:"outdated,omitempty"` // likewise
}

// only leaves out what was not asked for.
func (i channelInfo) only(want attributes) channelInfo {
	if want&wantUsers == 0 {
		i.Users = nil
	}
	if want&wantCount == 0 {
		i.Count = nil
	}
	return i
}

// errIncomplete: a worker process has not said what it was asked.
var errIncomplete = errors.New("a worker did not answer in time: try again")

// inform finds out what is wanted of some channels and calls done with it, on
// the loop.
func (k *call) inform(channels []string, want attributes, done func(map[string]channelInfo)) {
	channels = order.Distinct(channels)
	info := make(map[string]channelInfo, len(channels))
	for _, name := range channels {
		info[name] = channelInfo{}
	}
	k.w.Defer()
	finish := func() { done(info) }
	if want&wantCount != 0 {
		next := finish
		finish = func() { k.count(channels, info, next) }
	}
	if want&wantUsers != 0 {
		k.countUsers(presenceOf(channels), info, finish)
		return
	}
	finish()
}

func presenceOf(channels []string) (out []string) {
	for _, name := range channels {
		if wire.IsPresence(name) {
			out = append(out, name)
		}
	}
	return out
}

// count fills in the subscription counts.
func (k *call) count(channels []string, info map[string]channelInfo, done func()) {
	k.h.countMembers(k.a.names(channels), func(counts []int, complete bool) {
		if !complete {
			k.unknown(errIncomplete, done)
			return
		}
		fill(info, channels, counts, func(c *channelInfo, n *int) { c.Count = n })
		done()
	})
}

// countUsers fills in how many users the presence channels have.
func (k *call) countUsers(channels []string, info map[string]channelInfo, done func()) {
	if len(channels) == 0 {
		done()
		return
	}
	k.w.Defer()
	k.h.keeper.CountUsers(k.a.names(channels), func(counts []int, err error) {
		if err != nil {
			k.unknown(err, done)
			return
		}
		fill(info, channels, counts, func(c *channelInfo, n *int) { c.Users = n })
		done()
	})
}

// names returns the names of channels on the bus.
func (a *app) names(channels []string) []string {
	names := make([]string, len(channels))
	for i, channel := range channels {
		names[i] = a.channel(channel)
	}
	return names
}

// fill sets one number of each channel.
func fill(info map[string]channelInfo, channels []string, counts []int, set func(*channelInfo, *int)) {
	for i, channel := range channels {
		c := info[channel]
		set(&c, &counts[i])
		info[channel] = c
	}
}

// channel tells of one channel.
func (k *call) channel(name string) error {
	if !wire.ValidChannel(name) {
		return bad("the channel's name is not valid")
	}
	want := attributesOf(k.q["info"])
	k.inform([]string{name}, want|wantCount, func(all map[string]channelInfo) {
		info := all[name]
		occupied := *info.Count > 0 // there is no answer without
		info = info.only(want)
		info.Occupied = &occupied
		if want&wantCache == 0 || !wire.IsCache(name) {
			_ = k.ok(info)
			return
		}
		k.cached(name, func(cache json.RawMessage) {
			info.Cache = &cache
			_ = k.ok(info)
		})
	})
	return nil
}

// stats is channel for old SDKs.
func (k *call) stats(name string) error {
	k.q["info"] = "user_count,subscription_count"
	return k.channel(name)
}

// connections tells how many connections the app has.
func (k *call) connections(string) error {
	k.w.Defer()
	k.h.countConnections(k.a, func(n int, complete bool) {
		if !complete {
			k.unknown(errIncomplete, nil)
			return
		}
		_ = k.ok(map[string]int{"connections": n})
	})
	return nil
}

// channels lists the channels that are occupied.
func (k *call) channels(string) error {
	prefix, want := k.q["filter_by_prefix"], attributesOf(k.q["info"])
	if want&wantUsers != 0 && !wire.IsPresence(prefix) {
		return bad("user_count needs filter_by_prefix=presence-")
	}
	k.w.Defer()
	k.h.listChannels(k.a, prefix, func(counts map[string]int, more, complete bool) {
		if !complete {
			k.unknown(errIncomplete, nil)
			return
		}
		if more {
			k.fail(bad("there are too many channels for one answer: narrow it with filter_by_prefix"))
			return
		}
		names, info := make([]string, 0, len(counts)), make(map[string]channelInfo, len(counts))
		for name, n := range counts {
			names = append(names, name)
			info[name] = channelInfo{Count: &n}.only(want)
		}
		done := func() { _ = k.ok(map[string]any{"channels": info}) }
		if want&wantUsers == 0 {
			done()
			return
		}
		k.countUsers(names, info, done)
	})
	return nil
}

// cached calls done with what is told of a cache channel's last event.
func (k *call) cached(channel string, done func(json.RawMessage)) {
	k.w.Defer()
	name := k.a.channel(channel)
	k.h.w.History(worker.HistoryQuery{Channel: name, Newest: true, Limit: 1}, func(page worker.HistoryPage, err error) {
		if err != nil {
			k.unknown(err, nil)
			return
		}
		if len(page.Messages) == 0 {
			done(json.RawMessage("null"))
			return
		}
		var message struct {
			Data json.RawMessage `json:"data"`
		}
		m := page.Messages[0]
		age := k.h.w.ChannelRules.Of(name).Age
		left := age - k.h.w.Now().Sub(time.UnixMilli(m.Time))
		err = json.Unmarshal(m.Data, &message)
		raw, bad := json.Marshal(map[string]any{"data": message.Data, "ttl": int(min(max(left, 0), age).Round(time.Second).Seconds())})
		if err = errors.Join(err, bad); err != nil {
			k.fail(err)
			return
		}
		done(raw)
	})
}
