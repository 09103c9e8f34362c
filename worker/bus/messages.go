package bus

import (
	"encoding/binary"
	"errors"
)

// AppendMessage appends a message to the Data of a publication of KindMessages.
func AppendMessage(dst, message []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(message))), message...)
}

var errMessages = errors.New("publication of several messages is damaged")

// EachMessage undoes AppendMessage: it calls visit, if there is one, for each
// message in data and returns their number, with an error if data is damaged.
// The messages are Parts of data.
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

// Weight is what a publication counts in bytes while it is kept.
func (p *Publication) Weight() int { return len(p.Data) + 64 + 64*len(p.Conns) }
