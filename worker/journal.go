package worker

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pushd/pushd/worker/history"
	"github.com/pushd/pushd/worker/record"
)

// source is where publications are counted: a publisher's shard.
type source struct {
	publisher uint64
	shard     uint8
}

// vector says how far each source has been delivered.
type vector map[source]uint64

// sourceIdle is how long a silent source is remembered, at least.
const sourceIdle = 10 * time.Minute

// heard is the vector of this process. It forgets sources that have been silent
// for a while: publishers come and go with every reload.
type heard struct {
	recent, older vector
	turned        time.Duration // when recent became older
	news          vector        // since takeNews; nil when nobody takes them
}

func (h *heard) note(s source, seq uint64, now time.Duration) {
	if h.recent == nil || now-h.turned >= sourceIdle {
		h.recent, h.older, h.turned = vector{}, h.recent, now
	}
	h.recent[s] = seq
	if h.news != nil {
		h.news[s] = seq
	}
}

// noteNews begins: at first all is news.
func (h *heard) noteNews() { h.news = h.vector() }

// takeNews returns what has changed since it was called last.
func (h *heard) takeNews() vector {
	news := h.news
	if len(news) > 0 {
		h.news = vector{}
	}
	return news
}

// covers reports whether everything in v has been delivered here.
func (h *heard) covers(v vector) bool {
	for s, n := range v {
		if h.recent[s] < n && h.older[s] < n {
			return false
		}
	}
	return true
}

// vector returns a copy.
func (h *heard) vector() vector {
	v := make(vector, len(h.recent)+len(h.older))
	maps.Copy(v, h.older)
	maps.Copy(v, h.recent)
	return v
}

// journal remembers, during a hand-over, what has been delivered to the members
// of this process, so that connections which were on their way get it later.
type journal struct {
	on      bool
	entries []Publication
	bytes   int
	lost    int // dropped for want of room, so perhaps lost
}

// Bounds of the journal. A hand-over takes about a second; at 50,000
// publications a second of 1 KiB it fits.
const (
	journalEntries = 128 << 10
	journalBytes   = 64 << 20
)

// note appends a publication that has been delivered, dropping the oldest when
// the journal is full.
func (j *journal) note(p Publication) {
	if !j.on {
		return
	}
	j.entries = append(j.entries, p)
	j.bytes += p.Weight() + 64
	for j.bytes > journalBytes || len(j.entries) > journalEntries {
		j.bytes -= j.entries[0].Weight() + 64
		j.entries[0] = Publication{}
		j.entries = j.entries[1:]
		j.lost++
	}
}

// closeJournal ends the journal. What it has dropped may be missing to clients
// that were on their way.
func (l *loop) closeJournal() {
	if lost := l.fan.journal.lost; lost > 0 {
		l.counts.gaps += uint64(lost)
		l.log.Warn("journal of the hand-over overflowed", "publications", lost)
	}
	l.fan.journal = journal{}
}

// has reports whether a connection that was at v has had p.
func (v vector) has(p *Publication) bool { return p.Seq <= v[source{p.Publisher, p.Shard}] }

const (
	vectorEntry = 8 + 1 + 8
	maxSources  = 1 << 20 // of a vector that is read; 4,096 workers and those before them have half
)

func (v vector) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(v)))
	for s, n := range v {
		dst = binary.BigEndian.AppendUint64(dst, s.publisher)
		dst = append(dst, s.shard)
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	return dst
}

func parseVector(b []byte) (v vector, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("vector: %w", record.ErrDamaged)
	}
	n := int(binary.BigEndian.Uint32(b))
	if b = b[4:]; n > min(len(b)/vectorEntry, maxSources) {
		return nil, nil, fmt.Errorf("vector: %w", record.ErrDamaged)
	}
	v = make(vector, n)
	for range n {
		v[source{binary.BigEndian.Uint64(b), b[8]}] = binary.BigEndian.Uint64(b[9:])
		b = b[vectorEntry:]
	}
	return v, b, nil
}

// replay delivers to conns, which stood at v, what the journal has beyond it.
// Each entry is encoded once. It reports whether anybody got a further answer.
func (l *loop) replay(conns []*Conn, v vector) (further bool) {
	j := &l.fan.journal
	l.recall.replaying = true
	defer func() { l.recall.replaying = false }()
	for i := range j.entries {
		p := &j.entries[i]
		if v.has(p) {
			continue
		}
		d := l.newDelivery(*p)
		if p.Kind == KindRecovery {
			if reply, err := history.ParseReply(p.Data); err == nil {
				d.reply = &reply
			}
		}
		d.mark = l.w.markOf(p)
		l.progress.Add(1)
		for _, c := range conns {
			if d.targets(c, l) && d.includes(c) {
				d.reached += d.act(l, c)
			}
		}
		further = l.credit(p, d.reached) || further
	}
	return further
}

// targets reports whether the publication is for c, by name.
func (d *delivery) targets(c *Conn, l *loop) bool {
	switch d.pub.Scope {
	case ScopeConn:
		return c.id.String() == d.pub.Target
	case ScopeUID:
		return c.UID() == d.pub.Target
	case ScopeList:
		return slices.Contains(d.pub.Conns, c.id.String())
	case ScopeAll:
		return d.pub.Target == "" || d.pub.Target == l.w.Name
	}
	return c.InChannel(d.pub.Target)
}
