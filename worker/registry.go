package worker

import "encoding/binary"

// registry holds the connections of the process: a dense slice to walk, a
// dense slice of deadlines for the heartbeat to scan, and an open-addressing
// index by id. A map would cost three times the bytes per connection.
type registry struct {
	all      []*Conn
	deadline []uint32 // like all: second of monotonic time at which to look at it, 0 = never
	table    []uint32 // index+1 into all, 0 = free; length is a power of two
}

func (r *registry) len() int { return len(r.all) }

// snapshot copies the slice, for callers that run user code per connection.
func (r *registry) snapshot() []*Conn { return append([]*Conn(nil), r.all...) }

func (r *registry) hash(id *ID) uint32 { return binary.LittleEndian.Uint32(id[4:8]) }

func (r *registry) add(c *Conn) {
	if 4*(len(r.all)+1) > 3*len(r.table) {
		r.resize(max(64, 2*len(r.table)))
	}
	r.all = append(r.all, c)
	r.deadline = append(r.deadline, 0)
	r.place(len(r.all) - 1)
}

// place puts connection i into the table.
func (r *registry) place(i int) {
	mask := uint32(len(r.table) - 1)
	at := r.hash(&r.all[i].id) & mask
	for r.table[at] != 0 {
		at = (at + 1) & mask
	}
	r.table[at] = uint32(i) + 1
}

func (r *registry) resize(n int) {
	r.table = make([]uint32, n)
	for i := range r.all {
		r.place(i)
	}
}

// when returns the deadline of c, for reading and writing until the next one
// comes or goes. That of a connection which is not here leads nowhere.
func (r *registry) when(c *Conn) *uint32 {
	if at, ok := r.locate(&c.id); ok {
		return &r.deadline[r.table[at]-1]
	}
	return new(uint32)
}

// find returns the connection with that id, or nil.
func (r *registry) find(id *ID) *Conn {
	if at, ok := r.locate(id); ok {
		return r.all[r.table[at]-1]
	}
	return nil
}

// locate returns the place of id in the table.
func (r *registry) locate(id *ID) (uint32, bool) {
	if len(r.table) == 0 {
		return 0, false
	}
	mask := uint32(len(r.table) - 1)
	for at := r.hash(id) & mask; r.table[at] != 0; at = (at + 1) & mask {
		if r.all[r.table[at]-1].id == *id {
			return at, true
		}
	}
	return 0, false
}

// remove takes c out, if it is there; the last connection moves to its place.
func (r *registry) remove(c *Conn) {
	at, ok := r.locate(&c.id)
	if !ok {
		return
	}
	i, last := r.table[at]-1, len(r.all)-1
	r.free(at)
	if int(i) != last {
		if at, ok := r.locate(&r.all[last].id); ok {
			r.table[at] = i + 1
		}
		r.all[i], r.deadline[i] = r.all[last], r.deadline[last]
	}
	r.all[last] = nil
	r.all = r.all[:last]
	r.deadline = r.deadline[:last]
	r.shrink()
}

// free empties place i and closes the gap that it leaves in its probe run.
func (r *registry) free(i uint32) {
	mask := uint32(len(r.table) - 1)
	r.table[i] = 0
	for j := (i + 1) & mask; r.table[j] != 0; j = (j + 1) & mask {
		home := r.hash(&r.all[r.table[j]-1].id) & mask
		if (j-home)&mask >= (j-i)&mask {
			r.table[i], r.table[j] = r.table[j], 0
			i = j
		}
	}
}

// shrink gives memory back after most connections have left.
func (r *registry) shrink() {
	if n := len(r.all); cap(r.all) > 1024 && n < cap(r.all)/4 {
		r.all = append(make([]*Conn, 0, 2*n), r.all...)
		r.deadline = append(make([]uint32, 0, 2*n), r.deadline...)
		r.resize(len(r.table) / 2)
	}
}
