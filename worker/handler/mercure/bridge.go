package mercure

import (
	"fmt"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// bridged are the messages that clients of the app's channels get of an event.
// What is said in these channels comes to the hub by the handler pusher.
func (h *Handler) bridged(e *wire.Event) (list []worker.ChannelMessage) {
	if h.opt.App == "" {
		return nil
	}
	e.Frames(func(channel string, frame []byte, except string) {
		m := worker.ChannelMessage{Channel: h.opt.App + ":" + channel, Message: worker.Message{Data: frame}}
		if _, ok := worker.ParseID(except); ok {
			m.Except = []string{except}
		}
		list = append(list, m)
	})
	return list
}

// CheckServices finds the app of the hub, also when a config is checked.
func (h *Handler) CheckServices(services worker.ServiceOptions) error {
	if h.opt.App == "" {
		return nil
	}
	for _, o := range services["pusher"] {
		var a pusher.App
		if o.Decode(&a) == nil && a.ID == h.opt.App && a.Mercure {
			return nil
		}
	}
	return fmt.Errorf("options: app: there is no [[app]] with id = %q and mercure = true", h.opt.App)
}
