package history

import "encoding/binary"

// A channel's messages are in one piece of memory without pointers, so that a
// million of them cost the collector nothing:
//
//	name · records from head on
//	record: offset · milliseconds · bytes of data, all uvarint · kind 1 · data
//
// What is before head was kept once. 64 bytes are a size class of Go's heap; a
// test holds channel there.
type channel struct {
	next  *channel // in the same place of the table
	buf   []byte
	last  uint64 // offset of the newest message ever
	lost  uint64 // of the newest that is not kept any more, 0 = none
	head  uint32 // of the first record in buf
	stale uint32 // entries of Store.queue for messages that are gone
	seq   uint16 // place in Store.seqs
	name  uint16 // length of the name
	n     uint16 // messages
	why   Reason // of lost
}

// MaxHistory is the most messages that a channel keeps.
const MaxHistory = 1<<16 - 1

// MaxName is the longest name of a channel with history, in bytes.
const MaxName = 1<<16 - 1

// record is one message in buf.
type record struct {
	offset uint64
	ms     uint64
	kind   byte
	data   []byte
	size   int // of the record
}

// parse reads the record that b begins with.
func parse(b []byte) (r record) {
	var n uint64
	var w int
	r.offset, w = binary.Uvarint(b)
	r.size = w
	r.ms, w = binary.Uvarint(b[r.size:])
	r.size += w
	n, w = binary.Uvarint(b[r.size:])
	r.size += w
	r.kind = b[r.size]
	r.size++
	r.data = b[r.size : r.size+int(n)]
	r.size += int(n)
	return r
}

func recordSize(offset, ms uint64, data []byte) int {
	return uvarintLen(offset) + uvarintLen(ms) + uvarintLen(uint64(len(data))) + 1 + len(data)
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func (c *channel) is(seq uint16, name string) bool {
	return c.seq == seq && string(c.buf[:c.name]) == name
}

func (c *channel) text() string { return string(c.buf[:c.name]) }

// first returns the oldest message; there must be one.
func (c *channel) first() record { return parse(c.buf[c.head:]) }

// at returns the message behind n older ones; there must be so many.
func (c *channel) at(n int) (r record) {
	for at := int(c.head); n >= 0; n-- {
		r = parse(c.buf[at:])
		at += r.size
	}
	return r
}

// append adds a message. It makes room by moving what is kept to the front, or,
// when little would be won by that, by a larger buffer.
func (c *channel) append(offset, ms uint64, kind byte, data []byte) {
	need := recordSize(offset, ms, data)
	if free := cap(c.buf) - len(c.buf); free < need {
		c.makeRoom(need)
	}
	b := binary.AppendUvarint(c.buf, offset)
	b = binary.AppendUvarint(b, ms)
	b = binary.AppendUvarint(b, uint64(len(data)))
	b = append(b, kind)
	c.buf = append(b, data...)
	c.last = offset
	c.n++
}

// reserve makes room for n bytes of messages in a channel that has none yet.
func (c *channel) reserve(n int) {
	if c.n == 0 {
		c.buf = append(make([]byte, 0, int(c.name)+n), c.buf[:c.name]...)
	}
}

// makeRoom is for need more bytes. The buffer grows by an eighth: a copy of it
// for every eighth of its messages, and no more than that of memory unused.
func (c *channel) makeRoom(need int) {
	live := len(c.buf) - int(c.head)
	size := int(c.name) + live + need
	buf := c.buf[:0]
	if full := size + size/8; full > cap(c.buf) || full < cap(c.buf)-cap(c.buf)/8 {
		if c.n > 0 {
			size += size / 8
		}
		buf = make([]byte, 0, size)
		buf = append(buf, c.buf[:c.name]...)
	} else {
		buf = buf[:c.name]
	}
	c.buf = append(buf, c.buf[c.head:]...)
	c.head = uint32(c.name)
}

// drop forgets the oldest message.
func (c *channel) drop(why Reason) {
	r := c.first()
	c.head += uint32(r.size)
	if r.offset > c.lost { // else something behind it was lost on the way here
		c.lost, c.why = r.offset, why
	}
	c.n--
	switch live := len(c.buf) - int(c.head); {
	case c.n == 0:
		c.empty()
	case int(c.head)-int(c.name) > live/4+64:
		c.makeRoom(0)
	}
}

// empty gives back the memory of messages that are gone.
func (c *channel) empty() {
	c.buf = append(make([]byte, 0, c.name), c.buf[:c.name]...)
	c.head, c.n = uint32(c.name), 0
}

// remove forgets one message, as if it had never been; false = it is not kept.
func (c *channel) remove(offset uint64) bool {
	for at := int(c.head); at < len(c.buf); {
		r := parse(c.buf[at:])
		if r.offset == offset {
			n := copy(c.buf[at:], c.buf[at+r.size:])
			clear(c.buf[at+n:]) // what was asked to be forgotten is not left in memory
			c.buf = c.buf[:at+n]
			c.stale++
			if c.n--; c.n == 0 {
				c.empty()
			}
			return true
		}
		at += r.size
	}
	return false
}
