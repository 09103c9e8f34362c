package worker

import (
	"encoding/binary"
	"errors"
)

// Notice is what a service says to a connection, by a publication of
// KindService. It takes its place among the messages of its target like one of
// them: what was published before it has reached the connection, what comes
// after has not, and it reaches the connection once, reloads included.
//
// In a process that takes connections over, OnService may run for a connection
// before its OnResume; session values and channels are there already.
type Notice struct {
	Target  string // of the publication
	Code    uint16 // what kind of notice, in the service's own numbers
	Message Message
}

// serviceNotice calls the callback; true lets the message go to the client.
func (r *route) serviceNotice(c *Conn, p *Publication) (send bool) {
	if r.onService == nil {
		return false
	}
	defer c.loop.contain("OnService", c)
	return r.onService(c, Notice{Target: p.Target, Code: p.Code, Message: Message{Data: p.Data, Binary: p.Binary}})
}

// AppendMessage appends a message to the Data of a publication of KindMessages.
func AppendMessage(dst, message []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(message))), message...)
}

var errMessages = errors.New("publication of several messages is damaged")

// EachMessage undoes AppendMessage: it calls visit, if there is one, for each
// message in data and returns their number, with an error if data is damaged.
// The messages are parts of data.
func EachMessage(data []byte, visit func(message []byte)) (n int, err error) {
	for len(data) > 0 {
		size, w := binary.Uvarint(data)
		if w <= 0 || size > uint64(len(data)-w) {
			return n, errMessages
		}
		if visit != nil {
			visit(data[w : w+int(size)])
		}
		data = data[w+int(size):]
		n++
	}
	return n, nil
}

// weight is what a publication counts in bytes while it is kept.
func (p *Publication) weight() int { return len(p.Data) + 64 + 64*len(p.Conns) }
