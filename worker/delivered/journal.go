package delivered

import "github.com/pushd/pushd/worker/bus"

// Journal remembers, during a hand-over, what has been delivered to the members
// of this process, so that connections which were on their way get it later.
type Journal struct {
	on      bool
	entries []bus.Publication
	bytes   int
	lost    int // dropped for want of room, so perhaps lost
}

// Bounds of the journal. A hand-over takes about a second; at 50,000
// publications a second of 1 KiB it fits.
const (
	MaxEntries = 128 << 10
	MaxBytes   = 64 << 20 // by Publication.Weight, and 64 for each
)

// Open begins; in an open journal it changes nothing.
func (j *Journal) Open() { j.on = true }

// On reports whether the journal is open.
func (j *Journal) On() bool { return j.on }

// Note appends a publication that has been delivered, dropping the oldest when
// the journal is full. A closed journal notes nothing.
func (j *Journal) Note(p bus.Publication) {
	if !j.on {
		return
	}
	j.entries = append(j.entries, p)
	j.bytes += p.Weight() + 64
	for j.bytes > MaxBytes || len(j.entries) > MaxEntries {
		j.bytes -= j.entries[0].Weight() + 64
		j.entries[0] = bus.Publication{}
		j.entries = j.entries[1:]
		j.lost++
	}
}

// Len returns how many publications are kept.
func (j *Journal) Len() int { return len(j.entries) }

// After calls visit for each that is kept and that who was at v has not had, in the
// order in which they were delivered.
func (j *Journal) After(v Vector, visit func(p *bus.Publication)) {
	for i := range j.entries {
		if p := &j.entries[i]; !v.Has(p) {
			visit(p)
		}
	}
}

// Close ends the journal and gives up its memory. It returns how many it had dropped:
// they may be missing to those that were on their way.
func (j *Journal) Close() (lost int) {
	lost = j.lost
	*j = Journal{}
	return lost
}
