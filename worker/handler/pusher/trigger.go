package pusher

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	wire "github.com/pushd/pushd/protocol/pusher"
	"github.com/pushd/pushd/worker"
	"github.com/pushd/pushd/worker/order"
)

// Limits of one request.
const (
	maxTriggerChannels = 100
	maxBatch           = 10
	maxFanout          = 32 << 20 // bytes over all channels: the queue to the broker takes 64 MiB
)

// event is one event that a back end sends.
type event struct {
	name     string
	channels []string
	data     json.RawMessage // a JSON string
	except   string          // connection id, "" = none
	info     attributes
	order    *worker.Order // idempotency key and version; nil = none
}

// asks reports whether the answer has what the history service says.
func (e *event) asks() bool { return e.order != nil || e.info&wantPosition != 0 }

// fields of an event in a request; those that are not known are ignored.
type fields struct {
	Name     json.RawMessage `json:"name"`
	Channel  json.RawMessage `json:"channel"`
	Channels json.RawMessage `json:"channels"`
	Data     json.RawMessage `json:"data"`
	SocketID json.RawMessage `json:"socket_id"`
	Info     json.RawMessage `json:"info"`
	Key      json.RawMessage `json:"idempotency_key"`
	Version  json.RawMessage `json:"version"`
}

// batch are the events of a request, one too many if there are more: however
// long the list is, no more than that are made of it.
type batch []fields

func (b *batch) UnmarshalJSON(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.New("no list")
	}
	*b = batch{}
	for d.More() && len(*b) <= maxBatch {
		var f fields
		if err := d.Decode(&f); err != nil {
			return err
		}
		*b = append(*b, f)
	}
	return nil
}

// trigger sends one event to up to 100 channels.
func (k *call) trigger(string) error {
	e, err := k.one()
	if err != nil {
		return err
	}
	return k.send([]event{e}, func(known []outcome) {
		_ = k.ok(known[0].whole())
	})
}

// triggerOne is the endpoint of old SDKs: the channel is in the path, the data
// is the body.
func (k *call) triggerOne(channel string) error {
	if !utf8.Valid(k.body) {
		return bad("the body is not UTF-8")
	}
	e := event{name: k.q["name"], channels: []string{channel}, data: wire.AppendString(nil, string(k.body)), except: k.q["socket_id"]}
	if err := e.check(k.a); err != nil {
		return err
	}
	return k.send([]event{e}, func([]outcome) { k.answer(http.StatusAccepted, struct{}{}) })
}

// triggerBatch sends up to ten events, in order: all that are valid, or none.
func (k *call) triggerBatch(string) error {
	var body struct {
		Batch batch `json:"batch"`
	}
	if !utf8.Valid(k.body) || json.Unmarshal(k.body, &body) != nil || body.Batch == nil {
		return bad(`the body must be {"batch":[…]} in UTF-8`)
	}
	if len(body.Batch) > maxBatch {
		return bad("a batch has at most 10 events")
	}
	events := make([]event, len(body.Batch))
	told := false
	for i, f := range body.Batch {
		var err error
		if events[i], err = f.event(k.a); err != nil {
			return bad("event " + strconv.Itoa(i) + ": " + err.Error()).as(err)
		}
		told = told || events[i].info != 0 || events[i].order != nil
	}
	return k.send(events, func(known []outcome) {
		if !told {
			_ = k.ok(struct{}{})
			return
		}
		batch := make([]channelInfo, len(events))
		for i := range known {
			batch[i] = known[i].first()
		}
		_ = k.ok(map[string]any{"batch": batch})
	})
}

// as keeps the status of the fault that f is about.
func (f *fault) as(err error) *fault {
	if cause, ok := err.(*fault); ok {
		f.status = cause.status
	}
	return f
}

// one reads the body of a single event.
func (k *call) one() (event, error) {
	var f fields
	if !utf8.Valid(k.body) || json.Unmarshal(k.body, &f) != nil {
		return event{}, bad("the body must be a JSON object in UTF-8")
	}
	return f.event(k.a)
}

// event checks the fields.
func (f *fields) event(a *app) (e event, err error) {
	for _, s := range []struct {
		raw  json.RawMessage
		into *string
		text string
	}{
		{f.Name, &e.name, "name must be a string"},
		{f.SocketID, &e.except, "socket_id must be a string"},
	} {
		if s.raw != nil && json.Unmarshal(s.raw, s.into) != nil {
			return e, bad(s.text)
		}
	}
	if e.info, err = parseInfo(f.Info); err != nil {
		return e, err
	}
	if f.Channel != nil && string(f.Channel) != "null" {
		e.channels = []string{""}
		if json.Unmarshal(f.Channel, &e.channels[0]) != nil {
			return e, bad("channel must be a string")
		}
	} else if f.Channels == nil || json.Unmarshal(f.Channels, &e.channels) != nil {
		return e, bad("channels must be a list of strings")
	}
	if len(f.Data) == 0 || f.Data[0] != '"' {
		return e, bad("data must be a string")
	}
	e.data = f.Data
	if e.order, err = f.order(); err != nil {
		return e, err
	}
	if len(e.channels) <= maxTriggerChannels { // check refuses the rest, also of one name
		e.channels = order.Distinct(e.channels)
	}
	return e, e.check(a)
}

// check applies the rules of names and sizes.
func (e *event) check(a *app) error {
	switch {
	case !wire.ValidEvent(e.name):
		return bad("name must have 1 to 200 bytes without control characters, and not begin with pusher: or pusher_internal:")
	case len(e.channels) == 0 || len(e.channels) > maxTriggerChannels:
		return bad("an event goes to 1 to 100 channels")
	case e.except != "" && !validSocketID(e.except):
		return bad("socket_id is not valid")
	case a.MaxEvent > 0 && textLen(e.data) > a.MaxEvent:
		return &fault{http.StatusRequestEntityTooLarge, "data is over " + strconv.Itoa(a.MaxEvent) + " bytes"}
	}
	for i, name := range e.channels {
		if _, user := wire.UserOf(name); !user && !wire.ValidChannel(name) {
			return bad("channel " + strconv.Itoa(i) + " has a name that is not valid")
		}
	}
	return nil
}

// validSocketID judges the form only: the connection may be gone.
func validSocketID(s string) bool {
	_, ok := worker.ParseID(s)
	return ok
}

// textLen returns the length of the text in a JSON string, in bytes.
func textLen(raw json.RawMessage) int {
	if !slices.Contains(raw, '\\') {
		return len(raw) - 2
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return len(raw)
	}
	return len(s)
}

// excepts lists the connections that do not get the event.
func (e *event) excepts() []string {
	if e.except == "" {
		return nil
	}
	return []string{e.except}
}

// size is what the event takes for all its channels, in bytes.
func (e *event) size() int {
	const frame = 48 // what stands around name, channel and data
	n := len(e.channels) * (len(e.name) + len(e.data) + frame)
	for _, channel := range e.channels {
		n += len(channel)
	}
	return n
}
