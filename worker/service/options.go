package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/pushd/pushd/worker/bus"
)

// Options are the options of a route: a JSON object, or nothing.
type Options json.RawMessage

// MarshalJSON and UnmarshalJSON keep the object as it is.
func (o Options) MarshalJSON() ([]byte, error) { return json.RawMessage(o).MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler.
func (o *Options) UnmarshalJSON(b []byte) error { return (*json.RawMessage)(o).UnmarshalJSON(b) }

// Decode fills the struct that v points to. An option that v has no field for
// is an error that names it.
func (o Options) Decode(v any) error {
	if len(o) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(o))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("options: %w", err)
	}
	return nil
}

// All are the options of services, and of the handlers that go with
// them: by the service's name a list, whose meaning is the service's (of
// "pusher" each is an app). Unlike the options of a route they hold for the whole
// server: all workers and the broker process get the lists of the config and of
// every worker of the program, one behind the other.
type All map[string][]Options

// A Checked finds what is wrong with its options before anything runs.
// Check must not have effects.
type Checked interface {
	Check(options []Options) error
}

// Check asks the services that the program has. Options of others are nobody's.
func (o All) Check() error {
	for _, name := range Names() {
		if c, ok := New(name).(Checked); ok {
			if err := c.Check(o[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// SharedHistory reports whether all nodes share a log of the messages of channels
// with history: the store of the history service is "jetstream".
func (o All) SharedHistory() bool {
	var history struct {
		Store string `json:"store"`
	}
	list := o[bus.HistoryService]
	return len(list) > 0 && json.Unmarshal(list[0], &history) == nil && history.Store == "jetstream"
}
