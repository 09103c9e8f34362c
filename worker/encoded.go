package worker

// frames holds one message in each encoding that was asked for, so that it is
// encoded once, however many get it. There are few: most publications need one.
type frames struct {
	list []encoded
	room [1]encoded
}

// encoded is the message for the connections of one variant.
type encoded struct {
	variant variant
	frame   []byte
}

func (f *frames) of(c *Conn, p *Publication) []byte {
	v := c.transport.variant(c, len(p.Data))
	for i := range f.list {
		if f.list[i].variant == v {
			return f.list[i].frame
		}
	}
	if f.list == nil {
		f.list = f.room[:0]
	}
	b := c.encodeAll(p)
	f.list = append(f.list, encoded{v, b})
	return b
}

// frameHead is more than most transports put around a message.
const frameHead = 10

// encodeAll encodes what the publication has for clients of c's variant.
func (c *Conn) encodeAll(p *Publication) []byte {
	b := make([]byte, 0, len(p.Data)+frameHead)
	if p.Kind != KindMessages {
		return c.transport.encode(c, b, Message{Data: p.Data, Binary: p.Binary})
	}
	_, _ = EachMessage(p.Data, func(m []byte) { b = c.transport.encode(c, b, Message{Data: m, Binary: p.Binary}) })
	return b
}
