package worker

import (
	"github.com/pushd/pushd/protocol/sse"
	"github.com/pushd/pushd/worker/history"
)

// frames holds one message in each encoding that was asked for, so that it is
// encoded once, however many get it. There are few: most publications need one.
type frames struct {
	list []encoded
	room [1]encoded
}

// encoded is the message for the connections of one variant.
type encoded struct {
	variant variant
	teller  *route // that words it; nil: it is sent as it is
	frame   []byte
	err     error // it cannot be encoded for these
}

func (f *frames) of(c *Conn, p *Publication) ([]byte, error) {
	v, teller := c.transport.variant(c, len(p.Data)), c.teller(p)
	if p.Kind == KindRecovery && c.route.onFilter != nil {
		return c.encodeAll(p, teller) // each gets its own of what was missed
	}
	for i := range f.list {
		if f.list[i].variant == v && f.list[i].teller == teller {
			return f.list[i].frame, f.list[i].err
		}
	}
	if f.list == nil {
		f.list = f.room[:0]
	}
	b, err := c.encodeAll(p, teller)
	f.list = append(f.list, encoded{v, teller, b, err})
	return b, err
}

// frameHead is more than most transports put around a message.
const frameHead = 10

// encodeAll encodes what the publication has for clients of c's variant.
func (c *Conn) encodeAll(p *Publication, teller *route) (b []byte, err error) {
	defer c.containProtocol(&err)
	b = make([]byte, 0, len(p.Data)+frameHead)
	switch {
	case p.Kind == KindRecovery:
		b = c.encodeReply(b, p, teller)
	case p.Kind != KindMessages:
		b = c.encode(b, teller, published(p, p.Data))
	default:
		_, _ = EachMessage(p.Data, func(m []byte) { b = c.encode(b, teller, published(p, m)) })
	}
	return b, nil
}

// published is a message of a publication.
func published(p *Publication, data []byte) Published {
	m := Published{Message: Message{Data: data, Binary: p.Binary}}
	if p.Scope == ScopeChannel {
		m.Channel = p.Target
	}
	if p.Stamp != nil {
		m.Position, m.Prev = p.Stamp.Position, p.Stamp.Prev
	}
	return m
}

// encode appends one message.
func (c *Conn) encode(b []byte, teller *route, m Published) []byte {
	if teller == nil {
		return c.transport.encode(c, b, m.Message)
	}
	told := m // what a handler is given lives on the heap
	if !c.transport.events {
		return c.transport.encode(c, b, teller.stamped(c, &told))
	}
	told.Partial = c.joins()
	if told.Position != (history.Position{}) && teller.onPosition != nil && c.Positions() {
		told.Message = teller.stamped(c, &told)
	}
	if told.Message.Data == nil {
		told.Message.Data = []byte{} // an event of nothing is one
	}
	return sse.Append(b, teller.event(c, &told))
}

// encodeReply encodes what was missed.
func (c *Conn) encodeReply(b []byte, p *Publication, teller *route) []byte {
	reply, err := history.ParseReply(p.Data)
	if err != nil {
		return b // nobody has joined by it
	}
	prev := uint64(0)
	reply.EachMessage(func(m history.Message) {
		missed := Published{
			Channel: p.Target, Position: history.Position{Epoch: reply.Epoch, Offset: m.Offset}, Prev: prev,
			Message: Message{Data: m.Data, Binary: m.Kind == history.Binary},
		}
		prev = m.Offset
		if c.passes(&missed) {
			b = c.encode(b, teller, missed)
		}
	})
	return b
}
