// Package load is the kinds of traffic that pushbench makes: connections that
// idle, echo, belong to channels or come and go. Everything here runs on one
// client loop, in an agent process.
package load

import (
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/history"
)

// Kinds of load, for Spec.
const (
	Idle     = "idle"     // open and stay
	Echo     = "echo"     // send and expect the same back
	Members  = "members"  // belong to channels
	Dial     = "dial"     // connect, perhaps echo once, close, again
	Presence = "presence" // join a presence channel at once
)

// Spec is one load of one agent. It travels as JSON.
type Spec struct {
	Kind string `json:"kind"`
	// URL of the server; for members, {room} stands for the channel's room.
	URL string `json:"url"`
	// Connections that stand; for dial, the most that are on their way at a time.
	Connections int `json:"connections"`
	// Rate is messages (dial: connections) per second on a fixed timetable,
	// by which latencies count. 0: as fast as answers come.
	Rate float64 `json:"rate"`
	// Size is bytes per message; 0 sends none.
	Size int `json:"size"`
	// Window is how many dials are under way at a time while the load opens.
	Window int `json:"window"`
	// Origin is sent as the header of that name.
	Origin string `json:"origin,omitempty"`
	// Resume lets dials to a wss address use the session tickets of earlier ones.
	Resume bool `json:"resume,omitempty"`
	// ForeignOK accepts messages that are not ours, such as greetings.
	ForeignOK bool `json:"foreign_ok,omitempty"`

	// Rooms are what members join, in turn; Prefix + room is the channel's name.
	Rooms  []string `json:"rooms,omitempty"`
	Prefix string   `json:"prefix,omitempty"`
	// Churn is how many members per second leave and are replaced.
	Churn float64 `json:"churn,omitempty"`
	// SlowBytes makes members read only so many bytes per second each.
	SlowBytes int `json:"slow_bytes,omitempty"`
	// CutOK accepts any end that the server gives a slow member, not only 1013.
	CutOK bool `json:"cut_ok,omitempty"`
	// Watch is a stream; the agent tells when all its members, or all that idle, have a message of it.
	Watch uint32 `json:"watch,omitempty"`
	// Total is how many join the presence channel, those of other agents included.
	Total int `json:"total,omitempty"`
	// Pusher makes the connections speak that protocol, unless nil.
	Pusher *Pusher `json:"pusher,omitempty"`
	// Centrifugo is a channel of Centrifugo's protocol that all connections join, unless "".
	Centrifugo string `json:"centrifugo,omitempty"`
}

// Load is traffic of one kind. Its methods run on the loop.
type Load interface {
	// Open begins to open the standing connections and calls ready once, when
	// each of them has been opened or has failed.
	Open(ready func())
	// Start begins the traffic.
	Start()
	// Stop ends it and calls done once, when every answer has come or enough
	// time has passed for it (drain).
	Stop(drain time.Duration, done func())
	// Report adds what was seen to r.
	Report(r *Report)
}

// New makes the load that the spec asks for.
func New(env *Env, spec Spec, sources []string) (Load, error) {
	targets, err := parseTargets(spec, sources)
	if err != nil {
		return nil, err
	}
	b := base{env: env, spec: spec, targets: targets}
	switch {
	case spec.Pusher != nil:
		b.dialect = &pusher{entry: newEntry(), env: env, Pusher: *spec.Pusher}
	case spec.Centrifugo != "":
		b.dialect = &centrifugo{entry: newEntry(), env: env, channel: spec.Centrifugo}
	}
	switch spec.Kind {
	case Idle:
		return &idle{base: b}, nil
	case Echo:
		return &echo{base: b}, nil
	case Members:
		return &members{base: b}, nil
	case Dial:
		return &dial{base: b}, nil
	case Presence:
		p, ok := b.dialect.(*pusher)
		if !ok {
			return nil, errors.New("a presence load without an app")
		}
		return &presence{base: b, pusher: p}, nil
	}
	return nil, fmt.Errorf("load kind %q is unknown", spec.Kind)
}

// Env is what the loads of one agent share.
type Env struct {
	Loop  *client.Loop
	Run   uint32 // marks the messages of this run
	Agent uint32 // below 255; which agent of the run this is
	Count Counters
	// Seen is called when all members of this agent have message seq of the watched stream.
	Seen func(seq uint32)

	ids     uint32
	latency map[string]*hdrhistogram.Histogram
	marks   []mark
}

// Counters only grow.
type Counters struct {
	Dialed   int64 `json:"dialed"`
	Opened   int64 `json:"opened"`
	Resumed  int64 `json:"resumed,omitempty"` // of those opened by TLS: with a ticket
	Failed   int64 `json:"failed"`            // dials that did not become connections
	Left     int64 `json:"left"`              // connections closed by this side
	Lost     int64 `json:"lost"`              // connections closed by the server
	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`
	Foreign  int64 `json:"foreign"`
	Late     int64 `json:"late"` // dials skipped since too many were on their way
	Pings    int64 `json:"pings"`
	BytesIn  int64 `json:"bytes_in"`
	BytesOut int64 `json:"bytes_out"`
}

// Add adds o to c.
func (c *Counters) Add(o Counters) {
	c.Dialed += o.Dialed
	c.Opened += o.Opened
	c.Resumed += o.Resumed
	c.Failed += o.Failed
	c.Left += o.Left
	c.Lost += o.Lost
	c.Sent += o.Sent
	c.Received += o.Received
	c.Foreign += o.Foreign
	c.Late += o.Late
	c.Pings += o.Pings
	c.BytesIn += o.BytesIn
	c.BytesOut += o.BytesOut
}

// Open is how many connections are standing.
func (c Counters) Open() int64 { return c.Opened - c.Left - c.Lost }

// Counters returns the totals so far.
func (e *Env) Counters() Counters {
	c := e.Count
	c.Pings, c.BytesIn, c.BytesOut = e.Loop.Pings, e.Loop.BytesIn, e.Loop.BytesOut
	return c
}

// newID returns a number that no other connection of the run has; it also
// names the stream that the connection publishes.
func (e *Env) newID() uint32 {
	e.ids++
	return e.Agent<<22 | e.ids&(1<<22-1)
}

// PublisherID is the stream of publisher i outside of the agents.
func PublisherID(i int) uint32 { return 255<<22 | uint32(i+1) }

// mark is a stretch of time whose latencies are also kept apart.
type mark struct{ from, to int64 }

// Mark begins or ends a stretch whose latencies are also kept apart, under the
// same name with Marked behind it.
func (e *Env) Mark(on bool) {
	if on {
		e.marks = append(e.marks, mark{from: client.Now()})
	} else if n := len(e.marks); n > 0 {
		e.marks[n-1].to = client.Now()
	}
}

// Marked is what follows the name of a latency that was taken during a mark.
const Marked = "_marked"

// observe records how long something took, in nanoseconds.
func (e *Env) observe(name string, from, to int64) {
	e.record(name, to-from)
	if n := len(e.marks); n > 0 {
		if m := e.marks[n-1]; to >= m.from && (m.to == 0 || from <= m.to) {
			e.record(name+Marked, to-from)
		}
	}
}

func (e *Env) record(name string, took int64) {
	h := e.latency[name]
	if h == nil {
		h = NewHistogram()
		if e.latency == nil {
			e.latency = map[string]*hdrhistogram.Histogram{}
		}
		e.latency[name] = h
	}
	_ = h.RecordValue(min(max(took, 0), h.HighestTrackableValue()))
}

// NewHistogram spans 1 µs to 100 s in nanoseconds with three digits.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1000, 100e9, 3) }

// Report is what one agent saw.
type Report struct {
	Counters Counters          `json:"counters"`
	Latency  map[string][]byte `json:"latency"`  // HDR V2 encodings
	Sessions []history.Session `json:"sessions"` // of idle and dial only the faulty ones
	Streams  []history.Stream  `json:"streams"`
	Last     []int64           `json:"last"`               // when the last member had message i+1 of the watched stream
	CPU      int64             `json:"cpu_ns"`             // of the agent since the traffic began
	Clean    int64             `json:"clean"`              // sessions without a fault that are left out
	Pending  int64             `json:"pending"`            // answers that never came
	Repeated int64             `json:"repeated,omitempty"` // members named twice to a member of a presence channel
}

// Report collects what the environment itself knows.
func (e *Env) Report(r *Report) error {
	r.Counters = e.Counters()
	r.Latency = map[string][]byte{}
	for name, h := range e.latency {
		encoded, err := h.EncodeV2()
		if err != nil {
			return fmt.Errorf("encode latencies of %s: %w", name, err)
		}
		r.Latency[name] = encoded
	}
	return nil
}
