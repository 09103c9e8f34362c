package pusher

import (
	"encoding/json"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// users lists the users of a presence channel.
func (k *call) users(channel string) error {
	if !wire.ValidChannel(channel) || !wire.IsPresence(channel) {
		return bad("users are listed of presence channels only")
	}
	k.w.Defer()
	k.h.keeper.Users(k.a.channel(channel), func(ids []json.RawMessage, err error) {
		if err != nil {
			k.unknown(err, nil)
			return
		}
		users := make([]map[string]json.RawMessage, len(ids))
		for i, id := range ids {
			users[i] = map[string]json.RawMessage{"id": id}
		}
		_ = k.ok(map[string]any{"users": users})
	})
	return nil
}

// terminated is what the connections of a user hear before they are closed.
const terminated = "the connections of the user were terminated"

// terminate closes the connections of a user: those that are signed in, and
// those that a presence channel alone knows by this id, which the keeper finds.
func (k *call) terminate(user string) error {
	if !wire.ValidUserID(user) {
		return bad("the user id is not valid")
	}
	uid, last := k.a.uid(user), wire.Error(wire.CodeUnauthorized, terminated)
	return k.assured(func() error {
		if err := k.h.keeper.Terminate(uid, last); err != nil {
			return err
		}
		// In one order, being of one target: the word, then the end.
		if err := k.h.w.SendToUID(uid, worker.Message{Data: last}); err != nil {
			return err
		}
		return k.h.w.KickUID(uid, wire.CodeUnauthorized, terminated)
	}, func() { _ = k.ok(struct{}{}) })
}
