package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker/channel"
)

// defaultMemory is what is kept of all channels together, and minMemory the
// least that makes sense: one message that is as large as they may be.
const (
	defaultMemory = 256 << 20
	minMemory     = 1 << 20
)

// channels reads [history] and [[channel]].
func (t *table) channels(c *Config) {
	c.History = History{Memory: defaultMemory, Store: "memory", Replicas: 3}
	h := t.sub("history", "")
	h.size("memory", &c.History.Memory)
	h.str("store", &c.History.Store)
	if c.History.Memory < minMemory {
		h.fail(h.where("memory"), "%d bytes: at least 1MiB. What keeps nothing is a channel without history", c.History.Memory)
	}
	h.integer("replicas", &c.History.Replicas)
	if n := c.History.Replicas; n < 1 || n > 5 {
		h.fail(h.where("replicas"), "%d: JetStream keeps 1 to 5", n)
	}
	switch s := c.History.Store; {
	case s != "memory" && s != "disk" && s != "jetstream":
		h.fail(h.where("store"), `%q: use "memory", "disk" or "jetstream"`, s)
	case s == "jetstream" && c.Broker.URL == "":
		h.fail(h.where("store"), `"jetstream" is a part of NATS: set [broker] url, or use "disk"`)
	}
	h.done()
	for _, e := range t.subs("channel") {
		c.Channels = append(c.Channels, e.channel())
	}
	for _, f := range c.Rules().Check() {
		path := index("channel", f.Rule)
		if f.Key != "" {
			path = join(path, f.Key)
		}
		t.fail(t.at(path), "%v", f.Err)
	}
}

// demoRoom is the room of the page that a config without routes shows.
const demoRoom = "chat:lobby"

// defaultChannels keeps the last messages of that room, unless the config says
// itself what is kept of it.
func (c *Config) defaultChannels() {
	if c.Broker.URL != "" || !slices.ContainsFunc(c.Workers, func(w Worker) bool { return w.page }) {
		return
	}
	for i := range c.Channels {
		if c.Channels[i].Matches(demoRoom) {
			return
		}
	}
	c.Channels = append(c.Channels, Channel{At: builtIn, Rule: channel.Rule{Match: demoRoom, History: new(20), Age: time.Hour}})
}

// channel reads one [[channel]].
func (t *table) channel() Channel {
	c := Channel{At: t.at(t.path)}
	t.str("match", &c.Match)
	t.str("app", &c.App)
	t.boolean("exact", &c.Exact)
	if _, ok := t.filed("history"); ok {
		c.History = new(int)
		t.integer("history", c.History)
	}
	if t.duration("age", &c.Age); c.Age == 0 && t.values["age"] != nil {
		t.fail(t.where("age"), "messages are kept for at least %s", channel.MinAge)
	}
	mode, slow := "", ""
	t.str("mode", &mode)
	t.str("slow", &slow)
	c.Mode, c.Slow = channel.Mode(mode), channel.Slow(slow)
	t.done()
	return c
}

// Idle says which rules for channels no channel can reach, each with its place.
func (c *Config) Idle() (notes []string) {
	apps := make([]string, len(c.Apps))
	for i := range c.Apps {
		apps[i] = c.Apps[i].ID
	}
	valid := func(name string) bool {
		return strings.HasPrefix(name, pusher.UserChannel("")) || pusher.ValidChannel(name)
	}
	for _, f := range c.Rules().Idle(apps, valid) {
		notes = append(notes, fmt.Sprintf("%s: %v", c.Channels[f.Rule].At, f.Err))
	}
	return notes
}
