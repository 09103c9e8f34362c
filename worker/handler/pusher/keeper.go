package pusher

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/handler/pusher/wire"
)

// service is the name of the keeper in the broker process.
const service = "pusher"

// askTimeout is how long the keeper has to answer.
const askTimeout = time.Second

// ask puts a question to the keeper about channels of the app; into gets the
// answer before done runs. The response is deferred.
func (k *call) ask(op string, channels []string, into any, done func(error)) {
	k.w.Defer()
	raw, err := json.Marshal(wire.Question{Op: op, App: k.a.ID, Channels: channels})
	if err != nil {
		k.fail(err)
		return
	}
	k.h.w.Ask(service, raw, askTimeout, func(answer []byte, err error) {
		if err == nil {
			if err = json.Unmarshal(answer, into); err != nil {
				err = fmt.Errorf("read the answer to %q: %w", op, err)
			}
		}
		if errors.Is(err, worker.ErrNoAnswer) {
			err = worker.ErrBrokerAway
		}
		done(err)
	})
}

// countUsers fills in how many users the presence channels have.
func (k *call) countUsers(channels []string, info map[string]channelInfo, done func()) {
	var counts []int
	k.ask(wire.AskCounts, channels, &counts, func(err error) {
		if err != nil {
			k.fail(err)
			return
		}
		for i, n := range counts {
			if i < len(channels) {
				c := info[channels[i]]
				c.Users = &n
				info[channels[i]] = c
			}
		}
		done()
	})
}

// users lists the users of a presence channel.
func (k *call) users(channel string) error {
	if !wire.ValidChannel(channel) || !wire.IsPresence(channel) {
		return bad("users are listed of presence channels only")
	}
	var ids []string
	k.ask(wire.AskUsers, []string{channel}, &ids, func(err error) {
		if err != nil {
			k.fail(err)
			return
		}
		users := make([]map[string]string, len(ids))
		for i, id := range ids {
			users[i] = map[string]string{"id": id}
		}
		_ = k.ok(map[string]any{"users": users})
	})
	return nil
}

// cached calls done with what is told of a cache channel's last event.
func (k *call) cached(channel string, done func(json.RawMessage)) {
	var c *wire.Cached
	k.ask(wire.AskCache, []string{channel}, &c, func(err error) {
		if err != nil {
			k.fail(err)
			return
		}
		if c == nil {
			done(json.RawMessage("null"))
			return
		}
		var event struct {
			Data json.RawMessage `json:"data"`
		}
		_ = json.Unmarshal(c.Event, &event) // ours
		raw, err := json.Marshal(map[string]any{"data": event.Data, "ttl": c.TTL})
		if err != nil {
			k.fail(err)
			return
		}
		done(raw)
	})
}
