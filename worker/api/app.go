package api

import (
	"net/http"

	"github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
)

// apps are the ids of those that there are.
type apps map[string]bool

func appsOf(list []worker.App) apps {
	ids := apps{}
	for i := range list {
		ids[list[i].ID] = true
	}
	return ids
}

// inApp makes the channels and users of a request those of its app: on the bus
// they are "app:name". Messages become events as the app's clients know them.
func (r *request) inApp(known apps, ps []worker.Publication) error {
	if r.app == "" {
		if r.event != "" {
			return invalid("app", "app is needed with event")
		}
		return nil
	}
	if !known[r.app] {
		return &problem{Status: http.StatusNotFound, Field: "app", Message: "no such app: the config has no [[app]] with this id"}
	}
	for i := range ps {
		p := &ps[i]
		channel := ""
		switch p.Scope {
		case worker.ScopeChannel:
			channel = p.Target
			if _, user := pusher.UserOf(channel); !user && !pusher.ValidChannel(channel) {
				return invalid("channel", "channel %q: the Pusher protocol allows up to %d letters, digits and -_=@,.;", channel, pusher.MaxChannel)
			}
			if pusher.IsCache(channel) {
				return invalid("channel", "channel %q remembers its last event: trigger it by POST /apps/%s/events", channel, r.app)
			}
			p.Target = r.app + ":" + channel
		case worker.ScopeUID:
			channel = pusher.UserChannel(p.Target)
			p.Target = r.app + ":" + p.Target
		}
		if p.Kind == worker.KindMessage {
			if err := r.asEvent(p, channel); err != nil {
				return err
			}
		}
	}
	return nil
}

// asEvent wraps the data. A JSON string is the event's text; any other value
// its JSON.
func (r *request) asEvent(p *worker.Publication, channel string) error {
	switch {
	case r.binary:
		return invalid("data_base64", "data_base64: events are text")
	case !pusher.ValidEvent(r.event):
		return invalid("event", "event: 1 to %d bytes, not beginning with pusher: or pusher_internal:", pusher.MaxEventName)
	}
	p.Data = pusher.Event(r.event, channel, string(r.data))
	return nil
}

// checkApp judges the form of an app's id.
func checkApp(id string) error {
	a := worker.DefaultApp()
	a.ID, a.Key, a.Secret = id, "k", "s"
	if a.Validate() != nil {
		return invalid("", "is no app id")
	}
	return nil
}
