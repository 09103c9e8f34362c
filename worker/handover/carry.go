package handover

import "encoding/binary"

// AppendCarried appends to the body of a Carry what the handler of the routes with
// that pattern leaves to the one in the other process.
func AppendCarried(dst []byte, pattern string, carry []byte) []byte {
	for _, part := range [][]byte{[]byte(pattern), carry} {
		dst = binary.AppendUvarint(dst, uint64(len(part)))
		dst = append(dst, part...)
	}
	return dst
}

// CarriedFor finds what was left for the handler of a route, nil for nothing.
func CarriedFor(body []byte, pattern string) []byte {
	next := func() (part []byte, ok bool) {
		n, w := binary.Uvarint(body)
		if w <= 0 || n > uint64(len(body)-w) {
			return nil, false
		}
		part, body = body[w:w+int(n)], body[w+int(n):]
		return part, true
	}
	for len(body) > 0 {
		name, ok := next()
		carry, whole := next()
		if !ok || !whole {
			return nil
		}
		if string(name) == pattern {
			return carry
		}
	}
	return nil
}
