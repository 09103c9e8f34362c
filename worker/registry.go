package worker

import "encoding/binary"

// registry holds the connections of the process: a dense slice to walk, a
// dense slice of deadlines for the heartbeat to scan, and an open-addressing
// index by id. A map would cost three times the bytes per connection.
type registry struct {
	all      []*Conn
	deadline []uint32 // by Conn.index: second of monotonic time at which to look at it, 0 = never
	table    []uint32 // index+1 into all, 0 = free; length is a power of two
}

func (r *registry) len() int { return len(r.all) }

// snapshot copies the slice, for callers that run user code per connection.
func (r *registry) snapshot() []*Conn { return append([]*Conn(nil), r.all...) }

func (r *registry) hash(id *ID) uint32 { return binary.LittleEndian.Uint32(id[4:8]) }

func (r *registry) add(c *Conn) {
	if 4*(len(r.all)+1) > 3*len(r.table) {
		r.grow()
	}
	c.index = uint32(len(r.all))
	r.all = append(r.all, c)
	r.deadline = append(r.deadline, 0)
	r.place(c)
}

func (r *registry) place(c *Conn) {
	mask := uint32(len(r.table) - 1)
	i := r.hash(&c.id) & mask
	for r.table[i] != 0 {
		i = (i + 1) & mask
	}
	r.table[i] = c.index + 1
}

func (r *registry) grow() {
	n := max(64, 2*len(r.table))
	r.table = make([]uint32, n)
	for _, c := range r.all {
		r.place(c)
	}
}

// find returns the connection with that id, or nil.
func (r *registry) find(id *ID) *Conn {
	if len(r.table) == 0 {
		return nil
	}
	if i, ok := r.locate(id); ok {
		return r.all[r.table[i]-1]
	}
	return nil
}

// locate returns the place of id in the table.
func (r *registry) locate(id *ID) (uint32, bool) {
	mask := uint32(len(r.table) - 1)
	for i := r.hash(id) & mask; r.table[i] != 0; i = (i + 1) & mask {
		if r.all[r.table[i]-1].id == *id {
			return i, true
		}
	}
	return 0, false
}

// remove takes c out; the last connection moves to its index.
func (r *registry) remove(c *Conn) {
	if i, ok := r.locate(&c.id); ok {
		r.free(i)
	}
	last := len(r.all) - 1
	if moved := r.all[last]; moved != c {
		if i, ok := r.locate(&moved.id); ok {
			r.table[i] = c.index + 1
		}
		moved.index = c.index
		r.all[c.index] = moved
		r.deadline[c.index] = r.deadline[last]
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
		r.table = make([]uint32, len(r.table)/2)
		for _, c := range r.all {
			r.place(c)
		}
	}
}
