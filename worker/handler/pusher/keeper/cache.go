package keeper

import (
	"container/list"
	"time"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/hook"
)

// cache holds the last event of each cache channel, the newest in front.
type cache struct {
	events map[string]*list.Element
	order  *list.List // of *cached
	bytes  int
	file   string // that was loaded, "" = none or removed
}

// cached is the last event of a channel.
type cached struct {
	name    string
	message []byte // as clients get it
	at      time.Time
}

// Bounds of the cache; beyond them the oldest events are forgotten.
const (
	cacheTTL   = 30 * time.Minute
	cacheItems = 64 << 10
	cacheBytes = 64 << 20
)

func (c *cache) init() { c.events, c.order = map[string]*list.Element{}, list.New() }

func (c *cache) put(e *cached) {
	c.drop(e.name)
	c.events[e.name] = c.order.PushFront(e)
	c.bytes += e.weight()
	for c.order.Len() > cacheItems || c.bytes > cacheBytes {
		c.drop(c.order.Back().Value.(*cached).name)
	}
}

func (e *cached) weight() int { return len(e.name) + len(e.message) + 200 }

func (c *cache) drop(name string) {
	if el := c.events[name]; el != nil {
		c.order.Remove(el)
		delete(c.events, name)
		c.bytes -= el.Value.(*cached).weight()
	}
}

// get returns the last event of a channel, nil if there is none that counts.
func (c *cache) get(name string, now time.Time) *cached {
	for el := c.order.Back(); el != nil && now.Sub(el.Value.(*cached).at) >= cacheTTL; el = c.order.Back() {
		c.drop(el.Value.(*cached).name)
	}
	if el := c.events[name]; el != nil {
		return el.Value.(*cached)
	}
	return nil
}

// publishCached sends an event to a cache channel and remembers it.
func (k *Keeper) publishCached(o *op) {
	message := []byte(o.Message)
	k.cache.put(&cached{name: o.Channel, message: message, at: k.env.Now()})
	p := toChannel(o.Channel, message)
	p.Except = o.Except
	k.publish(p)
}

// watch answers a subscription to a cache channel without presence.
func (k *Keeper) watch(o *op) {
	app, channel := k.app(o.Channel)
	if app == nil {
		return
	}
	k.admitCached(o.Channel, []string{o.Conn}, wire.Succeeded(channel))
}

// admitCached confirms subscriptions to a cache channel, with its last event or
// that there is none.
func (k *Keeper) admitCached(name string, conns []string, confirmation []byte) {
	app, channel := k.app(name)
	message := wire.CacheMiss(channel)
	if e := k.cache.get(name, k.env.Now()); e != nil {
		message = e.message
	} else {
		k.hook(app.ID, hook.Event{Name: "cache_miss", Channel: channel})
	}
	both := worker.AppendMessage(worker.AppendMessage(nil, confirmation), message)
	k.publish(toConns(name, CodeCached, conns, both))
}
