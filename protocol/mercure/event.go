package mercure

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Event is an update on its way from the process that took it to all others.
type Event struct {
	ID      string   `json:"id"` // of the hub; not that of a publisher
	Topics  []string `json:"topics"`
	Private bool     `json:"private,omitempty"`
	Type    string   `json:"type,omitempty"`
	Retry   int64    `json:"retry,omitempty"` // milliseconds
	Data    string   `json:"data"`
}

// Event makes of an update what travels.
func (u *Update) Event(id string) Event {
	return Event{ID: id, Topics: u.Topics, Private: u.Private, Type: u.Type, Retry: u.Retry.Milliseconds(), Data: u.Data}
}

// Append appends the event in writing.
func (e *Event) Append(dst []byte) []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic(fmt.Sprintf("encode an event: %v", err)) // texts and numbers only
	}
	return append(dst, b...)
}

// ParseEvent undoes Append.
func ParseEvent(b []byte) (e Event, err error) {
	if err = json.Unmarshal(b, &e); err == nil && len(e.Topics) == 0 {
		err = errors.New("no topics")
	}
	if err != nil {
		return Event{}, fmt.Errorf("read an event: %w", err)
	}
	return e, nil
}
