package delivered

import "github.com/pushd/pushd/worker/bus"

// Journal remembers, during a hand-over, what has been delivered to the members
// of this process, so that connections which were on their way get it later. That of an
// heir begins with the process: on several machines it may hang on another server than
// the process before, and hear what that one has yet to hear.
type Journal struct {
	on      bool
	entries []bus.Publication
	bytes   int
	floor   Vector // up to what it does not have it: dropped, or from before it began
	missed  Vector // of that, what was not ours to have, or has been counted by Lacks
}

// Bounds of the journal. A hand-over takes about a second; at 50,000
// publications a second of 1 KiB it fits.
const (
	MaxEntries = 128 << 10
	MaxBytes   = 64 << 20 // by Publication.Weight, and 64 for each
)

// Open begins; in an open journal it changes nothing.
func (j *Journal) Open() { j.on = true }

// OpenBehind is Open of a process that has delivered v already, which the journal does
// not have.
func (j *Journal) OpenBehind(v Vector) { *j = Journal{on: true, floor: v, missed: Vector{}} }

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
		j.drop()
	}
}

func (j *Journal) drop() {
	if j.floor == nil {
		j.floor, j.missed = Vector{}, Vector{}
	}
	first := &j.entries[0]
	s := SourceOf(first)
	if _, dropped := j.floor[s]; !dropped { // what came before it was never in the journal
		j.missed[s] = first.Seq - 1
	}
	j.floor[s] = first.Seq
	j.bytes -= first.Weight() + 64
	*first = bus.Publication{}
	j.entries = j.entries[1:]
}

// Lacks counts what the journal does not have and who stood at v has not had, but for
// what it has counted before. Of a source that v does not know, and that was heard before
// the journal began, nobody knows where it began: that is nothing.
func (j *Journal) Lacks(v Vector) (lost uint64) {
	for s, n := range j.floor {
		at, known := v[s]
		from, began := j.missed[s]
		if at = max(at, from); n > at && (known || began) {
			lost += n - at
			j.missed[s] = n
		}
	}
	return lost
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

// Close ends the journal and gives up its memory.
func (j *Journal) Close() { *j = Journal{} }
