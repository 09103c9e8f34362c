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

const (
	// publisherIdle is how long a silent publisher is remembered where there are
	// many of them, publisherKept where there are few, as it may be behind a cable
	// that is out. One that speaks again later starts from a new base.
	publisherIdle = 10 * time.Minute
	publisherKept = 24 * time.Hour
	publisherFew  = 512 // some 0.6 KB each
	// youth is for how long it is known which number was the first: an heir is
	// told within it where the process before it stood.
	youth = 5 * time.Minute
)

// sequences remembers where each publisher stands. Not safe for concurrent use.
type sequences struct {
	publishers map[uint64]*position
	expected   map[source]uint64 // sources that have not been heard: what is behind this is to come
	told       time.Time         // when expect was called last
	began      time.Time         // zero until the first number
	swept      time.Time
}

// position is the last sequence number per shard, 0 = none heard yet.
type position struct {
	last  [worker.Shards]uint64
	first *[worker.Shards]uint64 // the lowest that could have been heard, 0 = unknown; nil when nobody can ask any more
	whole bool                   // where none was heard, none was sent
	heard time.Time
}

func newSequences() *sequences {
	return &sequences{publishers: map[uint64]*position{}}
}

func (s *sequences) of(publisher uint64, now time.Time) *position {
	if s.began.IsZero() {
		s.began = now
	}
	p := s.publishers[publisher]
	if p == nil {
		p = &position{first: new([worker.Shards]uint64)}
		s.publishers[publisher] = p
	}
	p.heard = now
	return p
}

// advance moves src to seq, which is at least 1. fresh is false for a number
// that is not above the last one: a duplicate. missing counts the numbers that
// were skipped; the first one heard from a source is its base and skips none,
// unless the publisher is known to have sent nothing before, or expect has said
// where to begin.
func (s *sequences) advance(src source, seq uint64, now time.Time) (fresh bool, missing uint64) {
	p := s.of(src.Publisher, now)
	if seq <= p.last[src.Shard] {
		return false, 0
	}
	missing = seq - 1 - s.base(p, src, seq-1)
	p.last[src.Shard] = seq
	return true, missing
}

// settle handles an announced position: all numbers up to and including seq
// were sent before it, so those above the last one are lost.
func (s *sequences) settle(src source, seq uint64, now time.Time) (missing uint64) {
	p := s.of(src.Publisher, now)
	if seq <= p.last[src.Shard] {
		return 0
	}
	missing = seq - s.base(p, src, seq)
	p.last[src.Shard] = seq
	return missing
}

// base is the number of src behind which something is missing, up to `before`. A
// source that is heard for the first time begins there.
func (s *sequences) base(p *position, src source, before uint64) uint64 {
	last := p.last[src.Shard]
	if last != 0 || p.whole {
		return last
	}
	if p.first != nil {
		p.first[src.Shard] = before + 1
	}
	if at, ok := s.expected[src]; ok {
		delete(s.expected, src)
		return min(at, before)
	}
	return before
}

// expect is told how far another process had heard src when this one, which goes on
// in its place, heard already: what lies between that and the first number that was
// heard here is missing to what comes from there.
func (s *sequences) expect(src source, seq uint64, now time.Time) (missing uint64) {
	s.told = now
	p := s.publishers[src.Publisher]
	switch {
	case p != nil && p.whole && (p.first == nil || p.first[src.Shard] == 0):
		return 0 // heard from its beginning
	case p == nil || p.last[src.Shard] == 0:
		if s.expected == nil {
			s.expected = map[source]uint64{}
		}
		s.expected[src] = seq
		return 0
	case p.first == nil || p.first[src.Shard] <= seq+1:
		return 0
	}
	return p.first[src.Shard] - 1 - seq
}

// each calls f for all that has been heard.
func (s *sequences) each(f func(src source, seq uint64)) {
	for id, p := range s.publishers {
		for shard, seq := range p.last {
			if seq > 0 {
				f(source{id, uint8(shard)}, seq)
			}
		}
	}
}

// complete handles the end of an announcement of all positions. It reports
// whether the publisher was not known so well before.
func (s *sequences) complete(publisher uint64, now time.Time) (news bool) {
	p := s.of(publisher, now)
	news, p.whole = !p.whole, true
	return news
}

// younger says that the publisher began when this process was there: it should have
// been heard from its first number on. That of shard 0 is its greeting. What was not
// is told shard by shard.
func (s *sequences) younger(publisher uint64, now time.Time, missing func(shard uint8, n uint64)) {
	p := s.of(publisher, now)
	if p.whole {
		return
	}
	p.whole = true
	for shard, first := range p.first {
		if n := first - min(first, 1); n > 0 && (shard > 0 || n > 1) {
			if shard == 0 {
				n--
			}
			missing(uint8(shard), n)
		}
	}
	clear(p.first[:])
	p.last[0] = max(p.last[0], 1)
}

// sweep forgets, at most once a minute, publishers silent for publisherIdle.
func (s *sequences) sweep(now time.Time) {
	if now.Sub(s.swept) < time.Minute {
		return
	}
	s.swept = now
	idle := publisherKept
	if len(s.publishers) > publisherFew {
		idle = publisherIdle
	}
	young := now.Sub(s.began) < youth
	for id, p := range s.publishers {
		if now.Sub(p.heard) >= idle {
			delete(s.publishers, id)
		}
		if !young && p.whole {
			p.first = nil
		}
	}
	if now.Sub(s.told) >= publisherKept {
		s.expected = nil
	}
}
