package pusher

import (
	"encoding/json"

	"github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/worker"
)

// mirrored is what the app's hub gets of an event in its channels (handler
// mercure), nothing for an app without one.
func (a *app) mirrored(channels []string, event string, data json.RawMessage, socket string) (list []worker.ChannelMessage) {
	if !a.Mercure {
		return nil
	}
	hub := mercure.HubChannel(a.ID)
	for _, e := range mercure.EchoEvents(channels, event, data, socket, mercure.NewID) {
		list = append(list, worker.ChannelMessage{Channel: hub, Message: worker.Message{Data: e.Append(nil)}})
	}
	return list
}
