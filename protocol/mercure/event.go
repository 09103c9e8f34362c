package mercure

import (
	"crypto/rand"
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

// NewID makes a random id, for an event that has no place yet and for a subscriber.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
