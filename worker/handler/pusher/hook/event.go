package hook

import (
	"bytes"
	"encoding/json"
	"time"
)

// Event is one thing that happened, as it stands in a POST's "events". Which
// fields it has depends on its name.
type Event struct {
	Name    string `json:"name"`    // one of HookEvents of protocol/pusher
	Channel string `json:"channel"` // without the app's id; "" but there: Pusher's PHP SDK takes it for granted

	Event string `json:"event,omitempty"` // client_event: its name …
	Data  string `json:"data,omitempty"`  // … and its data, JSON

	SocketID string `json:"socket_id,omitempty"`
	UserID   string `json:"user_id,omitempty"`
	Number   bool   `json:"number,omitempty"` // UserID is told as a number; kept beside it for earlier versions
	Waited   bool   `json:"-"`                // nothing may take it back any more: it goes out at once

	SubscriptionCount int `json:"subscription_count,omitempty"`

	// Seq, TimeMS and Code are of "connected" and "disconnected", which are not
	// in the Pusher protocol. Seq counts the events of one connection from 1, so
	// that a receiver sees when one overtook another or is missing.
	Seq    int   `json:"seq,omitempty"`
	TimeMS int64 `json:"time_ms,omitempty"` // Unix time in milliseconds
	Code   int   `json:"code,omitempty"`    // that the connection was closed with; 0: it broke off
}

// told returns the event as an endpoint gets it: with a subscription_count of 0,
// and with numbers for ids that are some.
func (e Event) told() any {
	number := e.Number && json.Valid([]byte(e.UserID)) // a journal may be damaged
	e.Number = false
	switch {
	case e.Name == "subscription_count":
		return struct {
			Event
			SubscriptionCount int `json:"subscription_count"`
		}{e, e.SubscriptionCount}
	case number:
		return struct {
			Event
			UserID json.RawMessage `json:"user_id"`
		}{e, json.RawMessage(e.UserID)}
	}
	return e
}

// encode writes JSON of strings and numbers. No "<" becomes "\u003c": nobody
// embeds it in a page, and it would be six times as long.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // strings and numbers only
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// size estimates the bytes that the event takes in memory and on disk.
func (e *Event) size() int {
	return 160 + len(e.Name) + len(e.Channel) + len(e.Event) + len(e.Data) + len(e.SocketID) + len(e.UserID)
}

// undoes are the events that take back what an earlier one said: by them the
// earlier one is held for a while, and if the later one comes in that time,
// nobody is told of either.
var undoes = map[string]string{
	"channel_occupied": "channel_vacated",
	"member_added":     "member_removed",
}

// subject is what an event that may be taken back is about.
type subject struct{ name, channel, user string }

// held returns the subject under which an event waits, if it is one that may
// be taken back.
func (e *Event) held() (subject, bool) {
	switch {
	case e.Waited:
	case e.Name == "channel_vacated":
		return subject{e.Name, e.Channel, ""}, true
	case e.Name == "member_removed":
		return subject{e.Name, e.Channel, e.UserID}, true
	}
	return subject{}, false
}

// answers returns the subject that the event takes back, if any.
func (e *Event) answers() (subject, bool) {
	name, ok := undoes[e.Name]
	if !ok {
		return subject{}, false
	}
	s, _ := (&Event{Name: name, Channel: e.Channel, UserID: e.UserID}).held()
	return s, true
}

// milli is the Unix time that journals and bodies hold.
func milli(t time.Time) int64 { return t.UnixMilli() }

// undoneBy returns the name of the event that takes the named one back, "" for
// most.
func undoneBy(name string) string {
	for by, what := range undoes {
		if what == name {
			return by
		}
	}
	return ""
}
