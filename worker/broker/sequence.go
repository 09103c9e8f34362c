package broker

import (
	"time"

	"github.com/pushd/pushd/worker"
)

// source is one ordered stream: what one publisher sends into one shard.
type source struct {
	Publisher uint64
	Shard     uint8
}

// publisherIdle is how long a silent publisher is remembered. One that speaks
// again later starts from a new base.
const publisherIdle = 10 * time.Minute

// sequences remembers where each publisher stands. Not safe for concurrent use.
type sequences struct {
	publishers map[uint64]*position
	swept      time.Time
}

// position is the last sequence number per shard, 0 = none heard yet.
type position struct {
	last  [worker.Shards]uint64
	whole bool // where none was heard, none was sent
	heard time.Time
}

func newSequences() *sequences {
	return &sequences{publishers: map[uint64]*position{}}
}

func (s *sequences) of(publisher uint64, now time.Time) *position {
	p := s.publishers[publisher]
	if p == nil {
		p = new(position)
		s.publishers[publisher] = p
	}
	p.heard = now
	return p
}

// advance moves src to seq, which is at least 1. fresh is false for a number
// that is not above the last one: a duplicate. missing counts the numbers that
// were skipped; the first one heard from a source is its base and skips none,
// unless the publisher is known to have sent nothing before.
func (s *sequences) advance(src source, seq uint64, now time.Time) (fresh bool, missing uint64) {
	p := s.of(src.Publisher, now)
	last := &p.last[src.Shard]
	if seq <= *last {
		return false, 0
	}
	if *last != 0 || p.whole {
		missing = seq - *last - 1
	}
	*last = seq
	return true, missing
}

// settle handles an announced position: all numbers up to and including seq
// were sent before it, so those above the last one are lost.
func (s *sequences) settle(src source, seq uint64, now time.Time) (missing uint64) {
	p := s.of(src.Publisher, now)
	last := &p.last[src.Shard]
	if seq <= *last {
		return 0
	}
	if *last != 0 || p.whole {
		missing = seq - *last
	}
	*last = seq
	return missing
}

// complete handles the end of an announcement of all positions. It reports
// whether the publisher was not known so well before.
func (s *sequences) complete(publisher uint64, now time.Time) (news bool) {
	p := s.of(publisher, now)
	news, p.whole = !p.whole, true
	return news
}

// sweep forgets, at most once a minute, publishers silent for publisherIdle.
func (s *sequences) sweep(now time.Time) {
	if now.Sub(s.swept) < time.Minute {
		return
	}
	s.swept = now
	for id, p := range s.publishers {
		if now.Sub(p.heard) >= publisherIdle {
			delete(s.publishers, id)
		}
	}
}
