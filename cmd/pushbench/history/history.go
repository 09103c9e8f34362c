// Package history records what every connection of a run received, and checks
// the record for lost, repeated, reordered and damaged messages and for
// connections that ended unasked. Check is a pure function of the record, so
// a saved history can be checked again, anywhere.
package history

// Role is what a connection was there for.
type Role string

// The roles of connections.
const (
	Idle   Role = "idle"   // expects nothing
	Echo   Role = "echo"   // expects its own stream back
	Member Role = "member" // expects the streams of its channel, but for its own
	Slow   Role = "slow"   // a member that reads slowly; may be cut, and then misses the rest
)

// Settle is how long around its joining and leaving a member may or may not
// have received a message, in nanoseconds, unless the run says otherwise.
const Settle = 2e9

// History is the record of a run. Times are nanoseconds of one monotonic clock.
type History struct {
	Settle int64 `json:"settle_ns"` // see the constant
	// SlowMayMiss says that the server drops messages for slow readers (drop-oldest, latest).
	SlowMayMiss bool `json:"slow_may_miss,omitempty"`

	Streams  []Stream  `json:"streams"`
	Sessions []Session `json:"sessions"`
	Readers  []Reader  `json:"readers,omitempty"`
}

// Stream is the messages of one publisher in one channel; the first has seq 1.
type Stream struct {
	ID        uint32    `json:"id"`
	Channel   string    `json:"channel"`
	Publishes []Publish `json:"publishes"`
}

// Publish is one message of a stream.
type Publish struct {
	Start  int64  `json:"start"`            // before it was handed to the server
	End    int64  `json:"end"`              // when the server said that it was taken; Start if it does not say
	Failed string `json:"failed,omitempty"` // why it may or may not have been delivered
}

// Session is one connection from its handshake to its end.
type Session struct {
	ID      uint32  `json:"id"` // also the stream it publishes, if it does
	Role    Role    `json:"role"`
	Channel string  `json:"channel,omitempty"` // of a member
	Sent    uint32  `json:"sent,omitempty"`    // messages that an echo session sent
	Opened  int64   `json:"opened"`            // 0: never
	Asked   int64   `json:"asked,omitempty"`   // when this side began to leave; 0: it stayed to the end
	Closed  int64   `json:"closed,omitempty"`
	Cause   string  `json:"cause,omitempty"` // of an end that nobody here asked for
	Cut     bool    `json:"cut,omitempty"`   // that end was the server's policy for slow readers
	Tracks  []Track `json:"tracks,omitempty"`
	Corrupt int     `json:"corrupt,omitempty"` // messages that were not as sent
	Example string  `json:"example,omitempty"` // the first of them, quoted and cut
}

// Track is what a session received of one stream, in order of arrival.
type Track struct {
	Stream uint32 `json:"stream"`
	Runs   []Run  `json:"runs"`
}

// Run is messages First to Last, each once, one after the other.
type Run struct {
	First uint32 `json:"first"`
	Last  uint32 `json:"last"`
}

// Receive records the arrival of one message. A stream without faults costs
// one Run, however long it is.
func (s *Session) Receive(stream, seq uint32) {
	for i := range s.Tracks {
		if t := &s.Tracks[i]; t.Stream == stream {
			if last := &t.Runs[len(t.Runs)-1]; seq == last.Last+1 {
				last.Last = seq
			} else {
				t.Runs = append(t.Runs, Run{seq, seq})
			}
			return
		}
	}
	s.Tracks = append(s.Tracks, Track{Stream: stream, Runs: []Run{{seq, seq}}})
}

// Damaged records a message whose bytes are not those that were sent.
func (s *Session) Damaged(message []byte) {
	if s.Corrupt++; s.Corrupt == 1 {
		s.Example = string(message[:min(len(message), 64)])
	}
}
