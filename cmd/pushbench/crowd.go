package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pushd/pushd/cmd/pushbench/client"
	"github.com/pushd/pushd/cmd/pushbench/history"
	"github.com/pushd/pushd/cmd/pushbench/payload"
)

// crowd are clients of the Pusher protocol that remember their positions, as
// recover.js does. All of it belongs to the loop, but for methods, which wait for
// it.
type crowd struct {
	loop      *client.Loop
	target    *client.Target
	run       uint32
	guests    []guest
	positions bool          // who comes says what it has
	greeted   int           // guests whose handshake is over
	shaken    time.Time     // when the last of them was greeted
	missing   int           // guests that are not in all their channels yet
	all       chan struct{} // gets a token when they are
	messages  atomic.Int64
	gone      string // why a connection ended that should not have
}

// guest is one client.
type guest struct {
	conn    *client.Conn
	of      []seat
	pending int // subscriptions that are not complete
}

// seat is what a client has of a channel.
type seat struct {
	history.Reader
	at string // position
}

// come connects everybody, spread over some time, and waits until all are in their
// channels and have what they have missed.
func (w *crowd) come(within time.Duration, positions bool, wait time.Duration) error {
	w.loop.Do(func() {
		w.positions, w.missing, w.greeted = positions, len(w.guests), 0
		start := client.Now()
		for i := range w.guests {
			g := &w.guests[i]
			g.pending = len(g.of)
			w.loop.At(start+int64(within)*int64(i)/int64(len(w.guests)), func() { g.conn = w.loop.Dial(w.target, w, uint32(i)) })
		}
	})
	select {
	case <-w.all:
		return nil
	case <-time.After(within + wait):
	}
	var left int
	var why string
	w.loop.Do(func() { left, why = w.missing, w.gone })
	return fmt.Errorf("%d of %d clients are not in their channels after %s: %s", left, len(w.guests), within+wait, why)
}

// leave breaks all connections off.
func (w *crowd) leave() {
	w.loop.Do(func() {
		for i := range w.guests {
			g := &w.guests[i]
			for n := range g.of {
				g.of[n].note(history.Event{Kind: history.Away})
			}
			w.loop.Abort(g.conn)
		}
	})
}

func (w *crowd) received() int64 { return w.messages.Load() }

// settled waits until everybody has the last message of each channel, for so long
// at most.
func (w *crowd) settled(drain time.Duration, streams []history.Stream) {
	ends := map[string]uint32{}
	for i := range streams {
		ends[streams[i].Channel] = uint32(len(streams[i].Publishes))
	}
	for end := time.Now().Add(drain); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		left := 0
		w.loop.Do(func() {
			for i := range w.guests {
				for n := range w.guests[i].of {
					s := &w.guests[i].of[n]
					if e := s.Events[len(s.Events)-1]; e.Kind == history.Message && e.Seq != ends[s.Channel] {
						left++
					}
				}
			}
		})
		if left == 0 {
			return
		}
	}
}

// readers returns what everybody got.
func (w *crowd) readers() (list []history.Reader) {
	w.loop.Do(func() {
		for i := range w.guests {
			for n := range w.guests[i].of {
				list = append(list, w.guests[i].of[n].Reader)
			}
		}
	})
	return list
}

// note adds an event.
func (s *seat) note(e history.Event) { s.Events = append(s.Events, e) }

// Opened implements client.Handler.
func (w *crowd) Opened(*client.Conn) {}

// Closed implements client.Handler. Who leaves has said so before.
func (w *crowd) Closed(c *client.Conn, err error) {
	if err != nil {
		w.gone = err.Error()
	}
}

// Message implements client.Handler.
func (w *crowd) Message(c *client.Conn, _ client.Opcode, data []byte) {
	g := &w.guests[c.Tag]
	m, ok := plainEvent(data)
	if !ok {
		if err := json.Unmarshal(data, &m); err != nil {
			w.gone = fmt.Sprintf("%q: %v", data, err)
			return
		}
	}
	s := g.seat(m.Channel)
	if s != nil && m.Epoch != "" {
		s.at = fmt.Sprintf("%s:%d", m.Epoch, m.Offset)
	}
	switch {
	case m.Event == "pusher:connection_established":
		if w.greeted++; w.greeted == len(w.guests) {
			w.shaken = time.Now()
		}
		w.subscribe(c, g)
	case m.Event == "pusher:ping":
		w.loop.Send(c, client.Text, []byte(`{"event":"pusher:pong","data":{}}`))
	case s == nil:
		w.gone = string(data)
	case m.Event == subscriptionSucceeded:
		s.note(history.Event{Kind: history.Joined})
		if !w.positions {
			s.note(history.Event{Kind: history.Lost, Reason: "it does not say what it has"})
			w.in(g)
		}
	case m.Event == "pushd:recovered":
		w.recovered(s, m.Data)
		w.in(g)
	default:
		w.messages.Add(1)
		p, err := payload.Parse(w.run, []byte(m.Data))
		if err != nil {
			w.gone = fmt.Sprintf("%q: %v", data, err)
			return
		}
		s.note(history.Event{Kind: history.Message, Epoch: m.Epoch, Offset: m.Offset, Stream: p.Stream, Seq: p.Seq})
	}
}

// event is what a server says.
type event struct {
	Event, Channel, Epoch string
	Data                  string
	Offset                uint64
}

// plainEvent reads an event whose strings stand in it as they are and which has a
// position, as nearly all do, in the order in which pushd writes them. A client that
// decodes them as JSON takes as much of the machine as the server that it measures.
func plainEvent(data []byte) (e event, ok bool) {
	if bytes.IndexByte(data, '\\') >= 0 {
		return e, false
	}
	var parts [5]string
	rest := string(data)
	for i, after := range [...]string{`","channel":"`, `","data":"`, `","epoch":"`, `","offset":`, `}`} {
		if parts[i], rest, ok = strings.Cut(rest, after); !ok {
			return e, false
		}
	}
	name, begins := strings.CutPrefix(parts[0], `{"event":"`)
	offset, err := strconv.ParseUint(parts[4], 10, 64)
	return event{Event: name, Channel: parts[1], Data: parts[2], Epoch: parts[3], Offset: offset}, begins && err == nil && rest == ""
}

const subscriptionSucceeded = "pusher_internal:subscription_succeeded"

func (g *guest) seat(channel string) *seat {
	for i := range g.of {
		if g.of[i].Channel == channel {
			return &g.of[i]
		}
	}
	return nil
}

func (w *crowd) subscribe(c *client.Conn, g *guest) {
	for i := range g.of {
		from := ""
		if w.positions {
			from = fmt.Sprintf(`,"recover":%q`, g.of[i].at)
		}
		w.loop.Send(c, client.Text, fmt.Appendf(nil, `{"event":"pusher:subscribe","data":{"channel":%q%s}}`, g.of[i].Channel, from))
	}
}

func (w *crowd) recovered(s *seat, data string) {
	var r struct {
		Recovered bool
		Count     int
		Reason    string
	}
	_ = json.Unmarshal([]byte(data), &r) // what it is not, it has not said
	e := history.Event{Kind: history.Lost, Reason: r.Reason}
	if r.Recovered {
		e = history.Event{Kind: history.Recovered, Count: r.Count}
	}
	s.note(e)
}

// in counts a channel in which a guest has all.
func (w *crowd) in(g *guest) {
	if g.pending--; g.pending == 0 {
		if w.missing--; w.missing == 0 {
			w.all <- struct{}{}
		}
	}
}
