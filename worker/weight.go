package worker

import (
	"encoding/binary"

	"github.com/pushd/pushd/protocol/tls"
	"github.com/pushd/pushd/worker/record"
)

// What a record weighs is what bounds a batch of the hand-over, on both sides:
// its bytes, and a little for each field, since a reader makes an object of
// many. A client decides how much of it there is: whatever grows with what it
// sends, or does not read, has to be counted here.

const plainWeight = 16 * (record.FieldWeight + binary.MaxVarintLen64)

// weight returns no less than the record of c takes, and than the reader will
// find that it weighs.
func (c *Conn) weight() int {
	n := plainWeight + len(c.port.addr.text) + len(c.route.exact) + len(c.UID()) + c.out.weight()
	for _, name := range c.Channels() {
		n += record.FieldWeight + len(name)
	}
	if c.more != nil {
		n += c.more.texts.Weight()
	}
	if p := c.poll(); p != nil {
		n += record.FieldWeight + 50 + len(p.header) + len(p.idle) + len(p.items)
	}
	if c.in != nil {
		n += record.FieldWeight + c.in.weight()
	}
	if c.session != nil {
		n += record.FieldWeight + tls.MaxState
	}
	return n
}

func (q *queue) weight() int {
	if q == nil {
		return 0
	}
	n := q.bytes + record.FieldWeight*(len(q.frames)+1)
	for _, m := range q.marks {
		n += record.FieldWeight + len(m.slow) + len(m.channel)
	}
	return n
}
