package pusher

import (
	"encoding/json"
	"errors"
	"strings"

	wire "github.com/pushd/pushd/protocol/pusher"
)

// attributes are what a back end wants to know of a channel.
type attributes uint8

const (
	wantUsers attributes = 1 << iota // user_count, of presence channels
	wantCount                        // subscription_count
	wantCache                        // cache
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

// errIncomplete: a worker process has not said how many it has.
var errIncomplete = errors.New("a worker did not answer in time: try again")

// inform finds out what is wanted of some channels and calls done with it, on
// the loop.
func (k *call) inform(channels []string, want attributes, done func(map[string]channelInfo)) {
	channels = distinct(channels)
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
	names := make([]string, len(channels))
	for i, name := range channels {
		names[i] = k.a.channel(name)
	}
	k.h.countMembers(names, func(counts []int, complete bool) {
		if !complete {
			k.unknown(errIncomplete, done)
			return
		}
		for i, name := range channels {
			c := info[name]
			c.Count = &counts[i]
			info[name] = c
		}
		done()
	})
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
