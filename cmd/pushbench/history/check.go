package history

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
)

// Kind is a sort of fault.
type Kind string

// The faults that Check finds.
const (
	Loss      Kind = "loss"      // a message that had to arrive did not
	Duplicate Kind = "duplicate" // a message arrived again
	Reorder   Kind = "reorder"   // a message arrived after a later one of its stream
	Corrupt   Kind = "corrupt"   // bytes that nobody sent, or not to this connection
	Closed    Kind = "closed"    // a connection ended, or failed to open, unasked
	Refused   Kind = "refused"   // a publish was not accepted
)

// Violation is one fault of one connection, with how many messages it touched.
type Violation struct {
	Kind    Kind   `json:"kind"`
	Session uint32 `json:"session"`
	Role    Role   `json:"role"`
	Stream  uint32 `json:"stream,omitempty"`
	Seq     uint32 `json:"seq,omitempty"` // the first one
	Count   int    `json:"count"`
	Detail  string `json:"detail,omitempty"`
}

func (v Violation) String() string {
	switch v.Kind {
	case Closed:
		return fmt.Sprintf("closed: %s connection %d: %s", v.Role, v.Session, v.Detail)
	case Refused:
		return fmt.Sprintf("refused: stream %d: %d publishes from seq %d: %s", v.Stream, v.Count, v.Seq, v.Detail)
	}
	return fmt.Sprintf("%s: %s connection %d: %d of stream %d from seq %d %s",
		v.Kind, v.Role, v.Session, v.Count, v.Stream, v.Seq, v.Detail)
}

// Count adds up the messages (or connections) per kind.
func Count(violations []Violation) map[Kind]int {
	counts := map[Kind]int{}
	for _, v := range violations {
		counts[v.Kind] += v.Count
	}
	return counts
}

// Check returns every fault in h, by session. It looks at nothing else and
// changes nothing.
func Check(h *History) []Violation {
	c := checker{settle: h.Settle, lossy: h.SlowMayMiss, streams: map[uint32]*Stream{}, channels: map[string][]*Stream{}}
	for i := range h.Streams {
		s := &h.Streams[i]
		c.streams[s.ID] = s
		c.channels[s.Channel] = append(c.channels[s.Channel], s)
		c.refusals(s)
	}
	for i := range h.Sessions {
		c.session(&h.Sessions[i])
	}
	c.readers(h.Readers)
	slices.SortStableFunc(c.found, func(a, b Violation) int { return cmp.Compare(a.Session, b.Session) })
	return c.found
}

type checker struct {
	settle   int64
	lossy    bool
	streams  map[uint32]*Stream
	channels map[string][]*Stream
	found    []Violation
}

func (c *checker) refusals(s *Stream) {
	v := Violation{Kind: Refused, Stream: s.ID}
	for i, p := range s.Publishes {
		if p.Failed == "" {
			continue
		}
		if v.Count++; v.Count == 1 {
			v.Seq, v.Detail = uint32(i+1), p.Failed
		}
	}
	if v.Count > 0 {
		c.found = append(c.found, v)
	}
}

func (c *checker) session(s *Session) {
	if s.Cause != "" && !(s.Cut && s.Role == Slow) {
		c.add(s, Violation{Kind: Closed, Count: 1, Detail: s.Cause})
	}
	if s.Corrupt > 0 {
		c.add(s, Violation{Kind: Corrupt, Count: s.Corrupt, Detail: fmt.Sprintf("as in %q", s.Example)})
	}
	for _, t := range s.Tracks {
		if reason := c.stranger(s, t); reason != "" {
			c.add(s, Violation{Kind: Corrupt, Stream: t.Stream, Seq: t.Runs[0].First, Count: t.length(), Detail: reason})
		}
	}
	if s.Role == Echo {
		c.echo(s)
		return
	}
	for _, stream := range c.channels[s.Channel] {
		if s.Role != Idle && stream.ID != s.ID {
			c.member(s, stream)
		}
	}
}

// stranger says why the session should have received nothing of the track.
func (c *checker) stranger(s *Session, t Track) string {
	stream, known := c.streams[t.Stream]
	switch {
	case s.Role == Echo && t.Stream == s.ID:
		return ""
	case s.Role == Echo, s.Role == Idle, !known:
		return "nobody sent that to this connection"
	case t.Stream == s.ID:
		return "its own message came back"
	case stream.Channel != s.Channel:
		return fmt.Sprintf("channel %q reached a member of %q", stream.Channel, s.Channel)
	}
	return ""
}

// echo: whatever was sent comes back once and in order, unless the connection
// ended meanwhile, which is a fault of its own.
func (c *checker) echo(s *Session) {
	t := s.track(s.ID)
	c.order(s, t, s.Sent)
	if s.Cause == "" {
		c.missing(s, t, 1, s.Sent, nil)
	}
}

// member: everything published while the session was surely a member arrives,
// and between the first and the last arrival nothing is left out.
func (c *checker) member(s *Session, stream *Stream) {
	if s.Opened == 0 {
		return
	}
	t := s.track(stream.ID)
	c.order(s, t, uint32(len(stream.Publishes)))
	p := stream.Publishes
	first := uint32(sort.Search(len(p), func(i int) bool { return p[i].Start >= s.Opened+c.settle })) + 1
	last := uint32(len(p))
	if s.Cut {
		last = 0 // what was queued for it went with it
	} else if end := s.leaving(); end > 0 {
		last = uint32(sort.Search(len(p), func(i int) bool { return p[i].End > end-c.settle }))
	}
	if low, high := t.bounds(); high > 0 {
		first = min(first, low)
		last = max(last, min(high, uint32(len(p))))
	}
	if s.Role != Slow || !c.lossy {
		c.missing(s, t, first, last, p)
	}
}

// leaving is when the session may have begun to miss messages, or 0.
func (s *Session) leaving() int64 {
	if s.Asked > 0 {
		return s.Asked
	}
	return s.Closed
}

// order finds what came again, too late, or was never sent.
func (c *checker) order(s *Session, t Track, sent uint32) {
	if len(t.Runs) == 0 {
		return
	}
	duplicate := Violation{Kind: Duplicate, Stream: t.Stream}
	reorder := Violation{Kind: Reorder, Stream: t.Stream}
	var unsent *Violation
	var seen set
	var highest uint32
	for _, r := range t.Runs {
		if r.Last > sent {
			from := max(r.First, sent+1)
			unsent = &Violation{Kind: Corrupt, Stream: t.Stream, Seq: from, Count: int(r.Last-from) + 1, Detail: "never sent"}
		}
		if len(t.Runs) == 1 {
			break // one run is in order by itself
		}
		for seq := r.First; seq <= r.Last; seq++ {
			switch {
			case !seen.add(seq):
				duplicate.touch(seq)
			case seq < highest:
				reorder.touch(seq)
			}
			highest = max(highest, seq)
		}
	}
	for _, v := range []*Violation{&duplicate, &reorder, unsent} {
		if v != nil && v.Count > 0 {
			c.add(s, *v)
		}
	}
}

// missing finds messages first to last that did not arrive; those whose
// publish failed need not.
func (c *checker) missing(s *Session, t Track, first, last uint32, publishes []Publish) {
	v := Violation{Kind: Loss, Stream: t.Stream}
	hole := func(from, to uint32) {
		if publishes == nil && from <= to {
			v.touch(from)
			v.Count += int(to - from)
			return
		}
		for seq := from; seq <= to; seq++ {
			if publishes[seq-1].Failed == "" {
				v.touch(seq)
			}
		}
	}
	runs := slices.Clone(t.Runs)
	slices.SortFunc(runs, func(a, b Run) int { return cmp.Compare(a.First, b.First) })
	next := first
	for _, r := range runs {
		hole(next, min(r.First-1, last))
		next = max(next, r.Last+1)
	}
	hole(next, last)
	if v.Count > 0 {
		c.add(s, v)
	}
}

func (c *checker) add(s *Session, v Violation) {
	v.Session, v.Role = s.ID, s.Role
	c.found = append(c.found, v)
}

func (v *Violation) touch(seq uint32) {
	if v.Count++; v.Count == 1 {
		v.Seq = seq
	}
}

func (s *Session) track(stream uint32) Track {
	for _, t := range s.Tracks {
		if t.Stream == stream {
			return t
		}
	}
	return Track{Stream: stream}
}

// bounds are the lowest and the highest seq that arrived; 0, 0 for none.
func (t Track) bounds() (low, high uint32) {
	for i, r := range t.Runs {
		if i == 0 || r.First < low {
			low = r.First
		}
		high = max(high, r.Last)
	}
	return low, high
}

func (t Track) length() (n int) {
	for _, r := range t.Runs {
		n += int(r.Last-r.First) + 1
	}
	return n
}

// set is a set of small numbers.
type set []uint64

// add reports whether seq is new.
func (s *set) add(seq uint32) bool {
	for int(seq/64) >= len(*s) {
		*s = append(*s, 0)
	}
	bit := uint64(1) << (seq % 64)
	fresh := (*s)[seq/64]&bit == 0
	(*s)[seq/64] |= bit
	return fresh
}
