package mercure

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/pushd/pushd/protocol/pusher"
)

// EchoPrefix stands before the topics of Laravel's broadcaster and Echo's
// connector.
const EchoPrefix = "https://laravel.alt/echo/"

// Echo is the data of an update as these two write it.
type Echo struct {
	Channels []string        `json:"channels"`
	Event    string          `json:"event"`
	Payload  json.RawMessage `json:"payload"`
	Socket   string          `json:"socket,omitempty"`
}

// HubChannel is the name on the bus of the channel that a hub's updates go by.
func HubChannel(hub string) string { return "mercure:" + hub }

// EchoChannel returns the channel of Pusher's that a topic stands for, and whether
// it is the topic of what its clients say to each other.
func EchoChannel(topic string) (name string, whisper, ok bool) {
	rest, ok := strings.CutPrefix(topic, EchoPrefix)
	if !ok {
		return "", false, false
	}
	kind, escaped, _ := strings.Cut(rest, "/")
	name, err := url.PathUnescape(escaped)
	return name, kind == "whisper", err == nil && (kind == "channel" || kind == "whisper") && pusher.ValidChannel(name)
}

// EchoEvents are the updates that subscribers of a hub get of an event in channels
// of Pusher's: one for the public ones, one for each that is not. data is what
// stands in the event's frame: of a server a text, which is JSON or not, of a
// client any value. What is encrypted there is so by other keys, and is left out.
func EchoEvents(channels []string, event string, data json.RawMessage, socket string, id func() string) (list []Event) {
	echo := Echo{Event: event, Payload: data, Socket: socket}
	whisper := strings.HasPrefix(event, "client-")
	if text := ""; !whisper && json.Unmarshal(data, &text) == nil && json.Valid([]byte(text)) {
		echo.Payload = json.RawMessage(text)
	}
	public := Event{}
	for _, name := range channels {
		_, user := pusher.UserOf(name)
		guarded := strings.HasPrefix(name, "private-") || strings.HasPrefix(name, "presence-")
		switch {
		case user, strings.HasPrefix(name, "private-encrypted-"):
		case guarded:
			own := echo
			own.Channels = []string{name}
			list = append(list, own.event(id(), []string{echoTopic(name, whisper)}, true))
		default:
			echo.Channels = append(echo.Channels, name)
			public.Topics = append(public.Topics, echoTopic(name, whisper))
		}
	}
	if len(public.Topics) > 0 {
		list = append(list, echo.event(id(), public.Topics, false))
	}
	return list
}

func echoTopic(name string, whisper bool) string {
	if whisper {
		return EchoPrefix + "whisper/" + segment(name)
	}
	return EchoPrefix + "channel/" + segment(name)
}

func (o *Echo) event(id string, topics []string, private bool) Event {
	data, err := json.Marshal(o)
	if err != nil { // the payload is no JSON
		data = []byte("{}")
	}
	return Event{ID: id, Topics: topics, Private: private, Data: string(data)}
}

// Frames calls visit once for each channel of Pusher's that an event is for, with the
// frame that its clients get and the connection that does not. The event is one of
// theirs if its data is as Laravel writes it; what is encrypted stays on the hub. A
// payload of more than most bytes is ErrSize; 0 = no limit.
func (e *Event) Frames(most int, visit func(channel string, frame []byte, except string)) error {
	var o Echo
	seen := map[string]bool{}
	for _, topic := range e.Topics {
		name, whisper, ok := EchoChannel(topic)
		if !ok {
			continue
		}
		if o.Event == "" && (json.Unmarshal([]byte(e.Data), &o) != nil || !pusher.ValidEvent(o.Event)) {
			return nil
		}
		if whisper != strings.HasPrefix(o.Event, "client-") {
			continue // a client's word is not a server's
		}
		if seen[name] {
			continue // two topics, or one twice, may be one channel
		}
		seen[name] = true
		payload := o.Payload
		if payload == nil {
			payload = json.RawMessage("null")
		}
		if most > 0 && len(payload) > most {
			return ErrSize
		}
		if !whisper {
			payload = pusher.AppendString(nil, string(payload))
		}
		visit(name, pusher.RawEvent(o.Event, name, payload, pusher.Member{}), o.Socket)
	}
	return nil
}
