package pusher

import (
	"encoding/json"
	"fmt"
	"net/http"

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
// those that a presence channel alone knows by this id. The processes are asked, so that
// none is forgotten where a word gets lost, as with a broker process; what is said to the
// uid and by the keepers reaches those on their way from process to process.
func (k *call) terminate(user string) error {
	if !wire.ValidUserID(user) {
		return bad("the user id is not valid")
	}
	uid, last := k.a.uid(user), wire.Error(wire.CodeUnauthorized, terminated)
	args, err := json.Marshal(ending{uid, string(last)})
	if err != nil {
		return err
	}
	return k.assured(func() error {
		if err := k.h.keeper.Terminate(uid, last); err != nil {
			return err
		}
		// In one order, being of one target: the word, then the end.
		if err := k.h.w.SendToUID(uid, worker.Message{Data: last}); err != nil {
			return err
		}
		return k.h.w.KickUID(uid, wire.CodeUnauthorized, terminated)
	}, func() { k.endAll(args) })
}

// endAll has the processes close them.
func (k *call) endAll(args []byte) {
	k.h.gather(queryEnd, args, samples, func([]worker.Answer) {}, func(complete bool) {
		if !complete {
			k.fail(&fault{http.StatusServiceUnavailable, errIncomplete.Error()})
			return
		}
		_ = k.ok(struct{}{})
	})
}

// ending is what queryEnd asks for.
type ending struct {
	User string `json:"u"` // on the bus
	Last string `json:"m"` // what its clients hear
}

// closeUser closes the connections of a user in this process.
func (p *process) closeUser(args []byte) error {
	var e ending
	if err := json.Unmarshal(args, &e); err != nil {
		return fmt.Errorf("read %s: %w", queryEnd, err)
	}
	for _, id := range p.keeper.Of(e.User) {
		if c := p.w.Find(id); c != nil {
			endUser(c, worker.Message{Data: []byte(e.Last)})
		}
	}
	return nil
}

// endUser closes a connection of a user.
func endUser(c *worker.Conn, last worker.Message) {
	_ = c.Send(last) // a client that cannot be told is gone
	c.Close(wire.CodeUnauthorized, terminated)
}
