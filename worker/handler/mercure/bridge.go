package mercure

import (
	"errors"
	"fmt"

	wire "github.com/pushd/pushd/protocol/mercure"
	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// bridged are the messages that clients of the app's channels get of an event.
// What is said in these channels comes to the hub by the handler pusher.
// An update that is more than an event of the app may be is sent to nobody.
func (h *Handler) bridged(e *wire.Event) (list []worker.ChannelMessage, err error) {
	if h.opt.App == "" {
		return nil, nil
	}
	err = e.Frames(h.maxEvent, func(channel string, frame []byte, except string) {
		m := worker.ChannelMessage{Channel: h.opt.App + ":" + channel, Message: worker.Message{Data: frame}}
		if _, ok := worker.ParseID(except); ok {
			m.Except = []string{except}
		}
		list = append(list, m)
	})
	if err != nil {
		err = fmt.Errorf("%w: the payload is over %d bytes, the max_event of the app", errEvent, h.maxEvent)
	}
	return list, err
}

var errEvent = errors.New("field data")

// app finds the app of the hub, an empty one if it has none.
func (h *Handler) app(services worker.ServiceOptions) (a pusher.App, err error) {
	if h.opt.App == "" {
		return a, nil
	}
	for _, o := range services["pusher"] {
		var a pusher.App
		if o.Decode(&a) == nil && a.ID == h.opt.App && a.Mercure {
			return a, nil
		}
	}
	return a, fmt.Errorf("options: app: there is no [[app]] with id = %q and mercure = true", h.opt.App)
}

// CheckServices finds the app of the hub, also when a config is checked.
func (h *Handler) CheckServices(services worker.ServiceOptions) error {
	_, err := h.app(services)
	return err
}
