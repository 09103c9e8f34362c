package history

import "fmt"

// False is a client that was told that it has all, and has not; or that it gets
// nothing of what was missed, and got a part.
const False Kind = "false recovery"

// Recovering is a client that comes back with its positions.
const Recovering Role = "recovering"

// Reader is what a client was told of one channel, over all its connections.
type Reader struct {
	ID      uint32  `json:"id"`
	Channel string  `json:"channel"`
	Events  []Event `json:"events"`
}

// EventKind is what happened.
type EventKind string

// What happens to a reader.
const (
	Joined    EventKind = "joined"    // the channel, on a connection; what was missed follows
	Message   EventKind = "message"   // Stream and Seq, at Epoch and Offset
	Recovered EventKind = "recovered" // it was told that it has all; Count messages came since Joined
	Lost      EventKind = "lost"      // it was told that what was missed cannot be had, Reason
	Away      EventKind = "away"      // the connection ended
)

// Event is one thing that happened to a reader.
type Event struct {
	Kind   EventKind `json:"kind"`
	Epoch  string    `json:"epoch,omitempty"`
	Offset uint64    `json:"offset,omitempty"`
	Stream uint32    `json:"stream,omitempty"`
	Seq    uint32    `json:"seq,omitempty"`
	Count  int       `json:"count,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// place is a position, and message what stands there.
type (
	place struct {
		epoch  string
		offset uint64
	}
	message struct{ stream, seq uint32 }
)

// reading is how far a reader has come.
type reading struct {
	c        *checker
	r        *Reader
	at       place
	last     map[uint32]uint32 // by stream: the seq of the last message; none = whatever comes is the first
	coming   bool              // it has joined again, and not been told whether it has all
	came     int               // messages since then
	suspects []Violation       // what would be missing, if it is told that it has all
}

// readers checks what readers were told against what was published. Two that were
// told different messages at one position are a fault too.
func (c *checker) readers(list []Reader) {
	places := map[place]message{}
	for i := range list {
		x := &reading{c: c, r: &list[i], last: map[uint32]uint32{}}
		for _, e := range list[i].Events {
			x.event(&e, places)
		}
		x.end()
	}
}

func (x *reading) event(e *Event, places map[place]message) {
	switch e.Kind {
	case Joined:
		x.coming, x.came, x.suspects = len(x.last) > 0, 0, nil
	case Message:
		at, m := place{e.Epoch, e.Offset}, message{e.Stream, e.Seq}
		if other, known := places[at]; known && other != m {
			x.fault(Corrupt, e, fmt.Sprintf("another reader has message %d of stream %d at %s:%d", other.seq, other.stream, e.Epoch, e.Offset))
		}
		places[at] = m
		x.message(e)
	case Recovered:
		x.c.found = append(x.c.found, x.suspects...)
		if x.coming && x.came != e.Count {
			x.fault(False, e, fmt.Sprintf("told of %d messages, got %d", e.Count, x.came))
		}
		x.coming, x.suspects = false, nil
	case Lost:
		if x.coming && x.came > 0 {
			x.fault(False, e, fmt.Sprintf("told that what was missed cannot be had (%s), and got %d messages of it", e.Reason, x.came))
		}
		x.coming, x.suspects, x.last = false, nil, map[uint32]uint32{}
	case Away:
		x.coming, x.suspects = false, nil
	}
}

func (x *reading) message(e *Event) {
	x.came++
	switch last, begun := x.last[e.Stream]; {
	case x.at.epoch == e.Epoch && e.Offset == x.at.offset || begun && e.Seq == last:
		x.fault(Duplicate, e, "")
		return
	case x.at.epoch == e.Epoch && e.Offset < x.at.offset || begun && e.Seq < last:
		x.fault(Reorder, e, "")
		return
	case begun:
		x.hole(e.Stream, last+1, e.Seq)
	}
	x.at, x.last[e.Stream] = place{e.Epoch, e.Offset}, e.Seq
}

// hole finds what is missing from first to before another. While the reader has
// not been told whether it has all, that is no fault yet.
func (x *reading) hole(stream, first, before uint32) {
	v := Violation{Kind: Loss, Stream: stream, Session: x.r.ID, Role: Recovering}
	if x.coming {
		v.Kind = False
	}
	s := x.c.streams[stream]
	for seq := first; seq < before; seq++ {
		if s == nil || int(seq) > len(s.Publishes) || s.Publishes[seq-1].Failed == "" {
			v.touch(seq)
		}
	}
	switch {
	case v.Count == 0:
	case x.coming:
		x.suspects = append(x.suspects, v)
	default:
		x.c.found = append(x.c.found, v)
	}
}

// end: a reader that is there at the end has the last message of each stream that
// it has begun to read.
func (x *reading) end() {
	if n := len(x.r.Events); n == 0 || x.r.Events[n-1].Kind == Away {
		return
	}
	x.coming = false
	for _, s := range x.c.channels[x.r.Channel] {
		if last, begun := x.last[s.ID]; begun {
			x.hole(s.ID, last+1, uint32(len(s.Publishes))+1)
		}
	}
}

func (x *reading) fault(kind Kind, e *Event, detail string) {
	x.c.found = append(x.c.found, Violation{Kind: kind, Session: x.r.ID, Role: Recovering, Stream: e.Stream, Seq: e.Seq, Count: 1, Detail: detail})
}
