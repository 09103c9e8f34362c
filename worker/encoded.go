package worker

import "github.com/pushd/pushd/worker/history"

// frames holds one message in each encoding that was asked for, so that it is
// encoded once, however many get it. There are few: most publications need one.
type frames struct {
	list []encoded
	room [1]encoded
}

// encoded is the message for the connections of one variant.
type encoded struct {
	variant variant
	stamper *route // that tells positions; nil: they are not told
	frame   []byte
}

func (f *frames) of(c *Conn, p *Publication) []byte {
	v := c.transport.variant(c, len(p.Data))
	var stamper *route
	if p.Stamp != nil || p.Kind == KindRecovery {
		stamper = c.stamper()
	}
	for i := range f.list {
		if f.list[i].variant == v && f.list[i].stamper == stamper {
			return f.list[i].frame
		}
	}
	if f.list == nil {
		f.list = f.room[:0]
	}
	b := c.encodeAll(p, stamper)
	f.list = append(f.list, encoded{v, stamper, b})
	return b
}

// frameHead is more than most transports put around a message.
const frameHead = 10

// encodeAll encodes what the publication has for clients of c's variant.
func (c *Conn) encodeAll(p *Publication, stamper *route) []byte {
	b := make([]byte, 0, len(p.Data)+frameHead)
	switch {
	case p.Kind == KindRecovery:
		return c.encodeReply(b, p, stamper)
	case stamper != nil:
		return c.transport.encode(c, b, stamper.stamped(c, &Published{p.Target, p.Stamp.Position, p.Stamp.Prev, Message{Data: p.Data, Binary: p.Binary}}))
	case p.Kind != KindMessages:
		return c.transport.encode(c, b, Message{Data: p.Data, Binary: p.Binary})
	}
	_, _ = EachMessage(p.Data, func(m []byte) { b = c.transport.encode(c, b, Message{Data: m, Binary: p.Binary}) })
	return b
}

// encodeReply encodes what was missed.
func (c *Conn) encodeReply(b []byte, p *Publication, stamper *route) []byte {
	reply, err := history.ParseReply(p.Data)
	if err != nil {
		return b // nobody has joined by it
	}
	prev := uint64(0)
	reply.EachMessage(func(m history.Message) {
		message := Message{Data: m.Data, Binary: m.Kind == history.Binary}
		if stamper != nil {
			message = stamper.stamped(c, &Published{p.Target, history.Position{Epoch: reply.Epoch, Offset: m.Offset}, prev, message})
		}
		b, prev = c.transport.encode(c, b, message), m.Offset
	})
	return b
}
